"""Checkers of chapter 10."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib.exercises.checking import NotYet, call, close, number, numbers


def check_sample_points(function: Callable[[float, float, int, int, int], Any]) -> bool:
    """``sample_points(low, high, stride, bins, points)`` → where RoIAlign reads along one axis, in cells."""
    for low, high, stride, bins, points in [
        (16.0, 48.0, 8, 2, 2),
        (10.0, 45.0, 16, 7, 2),
        (3.7, 91.2, 4, 7, 2),
        (20.3, 61.9, 8, 4, 1),
        (5.5, 100.0, 16, 3, 4),
    ]:
        case = f"From {low:g} to {high:g} px, stride {stride}, {bins} bins, {points} points in each"
        yours = numbers(call(function, low, high, stride, bins, points), "sample_points")
        count = bins * points
        if len(yours) != count:
            raise NotYet(
                f"{case}: expected {count} numbers, {points} in every bin; you give {len(yours)}."
            )
        start, side = low / stride, (high - low) / stride / bins
        step = side / points
        right = start + step * (np.arange(count) + 0.5)
        if np.allclose(yours, right, atol=1e-6):
            continue
        at = f"{case}: the first two are {right[0]:.3f}, {right[1]:.3f}; you say {yours[0]:.3f}, {yours[1]:.3f}."
        if np.allclose(yours, right * stride, atol=1e-5):
            raise NotYet(f"{at} That is in pixels; a cell is {stride} px wide.")
        if np.allclose(yours, np.round(right), atol=1e-6) or np.allclose(yours, np.floor(right)):
            raise NotYet(f"{at} RoIAlign rounds nothing: that is the whole idea.")
        if np.allclose(yours, right - 0.5 * step, atol=1e-6):
            raise NotYet(
                f"{at} You begin at the border; a point stands in the middle of its share."
            )
        if np.allclose(yours, np.linspace(start, high / stride, count), atol=1e-6):
            raise NotYet(
                f"{at} The points do not reach the ends of the box: each stands in the middle of its share."
            )
        raise NotYet(
            f"{at} The box is {bins} bins long and each bin {points} shares; a point stands in the middle of a share."
        )
    print(
        "Right: no coordinate is rounded, so a box that moves a little reads a little further on."
    )
    return True


def check_own_mask_loss(function: Callable[[Tensor, Tensor, Tensor], Any]) -> bool:
    """``own_mask_loss(logits (N, K, m, m), labels (N,), targets (N, m, m))`` → one number, a tensor."""
    rng = np.random.default_rng(0)
    for count, classes, side in [(1, 3, 2), (4, 6, 7), (9, 3, 28), (0, 4, 7)]:
        given = torch.from_numpy(rng.normal(0, 3, (count, classes, side, side)))
        labels = torch.from_numpy(rng.integers(1, classes, count))
        targets = torch.from_numpy((rng.random((count, side, side)) < 0.4).astype(np.float64))
        if side == 7:  # the shares that RoIAlign gives, too
            targets = torch.from_numpy(rng.random((count, side, side)))
        logits = given.clone().requires_grad_()
        case = f"{count} boxes, {classes} classes, masks of {side} x {side}"
        answer = call(function, logits, labels, targets)
        if count == 0 and isinstance(answer, Tensor) and bool(torch.isnan(answer)):
            raise NotYet(f"{case}: nan. A picture without objects has no mask to learn: 0.")
        yours = number(answer, "own_mask_loss")
        own = given[torch.arange(count), labels]
        right = float(F.binary_cross_entropy_with_logits(own, targets)) if count else 0.0
        if not close(yours, right):
            raise NotYet(
                _mask_hint(
                    f"{case}: the loss is {right:.4f}; you say {yours:.4f}.",
                    yours,
                    given,
                    own,
                    labels,
                    targets,
                )
            )
        if not (isinstance(answer, Tensor) and answer.requires_grad):
            raise NotYet(
                f"{case}: the number is right, but it has no gradient: compute it with torch, from the logits."
            )
    big = torch.full((1, 2, 2, 2), -200.0)
    yours = number(
        call(function, big, torch.tensor([1]), torch.ones(1, 2, 2)), "own_mask_loss of -200"
    )
    if not close(yours, 200.0):
        raise NotYet(
            f"A logit of -200 where the mask is 1 costs 200; you say {yours:g}. The logarithm of a sigmoid that "
            "is 0 in floating point is lost: use a function that takes logits."
        )
    print("Right: only the mask of the true class learns; the classes do not compete.")
    return True


def _mask_hint(
    at: str, yours: float, logits: Tensor, own: Tensor, labels: Tensor, targets: Tensor
) -> str:
    """What may have gone wrong."""
    if not len(logits):
        return f"{at} Without boxes there is nothing to learn."
    every = F.binary_cross_entropy_with_logits(logits, targets[:, None].expand_as(logits))
    if close(yours, float(every)):
        return f"{at} You let the masks of all classes learn; only the true class's does."
    if close(
        yours, float(F.binary_cross_entropy_with_logits(own, targets, reduction="sum"))
    ) or close(
        yours,
        float(F.binary_cross_entropy_with_logits(own, targets, reduction="sum")) / len(logits),
    ):
        return f"{at} The mean is over all cells of all masks."
    picked = logits.log_softmax(1)[torch.arange(len(logits)), labels]
    if close(yours, -float((picked * targets).mean())):
        return f"{at} A softmax lets the classes compete; here each class has a sigmoid of its own."
    shifted = logits[torch.arange(len(logits)), labels - 1]
    if close(yours, float(F.binary_cross_entropy_with_logits(shifted, targets))):
        return (
            f"{at} Label 1 is channel 1: channel 0 belongs to the background, and nobody uses it."
        )
    return f"{at} Take of each box the mask of its true class, and the mean of the binary cross-entropy."


def check_instance_map(function: Callable[[Tensor, Tensor], Any]) -> bool:
    """``instance_map(masks bool (N, H, W), scores (N,))`` → whole numbers (H, W), 0 = background."""
    rng = np.random.default_rng(0)
    for count in (3, 1, 6, 0):
        masks = torch.from_numpy(rng.random((count, 6, 8)) < 0.4)
        scores = torch.from_numpy(rng.permutation(count) + 1.0) / 10
        answer = call(function, masks.clone(), scores.clone())
        yours = numbers(answer, "instance_map", ndim=2)
        right = _instance_map(masks, scores)
        case = f"{count} masks of 6 x 8 pixels"
        if yours.shape != right.shape:
            raise NotYet(f"{case}: expected whole numbers (6, 8); yours is {yours.shape}.")
        if np.array_equal(yours, right):
            continue
        wrong = int((yours != right).sum())
        at = (
            f"{case}, scores {[round(s, 1) for s in scores.tolist()]}: {wrong} of 48 pixels differ."
        )
        if ((yours > 0) != (right > 0)).any():
            raise NotYet(f"{at} A pixel is background exactly where no mask covers it.")
        if np.array_equal(yours, _instance_map(masks, -scores)):
            raise NotYet(f"{at} Where masks overlap, the *better* one gets the pixel.")
        if np.array_equal(yours, _instance_map(masks, torch.arange(count))) or np.array_equal(
            yours, _instance_map(masks, -torch.arange(count))
        ):
            raise NotYet(f"{at} The masks do not come in order of their scores.")
        raise NotYet(f"{at} Row k of the masks has the id k + 1, whatever its score.")
    print("Right: one id a pixel. Whatever lies under a better mask is lost; boxes never asked.")
    return True


def _instance_map(masks: Tensor, scores: Tensor) -> np.ndarray:
    """Painted from the worst to the best."""
    ids = np.zeros(masks.shape[1:], np.int64)
    for k in scores.argsort().tolist():
        ids[masks[k].numpy()] = k + 1
    return ids
