"""Many masks as runs of pixels in flat arrays: how COCO counts areas and overlaps without drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .count_runs import check_counts, count_runs, decompress
from .errors import DataError
from .polygon_runs import polygon_runs

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
CHUNK = 4000
"""Masks that are read at once."""


@dataclass(frozen=True)
class MaskRuns:
    """Runs of foreground of N masks. Pixel (y, x) of a mask stands at position ``x * height + y``.

    Attributes:
        start: int64 (R,), first position of each run; runs of one mask follow each other, ascending.
        stop: int64 (R,), one behind its last position.
        first: int64 (N + 1,); the runs of mask n are ``first[n]`` up to ``first[n + 1]``.
        height, width: int64 (N,), px.
    """

    start: Ints
    stop: Ints
    first: Ints
    height: Ints
    width: Ints

    def __len__(self) -> int:
        return len(self.height)

    @property
    def mask(self) -> Ints:
        """int64 (R,): which mask a run belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.first))

    @property
    def area(self) -> Ints:
        """int64 (N,), px."""
        total = np.concatenate(([0], np.cumsum(self.stop - self.start)))
        return total[self.first[1:]] - total[self.first[:-1]]

    @property
    def boxes(self) -> Ints:
        """int64 (N, 4) as x1, y1, x2, y2, the last two exclusive; zeros for an empty mask."""
        of, last = self.mask, self.stop - 1
        height = self.height[of]
        left, right = self.start // height, last // height
        same = left == right  # a run that goes on in the next column touches top and bottom
        top = np.where(same, self.start % height, 0)
        bottom = np.where(same, last % height, height - 1)
        boxes = np.zeros((len(self), 4), np.int64)
        filled = np.flatnonzero(np.diff(self.first))
        begins = self.first[filled]
        if len(begins):
            boxes[filled, 0] = np.minimum.reduceat(left, begins)
            boxes[filled, 1] = np.minimum.reduceat(top, begins)
            boxes[filled, 2] = np.maximum.reduceat(right, begins) + 1
            boxes[filled, 3] = np.maximum.reduceat(bottom, begins) + 1
        return boxes

    def counts(self, n: int) -> list[int]:
        """COCO's run lengths of mask n: of 0 and 1 in turn, first of 0."""
        begin, end = self.first[n], self.first[n + 1]
        edges = np.stack([self.start[begin:end], self.stop[begin:end]], 1).ravel()
        inner = edges[1:-1].reshape(-1, 2)
        keep = np.ones(len(edges), bool)
        keep[1:-1] = np.repeat(inner[:, 0] != inner[:, 1], 2)  # runs that touch are one
        size = int(self.height[n] * self.width[n])
        ends = np.concatenate((edges[keep], [size] if not len(edges) or edges[-1] < size else []))
        return np.diff(ends.astype(np.int64), prepend=0).tolist()


def read_segmentations(
    segmentations: Sequence[Any], sizes: Sequence[tuple[int, int]], names: Sequence[str]
) -> MaskRuns:
    """Masks from COCO's ``segmentation`` fields: polygons, run lengths, or compressed run lengths.

    Args:
        segmentations: lists of polygons ``[x1, y1, x2, y2, …]``, or dicts with ``size`` and ``counts``.
        sizes: (height, width) of each mask's picture, px.
        names: what to call each of them in an error.

    Raises:
        DataError: for what is none of these, of another size than the picture, or run lengths that do
            not add up to it.
    """
    parts = []
    for k in range(
        0, max(len(segmentations), 1), CHUNK
    ):  # bounds the memory for intermediate arrays
        part = slice(k, k + CHUNK)
        parts.append(_read_part(segmentations[part], sizes[part], names[part]))
    if len(parts) == 1:
        return parts[0]
    runs = np.cumsum([0, *(len(part.start) for part in parts)])
    first = [part.first[:-1] + offset for part, offset in zip(parts, runs, strict=False)]
    return MaskRuns(
        np.concatenate([part.start for part in parts]),
        np.concatenate([part.stop for part in parts]),
        np.concatenate([*first, runs[-1:]]),
        np.concatenate([part.height for part in parts]),
        np.concatenate([part.width for part in parts]),
    )


