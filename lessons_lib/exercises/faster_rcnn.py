"""Checkers of chapter 8."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib.exercises.checking import NotYet, call, close, number


def check_count_anchors(function: Callable[[int, int, list[int], int], Any]) -> bool:
    """``count_anchors(height, width, strides, per_cell)`` → anchors of all levels together."""
    for height, width, strides, per_cell in [
        (128, 128, [8], 9),
        (128, 128, [4, 8, 16], 3),
        (800, 1344, [4, 8, 16, 32, 64], 3),
        (96, 160, [16, 32], 1),
        (600, 1000, [16], 9),
    ]:
        right = per_cell * sum(-(-height // s) * -(-width // s) for s in strides)
        yours = number(call(function, height, width, list(strides), per_cell), "count_anchors")
        if close(yours, right):
            continue
        at = (
            f"A picture of {height} x {width} px, strides {strides}, {per_cell} a cell: {right:,} "
            f"anchors; you say {yours:,.0f}."
        )
        if close(yours, right / per_cell):
            raise NotYet(f"{at} You counted cells; each holds {per_cell} anchors.")
        if close(
            yours, per_cell * len(strides) * -(-height // strides[0]) * -(-width // strides[0])
        ):
            raise NotYet(
                f"{at} Every level has a stride of its own: coarser levels have fewer cells."
            )
        if close(yours, per_cell * sum((height // s) * (width // s) for s in strides)):
            raise NotYet(
                f"{at} A map keeps its last, incomplete row and column: sizes are rounded up, since the "
                "convolutions are padded."
            )
        if close(yours, per_cell * sum(height * width / s for s in strides)):
            raise NotYet(f"{at} The stride thins out rows and columns, so it counts twice.")
        raise NotYet(f"{at} Count the cells of each level, add them up, and multiply.")
    print("Right: the finest level holds about three quarters of all anchors.")
    return True


def check_pyramid_level(function: Callable[[float, float], Any]) -> bool:
    """``pyramid_level(width, height)`` → level 2..5 that a box is pooled from, 224 px on level 4."""
    for width, height in [
        (224, 224),
        (112, 112),
        (448, 448),
        (223, 223),
        (100, 500),
        (20, 20),
        (7, 600),
        (900, 900),
        (300, 50),
        (56, 56),
    ]:
        exact = 4 + math.log2(math.sqrt(width * height) / 224)
        right = min(5, max(2, math.floor(exact + 1e-9)))
        yours = number(call(function, float(width), float(height)), "pyramid_level")
        if close(yours, right):
            continue
        at = f"A box of {width} x {height} px belongs to level {right}; you say {yours:g}."
        if close(yours, math.floor(exact + 1e-9)):
            raise NotYet(f"{at} There are no levels below 2 and above 5: keep within them.")
        if close(yours, min(5, max(2, round(exact)))):
            raise NotYet(
                f"{at} Level 4 is for boxes from 224 px on: round down, not to the nearest."
            )
        if close(yours, min(5, max(2, math.floor(4 + math.log2(width * height / 224) + 1e-9)))):
            raise NotYet(f"{at} The size of a box is the square root of its area.")
        if close(yours, min(5, max(2, math.floor(4 + math.log2(max(width, height) / 224) + 1e-9)))):
            raise NotYet(f"{at} Take the root of the area, not the longer side.")
        if close(yours, exact):
            raise NotYet(f"{at} A level is a whole number.")
        raise NotYet(f"{at} k = floor(4 + log2(sqrt(w h) / 224)), kept within 2 and 5.")
    print("Right: twice the side is one level coarser, where cells are twice as wide.")
    return True


def check_proposal_recall(function: Callable[[Tensor, Tensor, int, float], Any]) -> bool:
    """``proposal_recall(truth (T, 4), proposals (N, 4), count, threshold)`` → share of objects covered."""
    rng = np.random.default_rng(0)
    for case in range(12):
        corners = rng.uniform(0, 60, (5, 2))
        truth = torch.from_numpy(
            np.concatenate([corners, corners + rng.uniform(10, 40, (5, 2))], 1)
        )
        noise = torch.from_numpy(rng.normal(0, 4, (8, 5, 4)))
        proposals = (truth + noise).reshape(-1, 4)[torch.from_numpy(rng.permutation(40))]
        count, threshold = int(rng.integers(1, 41)), float(rng.choice([0.5, 0.7]))
        if case == 3:
            proposals = proposals[:0]
        if case == 4:
            count = 100  # more than there are
        if case == 5:
            truth = truth[:0]
        given = truth.float(), proposals.float()
        answer = call(function, *given, count, threshold)
        right = _recall(*given, count, threshold)
        what = (
            f"{len(truth)} objects, {len(proposals)} proposals, the best {count}, IoU {threshold}"
        )
        if isinstance(answer, float) and math.isnan(answer):
            raise NotYet(f"{what}: nan. A picture without objects misses none: 1.")
        yours = number(answer, "proposal_recall")
        if close(yours, right):
            continue
        at = f"{what}: the recall is {right:.2f}; you say {yours:.2f}."
        if close(yours, _recall(*given, len(proposals), threshold)):
            raise NotYet(f"{at} Only the first {count} proposals count: they come best first.")
        if close(yours, _precision(*given, count, threshold)):
            raise NotYet(
                f"{at} That is the share of proposals that hit. Recall asks how many objects are hit."
            )
        raise NotYet(
            f"{at} An object is covered if any of the proposals overlaps it by the threshold or more."
        )
    print("Right: what no proposal covers, the second stage cannot find.")
    return True


def _recall(truth: Tensor, proposals: Tensor, count: int, threshold: float) -> float:
    covered = [any(_iou(t, p) >= threshold for p in proposals[:count]) for t in truth]
    return sum(covered) / len(covered) if covered else 1.0


def _precision(truth: Tensor, proposals: Tensor, count: int, threshold: float) -> float:
    hits = [any(_iou(t, p) >= threshold for t in truth) for p in proposals[:count]]
    return sum(hits) / len(hits) if hits else 0.0


def _iou(a: Tensor, b: Tensor) -> float:
    low, high = torch.maximum(a[:2], b[:2]), torch.minimum(a[2:], b[2:])
    shared = float((high - low).clamp(min=0).prod())
    areas = float((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod())
    return shared / (areas - shared)
