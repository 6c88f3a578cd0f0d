"""How bright a picture is: what its parts are prepared with, so that all parts get the same values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from .pictures import percentile_limits

LOW, HIGH = 1.0, 99.8
STRIP_VALUES = 4_000_000
"""Values that are counted at once: counting takes 8 bytes for each."""


@dataclass(frozen=True)
class PictureStatistics:
    """The brightness of a whole picture, in [0, 1] of what the file's type can hold.

    Attributes:
        low, high: percentiles 1 and 99.8 of all values of all channels together, the limits of
            :func:`~lessons_lib.data.normalize_image`.
        median: of the pixels' brightness, the mean of their channels (the lower middle one).
    """

    low: float
    high: float
    median: float


def statistics_of(image: Tensor) -> PictureStatistics:
    """The statistics of a picture in memory, float (C, H, W) in [0, 1]."""
    low, high = percentile_limits(image.detach().cpu().numpy(), LOW, HIGH)
    return PictureStatistics(low, high, float(image.mean(0).median()))


def count_statistics(strips: Iterable[np.ndarray], dtype: np.dtype) -> PictureStatistics:
    """The statistics of a picture of which one strip after another is seen.

    All values are counted by size, so the result is exact, and the same as that of the whole
    picture in memory.

    Args:
        strips: uint8 or uint16, (h, W) or (h, W, 3), whose pixels together are the picture's.
        dtype: of the strips.

    Raises:
        ValueError: No pixel.
    """
    largest = int(np.iinfo(dtype).max)
    values = np.zeros(largest + 1, np.int64)
    sums = np.zeros(3 * largest + 1, np.int64)  # of a pixel's three channels; gray counts thrice
    for strip in strips:
        rows = max(1, STRIP_VALUES // max(1, strip[:1].size))
        for first in range(0, len(strip), rows):
            part = strip[first : first + rows]
            values += np.bincount(part.ravel(), minlength=len(values))
            if part.ndim == 3:
                total = part.sum(axis=2, dtype=np.int64)
                sums += np.bincount(total.ravel(), minlength=len(sums))
    if not sums.any():
        sums[::3] = values
    low, high = (_percentile(values, percent) for percent in (LOW, HIGH))
    middle = int(np.searchsorted(np.cumsum(sums), (sums.sum() - 1) // 2 + 1))
    return PictureStatistics(
        float(np.float32(low) / np.float32(largest)),
        float(np.float32(high) / np.float32(largest)),
        middle / (3 * largest),
    )


def _percentile(counts: np.ndarray, percent: float) -> int:
    """The percentile of values of which there are ``counts[v]`` each, by numpy's "inverted_cdf"."""
    total = int(counts.sum())
    if total == 0:
        raise ValueError("the picture has no pixel; expected at least one")
    place = max(0, int(np.ceil(total * (percent / 100) - 1)))  # in the sorted values, from 0
    return int(np.searchsorted(np.cumsum(counts), place + 1))
