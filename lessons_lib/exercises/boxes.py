"""Checkers of chapter 6."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lessons_lib.detection import box_iou, nms
from lessons_lib.exercises.checking import NotYet, call, close, number, numbers


def check_largest_slip(function: Callable[[float, float], Any]) -> bool:
    """``largest_slip(side, threshold)`` → how far a box may slip along one axis, px, for this IoU."""
    for side, threshold in [(8.0, 0.5), (40.0, 0.5), (40.0, 0.75), (10.0, 1.0), (30.0, 0.3)]:
        right = side * (1 - threshold) / (1 + threshold)
        value = number(call(function, side, threshold), "largest_slip")
        if close(value, right):
            continue
        at = f"For a side of {side:g} px and an IoU of {threshold:g}"
        if close(value, side * (1 - threshold)):
            raise NotYet(
                f"{at} you ask which share of *one* box is shared. The union grows as the boxes slip "
                "apart: divide by that."
            )
        if close(value, side * (1 - threshold) / 2):
            raise NotYet(f"{at} you halve the slip; only one of the boxes moves.")
        if close(value, side * (1 - threshold**0.5)):
            raise NotYet(f"{at} you let the box slip along both axes; it slips along one.")
        raise NotYet(f"{at} the box may slip by {right:.4g} px; you say {value:.4g}.")
    print("Right: s (1 - t) / (1 + t). At IoU 0.5 that is a third of the side.")
    return True


def check_suppress(function: Callable[[Any, Any, float], Any]) -> bool:
    """``suppress(boxes (N, 4), scores (N,), threshold)`` → rows that stay, best score first."""
    for name, boxes, scores, threshold in _crowds():
        right = nms(boxes, scores, threshold).tolist()
        answer = call(function, boxes.clone(), scores.clone(), threshold)
        yours = _rows(answer, "suppress", len(boxes))
        if yours == right:
            continue
        for wrong, words in _wrong_ways(boxes, scores, threshold):
            if yours == wrong != right:
                raise NotYet(f"{name}: {words}")
        if sorted(yours) == sorted(right):
            raise NotYet(f"{name}: the right boxes stay, but the best score has to come first.")
        raise NotYet(f"{name}: the boxes with the numbers {right} should stay; yours are {yours}.")
    print("Right: a box that is gone drops nobody, and no truth was needed.")
    return True


def check_soft_scores(function: Callable[[Any, Any, float], Any]) -> bool:
    """``soft_scores(boxes (N, 4), scores (N,), sigma)`` → (N,) new scores, in the order of the boxes."""
    for name, boxes, scores, _ in _crowds():
        for sigma in (0.5, 0.1):
            right = _soft(boxes, scores, sigma)
            yours = numbers(call(function, boxes.clone(), scores.clone(), sigma), "soft_scores")
            if len(yours) != len(right):
                raise NotYet(f"{name}: {len(right)} numbers, one a box; yours are {len(yours)}.")
            if np.allclose(yours, right, atol=1e-5):
                continue
            setting = f"{name}, sigma = {sigma:g}"
            if np.allclose(np.sort(yours), np.sort(right), atol=1e-5):
                raise NotYet(
                    f"{setting}: the scores are right, but in another order than the boxes."
                )
            if np.allclose(yours, _soft(boxes, scores, sigma, resort=False), atol=1e-5):
                raise NotYet(
                    f"{setting}: you go through the boxes by their old scores. After each step the "
                    "next box is the best of those left by their *new* scores."
                )
            if np.allclose(yours, _soft(boxes, scores, sigma, power=1), atol=1e-5):
                raise NotYet(f"{setting}: the IoU is squared in the exponent.")
            raise NotYet(
                f"{setting}: the scores are {np.round(right, 3).tolist()}; yours are "
                f"{np.round(yours, 3).tolist()}."
            )
    print("Right: nothing is dropped, and a second thing close by keeps a part of its score.")
    return True


def _crowds() -> list[tuple[str, torch.Tensor, torch.Tensor, float]]:
    """Some boxes with different scores: a chain, boxes on the threshold, random ones."""
    chain = torch.tensor([[0.0, 0, 10, 10], [4, 0, 14, 10], [8, 0, 18, 10], [12, 0, 22, 10]])
    edge = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [20, 0, 30, 10], [20, 0, 30, 10]])
    cases = [
        ("A chain of four boxes", chain, torch.tensor([0.9, 0.8, 0.7, 0.6]), 0.3),
        ("The same chain upside down", chain, torch.tensor([0.2, 0.6, 0.5, 0.1]), 0.3),
        ("Boxes exactly on the threshold", edge, torch.tensor([0.3, 0.6, 0.2, 0.4]), 0.5),
        ("One box", chain[:1], torch.tensor([0.5]), 0.5),
    ]
    for seed in range(4):
        rng = np.random.default_rng(seed)
        corner = rng.integers(0, 30, (12, 2))
        boxes = np.concatenate((corner, corner + rng.integers(8, 30, (12, 2))), 1)
        scores = (rng.permutation(12) + 1) / 12
        cases.append(
            (
                "Twelve random boxes",
                torch.tensor(boxes, dtype=torch.float32),
                torch.tensor(scores, dtype=torch.float32),
                (0.3, 0.5)[seed % 2],
            )
        )
    return cases


def _rows(answer: Any, what: str, count: int) -> list[int]:
    if isinstance(answer, (list, tuple)):
        answer = [int(v) if isinstance(v, torch.Tensor) else v for v in answer]
    rows = numbers(answer, what)
    if not (np.equal(rows, np.rint(rows)).all() and rows.min() >= 0 and rows.max() < count):
        raise NotYet(f"{what} should be rows of the boxes, 0 to {count - 1}; yours are {answer}.")
    return [int(v) for v in rows]


def _wrong_ways(
    boxes: torch.Tensor, scores: torch.Tensor, threshold: float
) -> list[tuple[list[int], str]]:
    iou = box_iou(boxes, boxes)
    order = scores.argsort(descending=True).tolist()

    def walk(rows: list[int], at_least: bool) -> list[int]:
        kept: list[int] = []
        for k in rows:
            limit = (lambda v: v >= threshold) if at_least else (lambda v: v > threshold)
            if not any(limit(float(iou[k, j])) for j in kept):
                kept.append(k)
        return kept

    all_better = [
        k for n, k in enumerate(order) if not any(float(iou[k, j]) > threshold for j in order[:n])
    ]
    area = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).tolist()
    return [
        (all_better, "a box that was dropped still drops others. Only survivors may."),
        (walk(order, True), "a box exactly on the threshold stays."),
        (walk(list(range(len(boxes))), False), "you go through the rows as they stand; start with the best score."),
        (walk(order[::-1], False), "you start with the worst score."),
        (
            walk(sorted(range(len(boxes)), key=lambda k: -area[k]), False),
            "the largest box wins with you; the best score should.",
        ),
    ]  # fmt: skip


def _soft(
    boxes: torch.Tensor, scores: torch.Tensor, sigma: float, *, resort: bool = True, power: int = 2
) -> NDArray[np.float64]:
    iou = box_iou(boxes, boxes).double().numpy()
    new = scores.double().numpy().copy()
    old = new.copy()
    left = list(range(len(new)))
    while left:
        best = max(left, key=lambda k: new[k] if resort else old[k])
        left.remove(best)
        new[left] *= np.exp(-(iou[best, left] ** power) / sigma)
    return new
