"""Checkers of chapter 7."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchvision
from torch import Tensor

from lessons_lib.exercises.checking import NotYet, call, close, number, numbers


def check_crop_cost(function: Callable[[int, int, int, int], Any]) -> bool:
    """``crop_cost(proposals, crop, height, width)``: R-CNN's pixels in units of Fast R-CNN's."""
    for proposals, crop, height, width in [
        (160, 96, 128, 128),
        (2000, 227, 375, 500),
        (1, 64, 128, 32),
        (10, 10, 100, 10),
        (0, 96, 128, 128),
        (7, 30, 90, 70),
    ]:
        right = proposals * crop**2 / (height * width)
        yours = number(call(function, proposals, crop, height, width), "crop_cost")
        if close(yours, right):
            continue
        at = (
            f"{proposals} crops of {crop} x {crop} px from a picture of {height} x {width} px are "
            f"{right:.4g} pictures' worth of pixels; you say {yours:.4g}."
        )
        if close(yours, proposals * crop / (height * width)):
            raise NotYet(f"{at} A crop has crop² pixels, not crop.")
        if close(yours, proposals):
            raise NotYet(f"{at} A crop need not have as many pixels as the picture.")
        if right and close(yours, 1 / right):
            raise NotYet(
                f"{at} That is the other way round: divide R-CNN's pixels by the picture's."
            )
        raise NotYet(f"{at} Count the pixels of all crops, and divide by those of the picture.")
    print("Right: convolutions cost the same for every pixel, whatever it shows.")
    return True


def check_pool_row(function: Callable[[Tensor, float, float, int], Any]) -> bool:
    """``pool_row(row, start, end, bins)``: RoI pooling along one axis, (N,) → (bins,).

    Both ends are rounded to whole cells, halves up, and the cell of the end belongs to the box.
    """
    row = torch.tensor([3.0, -1.0, 4.0, 1.0, -5.0, 9.0, 2.0, -6.0, 5.0, 3.5, -8.0, 7.0])
    for start, end, bins in [
        (0.0, 5.0, 3),
        (0.0, 6.0, 3),
        (1.4, 7.6, 3),
        (2.0, 2.0, 2),
        (3.0, 9.0, 2),
        (4.4, 4.6, 1),
        (0.0, 11.0, 5),
        (6.8, 11.2, 4),
        (0.0, 3.0, 7),
    ]:
        right = _pooled(row, start, end, bins)
        given = row.clone()
        yours = numbers(call(function, given, start, end, bins), "pool_row")
        at = f"For a box from {start:g} to {end:g} cells and {bins} bins"
        if not torch.equal(given, row):
            raise NotYet("pool_row changes the row that it is given; work on slices or on a copy.")
        if yours.shape != (bins,):
            raise NotYet(f"{at} there should be {bins} numbers; yours are {len(yours)}.")
        if np.allclose(yours, right, atol=1e-6):
            continue
        told = f"{at} the numbers are {_shown(right)}; yours {_shown(yours)}."
        first, last = int(start + 0.5), int(end + 0.5)
        if np.allclose(yours, _means(row, first, last, bins), atol=1e-6):
            raise NotYet(f"{told} RoI pooling takes the greatest value of a bin, not the mean.")
        if last > first and np.allclose(yours, _pooled(row, first, last - 1, bins), atol=1e-6):
            raise NotYet(
                f"{told} The box's last cell belongs to it: there are end - start + 1 cells."
            )
        raise NotYet(
            f"{told} Round start and end to whole cells first, halves up. Bin i then begins at floor(i n / bins) "
            "and ends before ceil((i + 1) n / bins), so that neighbours may share a cell."
        )
    print("Right. Everything is rounded twice: the corners, and then the bins.")
    return True


def _pooled(row: Tensor, start: float, end: float, bins: int) -> np.ndarray:
    box = torch.tensor([[0.0, start, 0.0, end, 0.0]])
    return torchvision.ops.roi_pool(row[None, None, None], box, (1, bins))[0, 0, 0].numpy()


def _means(row: Tensor, first: int, last: int, bins: int) -> list[float]:
    """What a mean instead of the maximum gives."""
    size = (last - first + 1) / bins
    return [
        float(row[first + int(i * size) : first + int(np.ceil((i + 1) * size))].mean())
        for i in range(bins)
    ]


def _shown(values: Any) -> str:
    return ", ".join(f"{value:g}" for value in np.asarray(values))


def check_compress_layer(function: Callable[[Tensor, int], Any]) -> bool:
    """``compress_layer(weight, rank)``: (first, second) whose product is nearest to the weight."""
    generator = np.random.default_rng(0)
    for rows, columns, rank in [(6, 9, 2), (9, 5, 3), (4, 4, 4), (5, 8, 1)]:
        weight = torch.from_numpy(generator.normal(size=(rows, columns)))
        answer = call(function, weight.clone(), rank)
        try:
            first, second = answer
        except (TypeError, ValueError):
            raise NotYet(
                "compress_layer should return two arrays of numbers, the weights of the first and of "
                f"the second layer; yours is a {type(answer).__name__}."
            ) from None
        a, b = numbers(first, "The first layer", 2), numbers(second, "The second layer", 2)
        at = f"A layer from {columns} to {rows} numbers with {rank} in between"
        if a.shape == (rows, rank) and b.shape == (rank, columns) and rows != columns:
            raise NotYet(
                f"{at}: yours are the wrong way round. The input meets the first layer first."
            )
        if a.shape != (rank, columns) or b.shape != (rows, rank):
            raise NotYet(
                f"{at} needs weights of shape {(rank, columns)} and {(rows, rank)}; yours have "
                f"{a.shape} and {b.shape}."
            )
        values = np.linalg.svd(weight.numpy(), compute_uv=False)
        least = float(np.sqrt((values[rank:] ** 2).sum()))
        error = float(np.linalg.norm(weight.numpy() - b @ a))
        if error <= least + 1e-5 * float(np.linalg.norm(values)):
            continue
        told = f"{at} can come as near as {least:.4f} to the weight; yours is {error:.4f} away."
        without = b @ np.diag(values[:rank]) @ a
        if np.linalg.norm(weight.numpy() - without) <= least + 1e-5:
            raise NotYet(f"{told} The singular values are missing: scale one of the two by them.")
        raise NotYet(
            f"{told} Take the singular value decomposition, and keep the {rank} largest values with "
            "their vectors."
        )
    print("Right: rank · (in + out) multiplications instead of in · out.")
    return True
