"""Which instances of two overlapping tiles are one: those with pieces that agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label as connected_components

Ints = NDArray[np.integer]


@dataclass(frozen=True)
class Seen:
    """What was found at home in a part of the picture that later tiles will see too."""

    top: int
    left: int
    numbers: Ints

    @property
    def bottom(self) -> int:
        return self.top + self.numbers.shape[0]

    @property
    def right(self) -> int:
        return self.left + self.numbers.shape[1]

    def window(self, top: int, bottom: int, left: int, right: int) -> Ints:
        """The numbers in a part of the picture, px, that lies inside."""
        return self.numbers[
            top - self.top : bottom - self.top, left - self.left : right - self.left
        ]


def agreeing(mine: Seen, other: Seen) -> list[tuple[int, int]]:
    """Pairs of numbers, one of each, with pieces that agree where both see."""
    top, left = max(mine.top, other.top), max(mine.left, other.left)
    bottom, right = min(mine.bottom, other.bottom), min(mine.right, other.right)
    if top >= bottom or left >= right:
        return []
    a, b = (seen.window(top, bottom, left, right) for seen in (mine, other))
    both = (a > 0) & (b > 0)
    if not both.any():
        return []
    (pieces_a, number_a, size_a), (pieces_b, number_b, size_b) = _pieces(a), _pieces(b)
    key = pieces_a[both].astype(np.int64) * len(size_b) + pieces_b[both]
    pairs, shared = np.unique(key, return_counts=True)
    i, j = pairs // len(size_b), pairs % len(size_b)
    agree = 3 * shared > size_a[i] + size_b[j]  # shared / (a + b - shared) > 1/2
    return list(zip(number_a[i[agree]].tolist(), number_b[j[agree]].tolist(), strict=True))


def _pieces(numbers: Ints) -> tuple[Ints, Ints, Ints]:
    """The connected pieces (h, w) of instances; the instance and the size of each piece."""
    pieces = connected_components(numbers, background=0, connectivity=1)
    size = np.bincount(pieces.ravel())
    of = np.zeros(len(size), np.int64)
    of[pieces.ravel()] = numbers.ravel()
    return pieces, of, size
