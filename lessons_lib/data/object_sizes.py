"""How large the objects of a folder are, and what settings of the spatial embedding that asks for."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .instances import instance_table


@dataclass(frozen=True)
class ObjectSizes:
    """Sizes of objects, px.

    Attributes:
        diameters: float64 (N,), of a disc of each object's area.
        lengths: float64 (N,), the diagonal of each object's box.
    """

    diameters: np.ndarray
    lengths: np.ndarray

    @property
    def median(self) -> float:
        """The median diameter; 0 if there is no object."""
        return float(np.median(self.diameters)) if len(self.diameters) else 0.0

    @property
    def longest(self) -> float:
        """The largest length; 0 if there is no object."""
        return float(self.lengths.max(initial=0))


def object_sizes(labels: Iterable[np.ndarray]) -> ObjectSizes:
    """The sizes of all objects of instance maps (H, W), 0 = background."""
    areas, lengths = [], []
    for instances in labels:
        for row in instance_table(instances):
            areas.append(row["area"])
            lengths.append(math.hypot(row["x2"] - row["x1"], row["y2"] - row["y1"]))
    diameters = np.sqrt(4 * np.asarray(areas, np.float64) / math.pi)
    return ObjectSizes(diameters, np.asarray(lengths, np.float64))


def suggest_unit(sizes: ObjectSizes) -> float:
    """How many px an offset should reach at most: the longest object's length, in steps of 8, at least 16.

    A pixel is at most half a length away from the middle of its box. A crop enlarges objects up to 1.4
    times, and an offset that has to come close to its limit is learned slowly: tanh(0.87) is 0.7.
    """
    return float(max(16, 8 * math.ceil(sizes.longest / 8)))


def suggest_margin(sizes: ObjectSizes) -> float:
    """The margin, px, to begin with: three quarters of the median radius, at least 2."""
    return max(2.0, round(0.375 * sizes.median, 1))


def suggest_crop(sizes: ObjectSizes) -> int:
    """Side of training crops, px: twice the longest object, in steps of 32, at least 64, at most 512."""
    return int(min(512, max(64, 32 * math.ceil(2 * sizes.longest / 32))))
