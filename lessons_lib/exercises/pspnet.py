"""Checkers of chapter 5."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib.convolution import receptive_field
from lessons_lib.exercises.checking import NotYet, call, close, number

Kernels = list[tuple[int, int]]
Layers = list[tuple[int, int, int]]


def check_rows_read_twice(function: Callable[[int, int], Any]) -> bool:
    """``rows_read_twice(rows, bins)`` → how many of the rows two neighbouring cells share."""
    for rows, bins in [
        (16, 3),
        (16, 6),
        (16, 2),
        (60, 6),
        (7, 1),
        (13, 6),
        (9, 6),
        (10, 4),
        (6, 6),
    ]:
        right = bins - gcd(rows, bins)
        yours = number(call(function, rows, bins), "rows_read_twice")
        if close(yours, right):
            continue
        at = f"With {rows} rows and {bins} bins {right} rows are read twice; you say {yours:g}."
        if close(yours, bins - 1):
            raise NotYet(
                f"{at} Between two cells nothing is shared where the border i·rows/bins is a whole "
                "number: the one cell ends where the next begins."
            )
        if close(yours, rows % bins):
            raise NotYet(
                f"{at} The remainder of the division is not it. Write down floor(i·rows/bins) and "
                "ceil((i + 1)·rows/bins) for each cell i, and compare an end with the next beginning."
            )
        if close(yours, 0):
            raise NotYet(
                f"{at} A cell ends at the rounded-up border and the next begins at the rounded-down "
                "one. Is every border a whole number here?"
            )
        raise NotYet(f"{at} Look at the {bins - 1} borders between cells, one by one.")
    print("Right: bins - gcd(rows, bins). Where bins divides rows, the cells only touch.")
    return True


def check_dilated_layers(function: Callable[[Kernels, int], Any]) -> bool:
    """``dilated_layers(layers, output_stride)``: (kernel, stride) → (kernel, stride, dilation)."""
    for layers, output_stride in [
        ([(3, 2), (3, 2), (3, 1)], 2),
        ([(3, 2), (3, 1), (3, 2), (3, 1), (3, 2), (3, 1)], 8),
        ([(3, 2), (3, 1), (3, 2), (3, 1), (3, 2), (3, 1)], 2),
        ([(7, 2), (3, 2), (3, 1), (3, 2), (1, 1), (3, 2), (3, 1), (3, 2), (3, 1)], 8),
        ([(3, 2), (5, 2), (3, 1)], 1),
        ([(3, 1), (2, 2), (3, 4), (3, 1)], 2),
    ]:
        found = _layers(call(function, list(layers), output_stride), len(layers))
        right = _dilated(layers, output_stride)
        if found == right:
            continue
        at = f"For {layers} at stride {output_stride}"
        if [k for k, _, _ in found] != [k for k, _ in layers]:
            raise NotYet(f"{at} you changed the kernel sizes; each layer keeps its weights.")
        if prod(s for _, s, _ in found) != output_stride:
            raise NotYet(
                f"{at} your strides multiply to {prod(s for _, s, _ in found)}. Keep strides while "
                f"their product is at most {output_stride}; those after that become 1."
            )
        if found == _dilated(layers, output_stride, at_once=True):
            raise NotYet(
                f"{at} you dilate the layer whose stride you took away as well. Its own taps stay "
                "where they were; only the layers after it see a map that is finer than before."
            )
        before, now = (receptive_field(these).size for these in (layers, found))
        if before != now:
            raise NotYet(
                f"{at} the receptive field was {before} px and is now {now} px. Every stride that "
                "was taken away dilates all layers after it, and their numbers multiply."
            )
        raise NotYet(f"{at} the layers should be {right}; yours are {found}.")
    print("Right: the same weights, the same receptive field, a finer map.")
    return True


def _dilated(layers: Kernels, output_stride: int, at_once: bool = False) -> Layers:
    """The right answer; ``at_once``: a wrong one, which dilates a layer by its own stride too."""
    found, reached, dilation = [], 1, 1
    for kernel, stride in layers:
        if reached * stride <= output_stride:
            reached *= stride
            found.append((kernel, stride, dilation))
        else:
            found.append((kernel, 1, dilation * stride if at_once else dilation))
            dilation *= stride
    return found


def _layers(answer: Any, length: int) -> Layers:
    """The answer as so many triples of whole numbers."""
    try:
        given = [tuple(float(value) for value in layer) for layer in answer]
    except (TypeError, ValueError, RuntimeError):
        given = []
    rows = [tuple(int(value) for value in row) for row in given if np.isfinite(row).all()]
    whole = rows == given
    if not whole or len(rows) != length or any(len(row) != 3 or min(row) < 1 for row in rows):
        raise NotYet(
            "dilated_layers should return a list with three whole numbers for each layer: kernel "
            f"size, stride, dilation. There are {length} layers."
        )
    return [(k, s, d) for k, s, d in rows]


def check_pool_valid(function: Callable[[Tensor, Tensor, int], Any]) -> bool:
    """``pool_valid(x (B, C, H, W), valid bool (B, H, W), bins)`` → (B, C, bins, bins)."""
    rng = np.random.default_rng(0)
    for height, width, bins in [(8, 8, 1), (8, 8, 2), (7, 11, 3), (16, 16, 6), (5, 9, 4)]:
        x = torch.from_numpy(rng.normal(size=(2, 3, height, width))).float()
        valid = torch.ones(2, height, width, dtype=torch.bool)
        valid[0, height // 2 :] = False  # padded below, so that some cells hold nothing
        valid[1, :, width - 2 :] = False
        x = torch.where(valid[:, None], x, 50.0)  # what lies there must not matter
        kept = x.clone()
        answer = call(function, x, valid, bins)
        right = _pooled(x, valid, bins)
        what = f"a map of {height} x {width} and {bins} bins"
        if not isinstance(answer, Tensor) or not answer.is_floating_point():
            raise NotYet(
                "pool_valid should return a tensor of numbers (B, C, bins, bins); yours is a "
                f"{type(answer).__name__}."
            )
        if answer.shape != right.shape:
            raise NotYet(
                f"For {what} the shape is {tuple(right.shape)}: one number for each picture, channel "
                f"and cell; yours is {tuple(answer.shape)}."
            )
        if not torch.isfinite(answer).all():
            raise NotYet(
                f"For {what} some numbers are not finite: a cell without any valid place is 0/0. "
                "Let it be 0."
            )
        if not torch.equal(x, kept):
            raise NotYet("You changed the map that you were given; work on a copy.")
        if torch.allclose(answer, right, atol=1e-4):
            continue
        plain = torch.nn.functional.adaptive_avg_pool2d(x, bins)
        zeros = torch.nn.functional.adaptive_avg_pool2d(x * valid[:, None], bins)
        if torch.allclose(answer, plain, atol=1e-4):
            raise NotYet(f"For {what} you average the padding too: use valid.")
        if torch.allclose(answer, zeros, atol=1e-4):
            raise NotYet(
                f"For {what} you set the padding to 0 but still divide by all places of a cell; "
                "divide by the number of valid ones."
            )
        if torch.allclose(
            answer, zeros / valid.float().mean((1, 2))[:, None, None, None], atol=1e-4
        ):
            raise NotYet(
                f"For {what} you divide by the valid share of the whole picture; each cell has its "
                "own."
            )
        raise NotYet(f"The shape is right for {what}, the numbers are not.")
    print("Right: padding no longer speaks in any cell.")
    return True


def _pooled(x: Tensor, valid: Tensor, bins: int) -> Tensor:
    """The mean over the valid places of each cell, one after the other."""
    out = x.new_zeros((*x.shape[:2], bins, bins))
    height, width = x.shape[-2:]
    for r in range(bins):
        for c in range(bins):
            rows = slice(r * height // bins, -(-(r + 1) * height // bins))
            columns = slice(c * width // bins, -(-(c + 1) * width // bins))
            weight = valid[:, None, rows, columns].float()
            total = (x[..., rows, columns] * weight).sum((2, 3))
            out[:, :, r, c] = total / weight.sum((2, 3)).clamp(min=1)
    return out
