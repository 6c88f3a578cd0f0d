"""Checkers of chapter 3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lessons_lib.convolution import bilinear_kernel
from lessons_lib.exercises.checking import NotYet, call, close, number
from lessons_lib.semantic import ConfusionMatrix


def check_score_rows(function: Callable[[int], Any]) -> bool:
    """``score_rows(rows)`` → rows of scores that FCN-32s on VGG16 makes of a picture."""
    for rows in (375, 500, 333, 250, 224, 187, 96, 32, 7, 1, 1024):
        padded = rows + 2 * 100 - 2
        right = -(-padded // 32) - 6
        yours = number(call(function, rows), "score_rows")
        if yours == right:
            continue
        if yours == padded // 32 - 6:
            raise NotYet(
                f"A picture of {rows} rows has {right} rows of scores; yours are {yours:g}. The "
                "paper's pooling rounds up; you round down."
            )
        if yours == -(-padded // 32):
            raise NotYet(
                f"{yours:g} is the number of rows of pool5 for {rows} rows. The 7 x 7 convolution "
                "that was a fully connected layer has no padding."
            )
        if yours in (-(-(rows + 200) // 32) - 6, -(-(rows + 198) // 32) - 7):
            raise NotYet(
                f"A picture of {rows} rows has {right} rows of scores; yours are {yours:g}, nearly. "
                "A 3 x 3 convolution takes 2 rows away and its padding adds twice as many as it "
                "says; a 7 x 7 convolution without padding takes 6."
            )
        if yours in (rows // 32, -(-rows // 32)):
            raise NotYet(
                f"You divide {rows} by 32. First the padding of 100, which the first convolution "
                "adds on both sides; last the 7 x 7 convolution."
            )
        raise NotYet(
            f"A picture of {rows} rows has {right} rows of scores; yours are {yours:g}. Follow the "
            "rows: first convolution, five poolings, 7 x 7 convolution."
        )
    print("Right: one formula for every size, because halving five times and rounding up each time")
    print("is the same as dividing by 32 and rounding up once.")
    return True


def check_mean_iou(function: Callable[[NDArray[np.int64]], Any]) -> bool:
    """``mean_iou(confusion)`` from counts (C, C) [truth, prediction] → the mean IoU."""
    rng = np.random.default_rng(0)
    matrices = [
        np.array([[4, 0, 0], [1, 2, 1], [0, 0, 1]]),
        *(rng.integers(0, 50, (c, c)) for c in (1, 2, 5)),
        np.array([[9, 0, 3], [0, 0, 0], [2, 0, 5]]),  # a class that is nowhere
        np.array([[9, 2], [0, 0]]),  # one that is only predicted
        np.array([[0, 0], [3, 7]]),
    ]
    for counts in matrices:
        confusion = ConfusionMatrix.from_matrix(counts)
        right = confusion.mean_iou
        hits, true, predicted = np.diag(counts), counts.sum(1), counts.sum(0)
        union = true + predicted - hits
        with np.errstate(all="ignore"):  # the reader's own division by zero is judged below
            answer = call(function, counts.copy())
            absent_as_zero = float(np.nan_to_num(hits / union).mean())
            absent_as_one = float(np.nan_to_num(hits / union, nan=1.0).mean())
            dice = float(np.nanmean(2 * hits / (true + predicted)))
            without_hits = float(np.nanmean(hits / (true + predicted)))
            accuracy = float(np.nanmean(hits / true)) if true.any() else np.nan
        if _is_nan(answer):
            raise NotYet(
                f"For the counts {counts.tolist()} yours is not a number: a class that is nowhere, "
                "neither in the truth nor predicted, has the IoU 0/0. Leave it out of the mean."
            )
        yours = number(answer, "mean_iou")
        if close(yours, right):
            continue
        shown = (
            f"For the counts {counts.tolist()} the mean IoU is {right:.4f}; yours is {yours:.4f}."
        )
        for value, reason in [
            (absent_as_zero, "A class that is nowhere is no mistake: leave it out of the mean."),
            (absent_as_one, "A class that is nowhere is no success: leave it out of the mean."),
            (without_hits, "The union counts shared pixels once: true + predicted - hits."),
            (dice, "That is the mean Dice: the union is true + predicted - hits."),
            (confusion.frequency_weighted_iou, "Every class counts the same here, large or small."),
            (accuracy, "You divide by the true pixels only; wrong alarms belong in the union too."),
        ]:
            if close(yours, value):
                raise NotYet(f"{shown} {reason}")
        raise NotYet(shown)
    print("Right, with classes that are absent, too.")
    return True


def _is_nan(answer: Any) -> bool:
    try:
        value = np.asarray(answer.detach() if isinstance(answer, Tensor) else answer)
    except (RuntimeError, TypeError, ValueError):
        return False
    return value.size == 1 and value.dtype.kind == "f" and bool(np.isnan(value).all())


def check_fuse(function: Callable[[Tensor, Sequence[Tensor]], Any]) -> bool:
    """``fuse(scores, skips)``: coarse scores and finer ones, coarse to fine → their sum, as fine."""
    rng = np.random.default_rng(0)
    for sizes in ([(2, 3)], [(3, 4), (6, 8)], [(2, 2), (3, 4), (5, 7), (9, 14)]):
        maps = [torch.from_numpy(rng.normal(size=(2, 3, *size))).float() for size in sizes]
        given = [m.clone() for m in maps]
        answer = call(function, given[0], given[1:])
        right = _fused(maps, "sum")
        what = f"{len(maps) - 1} skips, maps of {', '.join(f'{h} x {w}' for h, w in sizes)}"
        if not isinstance(answer, Tensor) or answer.ndim != 4:
            shown = f"tensor of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else ""
            raise NotYet(
                "fuse should return a tensor of numbers (B, K, H, W); yours is a "
                f"{shown or type(answer).__name__}."
            )
        shape, expected = tuple(answer.shape), tuple(right.shape)
        if shape != expected:
            hint = "Give the sum the size of the finest map."
            if shape[1] > expected[1]:
                hint = "FCN sums scores of the same classes; it does not concatenate them."
            raise NotYet(f"The answer has the shape {expected} for {what}; yours {shape}. {hint}")
        if torch.allclose(answer.float(), right, atol=1e-4):
            if any(not torch.equal(a, b) for a, b in zip(given, maps, strict=True)):
                raise NotYet("The sum is right, but you changed the maps that you were given.")
            continue
        for kind, reason in [
            ("nearest", "You repeat the coarse cells; enlarge them bilinearly."),
            ("end", "Pooling rounds up, so the extra row and column are the last: crop those."),
            ("last", "You forget the sums on the way: each finer map is added to all before it."),
            ("mean", "Sum the maps; you take their mean."),
        ]:
            if torch.allclose(answer.float(), _fused(maps, kind), atol=1e-4):
                raise NotYet(f"Not yet for {what}: {reason}")
        raise NotYet(
            f"The shape is right for {what}, the numbers are not. At each step: enlarge by 2 with "
            "conv_transpose2d, bilinear_kernel(K, 4), stride 2, padding 1; crop; add."
        )
    print("Right: with one skip it is FCN-16s, with two FCN-8s, and you can go on.")
    return True


def _fused(maps: Sequence[Tensor], kind: str) -> Tensor:
    """The right answer (``"sum"``), or a wrong one that the checker knows."""
    x = maps[0]
    for skip in maps[1:]:
        if kind == "nearest":
            wide = x.repeat_interleave(2, -2).repeat_interleave(2, -1)
        else:
            kernel = bilinear_kernel(x.shape[1], 4)
            wide = torch.nn.functional.conv_transpose2d(x, kernel, stride=2, padding=1)
        height, width = skip.shape[-2:]
        wide = wide[..., -height:, -width:] if kind == "end" else wide[..., :height, :width]
        x = {"last": skip, "mean": (wide + skip) / 2}.get(kind, wide + skip)
    return x
