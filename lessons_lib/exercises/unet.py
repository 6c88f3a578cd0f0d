"""Checkers of chapter 4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from lessons_lib.exercises.checking import NotYet, call, close, number, numbers
from lessons_lib.semantic import UNet


def check_border_lost(function: Callable[[int], Any]) -> bool:
    """``border_lost(depth)`` → by how much an unpadded U-Net's output is smaller than its input, px."""
    for depth in (4, 1, 2, 3, 5):
        right = _lost(depth)
        value = number(call(function, depth), "border_lost")
        if close(value, right):
            continue
        at = f"With a depth of {depth}"
        if close(value, right / 2):
            raise NotYet(
                f"{at} {value:g} px are lost on each side; the output is smaller by both sides."
            )
        if close(value, right - 4 * 2**depth):
            raise NotYet(
                f"{at} you leave out the two convolutions at the bottom: their 4 px are "
                f"{4 * 2**depth} px of the picture."
            )
        if close(value, 4 * (2 * depth + 1)):
            raise NotYet(
                f"{at} you add up 4 px a block as if all maps were equally fine. A pixel of a map "
                "that was halved k times is 2^k pixels of the picture."
            )
        if close(value, right - 4 * (2**depth - 1)):
            raise NotYet(
                f"{at} you count the way down only; each level convolves on the way up too."
            )
        raise NotYet(f"{at} the output is {right} px smaller than the input; you say {value:g}.")
    print("Right: 12·2^depth - 8, which is 184 for the paper's depth of 4.")
    return True


def _lost(depth: int) -> int:
    """What a real network loses, on the smallest picture that it takes."""
    net = UNet(1, 1, base_channels=1, depth=depth, padding="valid", normalize=False)
    size = 12 * 2**depth - 4  # leaves 8 x 8 at the bottom before its convolutions
    with torch.inference_mode():
        scores = net(torch.zeros(1, 1, size, size))["semantic"]
    return size - scores.shape[-1]


def check_mirrored_row(function: Callable[[NDArray[np.float64], int], Any]) -> bool:
    """``mirrored_row(row (n,), margin)`` → (n + 2 margin,): the row with both ends mirrored."""
    rng = np.random.default_rng(0)
    for n, margin in [(5, 2), (4, 3), (6, 0), (3, 7), (2, 5), (9, 9), (1, 3)]:
        row = rng.permutation(90)[:n].astype(float)
        right = np.pad(row, margin, mode="reflect") if n > 1 else np.repeat(row, 1 + 2 * margin)
        yours = numbers(call(function, row.copy(), margin), "mirrored_row")
        if len(yours) == len(right) and np.allclose(yours, right):
            continue
        setting = f"for the row {row.astype(int).tolist()} and a margin of {margin}"
        if len(yours) != len(right):
            raise NotYet(
                f"There are n + 2 · margin = {len(right)} numbers {setting}; yours are "
                f"{len(yours)}."
            )
        others = {
            "symmetric": "You repeat the border pixel; the mirror stands on it, not behind it,",
            "edge": "You repeat the border pixel on and on; what lies behind it is mirrored,",
            "wrap": "You go on at the other end; the paper mirrors,",
            "constant": "Zeros are what padded convolutions see; the paper mirrors,",
        }
        for mode, words in others.items():
            padded: Any = np.pad(row, margin, mode=mode)  # type: ignore[call-overload]
            if np.allclose(yours, padded):
                raise NotYet(f"{words} {setting}.")
        if margin >= n:
            raise NotYet(
                f"The margin is wider than the row {setting}: mirror the mirror image again. The "
                f"numbers are {right.astype(int).tolist()}, yours {yours.tolist()}."
            )
        raise NotYet(
            f"The numbers are {right.astype(int).tolist()} {setting}; yours are {yours.tolist()}."
        )
    print("Right: the border pixel stands once, and a narrow picture is mirrored again and again.")
    return True


def check_contact_class(function: Callable[[NDArray[np.int64], float], Any]) -> bool:
    """``contact_class(instances (H, W), reach)`` → (H, W): 0 ground, 1 cell, 2 near two cells."""
    for seed, count in enumerate((0, 1, 4, 9, 16)):
        instances = _cells(seed, count)
        cells = "1 cell" if instances.max() == 1 else f"{instances.max()} cells"
        for reach in (1.0, 2.5, 4.0):
            right = _contact(instances, reach)
            answer = call(function, instances.copy(), reach)
            yours = numbers(answer, "contact_class", ndim=2)
            if yours.shape != right.shape:
                raise NotYet(
                    f"contact_class should be a map of numbers of shape {right.shape}, one for each "
                    f"pixel; yours has the shape {yours.shape}."
                )
            if np.array_equal(yours, right):
                continue
            setting = f"with {cells} and a reach of {reach:g} px"
            if count == 0:
                raise NotYet(f"{setting.capitalize()} every pixel is ground: give zeros.")
            if not np.isin(yours, (0, 1, 2)).all():
                raise NotYet("The classes are 0 (ground), 1 (cell) and 2 (near two cells).")
            nearest, second = _two_nearest(instances)
            cell = (instances > 0).astype(int)
            for wrong, words in [
                (
                    np.where((nearest > 0) & (nearest <= reach), 2, cell),
                    "You mark all ground near one cell. Class 2 needs two: ask for the second "
                    "nearest",
                ),
                (
                    np.where((instances == 0) & (second <= reach), 2, cell),
                    "Pixels of a cell that lie within reach of another one belong to class 2 too",
                ),
                (
                    np.where(nearest + second <= reach, 2, cell),
                    "You compare the sum of both distances with the reach; the second alone decides",
                ),
                (
                    np.where(second < reach, 2, cell),
                    "A second cell exactly at the reach counts",
                ),
            ]:
                if np.array_equal(yours, wrong):
                    raise NotYet(f"{words}, {setting}.")
            raise NotYet(
                f"{int((yours != right).sum())} of {right.size} pixels have another class {setting}. "
                "Class 2 is where the second nearest cell is at most the reach away."
            )
    print("Right: both distances decide, as in the weight map, and no cell or one has no contact.")
    return True


def _cells(seed: int, count: int) -> NDArray[np.int64]:
    """Discs (36, 44) with ids 1..K without gaps, some touching."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:36, :44]
    instances = np.zeros((36, 44), np.int64)
    for k in range(1, count + 1):
        cy, cx, r = rng.uniform(0, 36), rng.uniform(0, 44), rng.uniform(2, 7)
        instances[(y - cy) ** 2 + (x - cx) ** 2 <= r * r] = k
    ids, turned = np.unique(np.append(0, instances), return_inverse=True)
    return np.arange(len(ids))[turned.ravel()[1:]].reshape(36, 44).astype(np.int64)


def _two_nearest(instances: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    distances = [distance_transform_edt(instances != k) for k in range(1, instances.max() + 1)]
    distances += [np.full(instances.shape, np.inf)] * 2
    first, second = np.sort(np.stack(distances), 0)[:2]
    return first, second


def _contact(instances: NDArray[np.int64], reach: float) -> NDArray[np.int64]:
    return np.where(_two_nearest(instances)[1] <= reach, 2, (instances > 0).astype(int))
