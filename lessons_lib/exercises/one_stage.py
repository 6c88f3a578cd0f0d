"""Checkers of chapter 9."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib.exercises.checking import NotYet, call, close, number, numbers


def check_easy_share(function: Callable[[int, float, int, float, float], Any]) -> bool:
    """``easy_share(easy, p_easy, hard, p_hard, gamma)`` → share of the loss that the easy ones hold."""
    for easy, p_easy, hard, p_hard, gamma in [
        (100_000, 0.99, 100, 0.1, 0.0),
        (100_000, 0.99, 100, 0.1, 2.0),
        (100_000, 0.99, 100, 0.1, 5.0),
        (1000, 0.9, 10, 0.5, 1.0),
        (50, 0.7, 0, 0.2, 2.0),
        (1, 0.6, 1, 0.3, 0.5),
    ]:
        right = _share(easy, p_easy, hard, p_hard, gamma)
        answer = call(function, easy, p_easy, hard, p_hard, gamma)
        yours = number(answer, "easy_share")
        if close(yours, right):
            continue
        at = (
            f"{easy:,} answers at p_t = {p_easy} and {hard} at {p_hard}, gamma {gamma:g}: the easy "
            f"ones hold {right:.4f}; you say {yours:.4f}."
        )
        if close(yours, _share(easy, p_easy, hard, p_hard, 0.0)):
            raise NotYet(f"{at} That is the cross-entropy's share: multiply by (1 - p_t)^gamma.")
        if close(yours, _share(easy, p_easy, hard, p_hard, gamma, weight="right")):
            raise NotYet(f"{at} The factor is (1 - p_t)^gamma: small where p_t is near 1.")
        if close(yours, _share(1, p_easy, min(hard, 1), p_hard, gamma)):
            raise NotYet(f"{at} You compared one answer with one; there are {easy:,} and {hard}.")
        if close(yours, 1 - right):
            raise NotYet(f"{at} That is the share of the hard ones.")
        if close(yours, 100 * right):
            raise NotYet(f"{at} A share lies between 0 and 1.")
        raise NotYet(f"{at} Each answer costs -(1 - p_t)^gamma log p_t; add them up.")
    print("Right: a thousand easy answers outweigh a hard one, until gamma turns them down.")
    return True


def _share(
    easy: int, p_easy: float, hard: int, p_hard: float, gamma: float, weight: str = "wrong"
) -> float:
    costs = [
        count * -math.log(p) * ((1 - p) if weight == "wrong" else p) ** gamma
        for count, p in [(easy, p_easy), (hard, p_hard)]
    ]
    return costs[0] / sum(costs)


def check_direct_location(function: Callable[..., Any]) -> bool:
    """``direct_location(t, row, column, anchor, stride)`` → x1, y1, x2, y2, px."""
    rng = np.random.default_rng(0)
    cases = [((0.0, 0.0, 0.0, 0.0), 0, 0, (16.0, 16.0), 16)]
    for _ in range(6):
        t = tuple(rng.normal(0, 1, 4).round(2).tolist())
        row, column = (int(v) for v in rng.integers(0, 9, 2))
        anchor = tuple(rng.uniform(8, 90, 2).round(1).tolist())
        cases.append((t, row, column, anchor, int(rng.choice([8, 16, 32]))))
    for t, row, column, anchor, stride in cases:
        answer = call(function, list(t), row, column, list(anchor), stride)
        yours = numbers(answer, "direct_location")
        if yours.shape != (4,):
            raise NotYet(
                f"direct_location should return four numbers x1, y1, x2, y2; yours has {len(yours)}."
            )
        right = _located(t, row, column, anchor, stride)
        if _near(yours, right):
            continue
        at = (
            f"t = {list(t)}, row {row}, column {column}, anchor {list(anchor)}, stride {stride}: the "
            f"box is {right.round(2).tolist()}; you say {yours.round(2).tolist()}."
        )
        if _near(yours, _located(t, row, column, anchor, stride, squash=False)):
            raise NotYet(
                f"{at} σ is missing: the centre is (σ(tx) + column) · stride, within its cell."
            )
        if _near(yours, _located(t, column, row, anchor, stride)):
            raise NotYet(f"{at} x goes with the column, y with the row.")
        if _near(yours, _located(t, row, column, [s * stride for s in anchor], stride)):
            raise NotYet(
                f"{at} The anchor is in pixels already; only the centre is counted in cells."
            )
        if _near(yours, _located((*t[:2], 0.0, 0.0), row, column, anchor, stride)):
            raise NotYet(f"{at} tw and th scale the anchor: width · exp(tw), height · exp(th).")
        centre, size = (right[:2] + right[2:]) / 2, right[2:] - right[:2]
        if _near(yours, np.concatenate([centre, size])):
            raise NotYet(f"{at} That is centre and size; wanted are the corners.")
        raise NotYet(f"{at} Centre: (σ(tx) + column) · stride; width: anchor's · exp(tw).")
    print("Right: the centre cannot leave its cell, the size can be anything positive.")
    return True


def _located(
    t: Any, row: int, column: int, anchor: Any, stride: float, *, squash: bool = True
) -> Any:
    shift = [1 / (1 + math.exp(-v)) if squash else v for v in t[:2]]
    centre = np.array([shift[0] + column, shift[1] + row]) * stride
    half = np.array(anchor) * np.exp(np.array(t[2:])) / 2
    return np.concatenate([centre - half, centre + half])


def _near(a: Any, b: Any) -> bool:
    return bool(np.allclose(a, b, rtol=1e-4, atol=1e-3))


def check_mined_loss(function: Callable[[Tensor, Tensor, int], Any]) -> bool:
    """``mined_loss(losses (N,), positive bool (N,), ratio)`` → SSD's class loss of one picture."""
    rng = np.random.default_rng(0)
    for case in range(8):
        losses = torch.from_numpy(rng.uniform(0, 4, 30)).float()
        positive = torch.zeros(30, dtype=torch.bool)
        positive[torch.from_numpy(rng.permutation(30)[: int(rng.integers(2, 6))])] = True
        ratio = int(rng.choice([1, 3]))
        if case == 2:
            ratio = 20  # more negatives wanted than there are
        if case == 3:
            positive[:] = False
        given = losses.clone(), positive.clone()
        answer = call(function, *given, ratio)
        right = _mined(losses, positive, ratio)
        what = f"30 boxes, {int(positive.sum())} of them positive, ratio {ratio}"
        if isinstance(answer, float | Tensor) and math.isnan(float(torch.as_tensor(answer).sum())):
            raise NotYet(f"{what}: nan. Without positives there is nothing to learn from: 0.")
        yours = number(answer, "mined_loss")
        if close(yours, right):
            continue
        at = f"{what}: the loss is {right:.4f}; you say {yours:.4f}."
        count = max(1, int(positive.sum()))
        hard = losses[~positive].sort(descending=True)[0][: ratio * int(positive.sum())]
        easy = losses[~positive].sort()[0][: ratio * int(positive.sum())]
        own = float(losses[positive].sum())
        if close(yours, (own + float(easy.sum())) / count):
            raise NotYet(f"{at} You kept the easiest negatives; the hardest have the largest loss.")
        if close(yours, float(hard.sum()) / count):
            raise NotYet(f"{at} The positives belong to the sum, all of them.")
        if close(yours, (own + float(losses[~positive].sum())) / count):
            raise NotYet(f"{at} Of the negatives only {ratio} for each positive count.")
        if close(yours, (own + float(hard.sum())) / max(1, count + len(hard))):
            raise NotYet(f"{at} SSD divides by the number of positives alone.")
        if close(yours, own + float(hard.sum())):
            raise NotYet(f"{at} Divide by the number of positives.")
        top = losses.sort(descending=True)[0][: ratio * int(positive.sum())]
        if close(yours, (own + float(top.sum())) / count):
            raise NotYet(f"{at} A positive box must not be chosen as a negative as well.")
        raise NotYet(
            f"{at} Add the losses of all positives and of the {ratio} hardest negatives for each, and "
            "divide by the number of positives."
        )
    print("Right: what the network already calls background is not looked at.")
    return True


def _mined(losses: Tensor, positive: Tensor, ratio: int) -> float:
    count = int(positive.sum())
    hard = losses[~positive].sort(descending=True)[0][: ratio * count]
    return float(losses[positive].sum() + hard.sum()) / max(1, count)