def _read_part(
    segmentations: Sequence[Any], sizes: Sequence[tuple[int, int]], names: Sequence[str]
) -> MaskRuns:
    height = np.array([size[0] for size in sizes], np.int64)
    width = np.array([size[1] for size in sizes], np.int64)
    corners: list[Floats] = []
    corners_of: list[int] = []
    counts: list[Ints] = []
    counts_of: list[int] = []
    texts: list[bytes] = []
    texts_of: list[int] = []
    for n, (segmentation, size) in enumerate(zip(segmentations, sizes, strict=True)):
        if isinstance(segmentation, dict) and "size" in segmentation and "counts" in segmentation:
            if tuple(segmentation["size"]) != tuple(size):
                raise DataError(
                    f"{names[n]}: size is {list(segmentation['size'])}; its picture's (height, width) "
                    f"is {list(size)}"
                )
            value = segmentation["counts"]
            if isinstance(value, (str, bytes)):
                texts.append(
                    value.encode("latin-1", "replace") if isinstance(value, str) else value
                )
                texts_of.append(n)
            else:
                counts.append(check_counts(value, names[n]))
                counts_of.append(n)
        elif isinstance(segmentation, (list, tuple)):
            for polygon in segmentation:
                corners.append(_corners(polygon, names[n]))
                corners_of.append(n)
        else:
            raise DataError(
                f"{names[n]}: segmentation is a {type(segmentation).__name__}; it must be a list of "
                "polygons or a dict with size and counts"
            )
    unpacked, ends = decompress(texts, [names[n] for n in texts_of])
    listed = np.concatenate((np.empty(0, np.int64), *counts))
    listed_ends = np.cumsum([len(c) for c in counts], dtype=np.int64)
    parts = [
        polygon_runs(corners, np.array(corners_of, np.int64), height, width),
        count_runs(listed, listed_ends, np.array(counts_of, np.int64), height * width, names),
        count_runs(unpacked, ends, np.array(texts_of, np.int64), height * width, names),
    ]
    start, stop, mask = (np.concatenate(column) for column in zip(*parts, strict=True))
    if sum(len(part[0]) > 0 for part in parts) > 1:  # each part alone is in order
        order = np.lexsort((start, mask))
        start, stop, mask = start[order], stop[order], mask[order]
    first = np.searchsorted(mask, np.arange(len(sizes) + 1))
    return MaskRuns(start, stop, first, height, width)


def _corners(polygon: Any, name: str) -> Floats:
    try:
        points = np.asarray(polygon, np.float64)
    except (TypeError, ValueError):
        points = np.empty(0)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
        raise DataError(
            f"{name}: a polygon has the shape {points.shape}; it must be a flat list "
            "[x1, y1, x2, y2, x3, y3, …] of at least three corners, all finite"
        )
    return points.reshape(-1, 2)


def intersections(a: MaskRuns, b: MaskRuns, i: Ints, j: Ints, chunk: int = 2_000_000) -> Ints:
    """Pixels that mask ``i[p]`` of a and mask ``j[p]`` of b share, int64 (P,).

    How many pixels of a mask lie before a position is a sum over its runs, found by bisection. The
    pixels shared with a run are the difference of two such sums.
    """
    stride = int(max((runs.height * runs.width).max(initial=0) for runs in (a, b))) + 1
    # a run of nothing in front, so that every position has a run before it
    key = np.concatenate(([-1], b.mask * stride + b.start))
    length = np.concatenate(([0], b.stop - b.start))
    before = np.cumsum(length) - length

    def covered(position: Ints) -> Ints:
        k = np.searchsorted(key, position, "right") - 1
        return before[k] + np.minimum(position - key[k], length[k])

    shared = np.zeros(len(i), np.int64)
    per = np.diff(a.first)[i]
    total = np.cumsum(per)
    cuts = np.searchsorted(total, np.arange(chunk, int(total[-1]) if len(total) else 0, chunk))
    for pairs in np.split(np.arange(len(i)), np.unique(cuts)):
        pairs = pairs[per[pairs] > 0]
        if not len(pairs):
            continue
        many = per[pairs]
        opens = np.cumsum(many) - many
        run = np.arange(many.sum()) - np.repeat(opens - a.first[i[pairs]], many)
        offset = np.repeat(j[pairs] * stride, many)
        inside = covered(offset + a.stop[run]) - covered(offset + a.start[run])
        shared[pairs] = np.add.reduceat(inside, opens)
    return shared
