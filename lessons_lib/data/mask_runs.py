"""Many masks as runs of pixels in flat arrays: how COCO counts areas and overlaps without drawing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
                counts.append(_counts(value, names[n]))
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
        _count_runs(listed, listed_ends, np.array(counts_of, np.int64), height * width, names),
        _count_runs(unpacked, ends, np.array(texts_of, np.int64), height * width, names),
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


def _counts(value: Any, name: str) -> Ints:
    try:
        array = np.asarray(value)
    except ValueError:  # lists within the list
        array = np.empty((0, 0))
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise DataError(f"{name}: counts must be a flat list of integers, 0 or more")
    return array.astype(np.int64)


def _count_runs(
    length: Ints, ends: Ints, mask: Ints, size: Ints, names: Sequence[str]
) -> tuple[Ints, Ints, Ints]:
    """Start, stop and mask of the foreground runs of run lengths; empty runs are left out.

    The lengths of many masks follow one another, those of the k-th up to ``ends[k]``.
    """
    of = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    if len(length) and length.min() < 0:
        n = mask[of[length.argmin()]]
        raise DataError(f"{names[n]}: counts hold {length.min()}; each must be 0 or more")
    total = np.concatenate(([0], np.cumsum(length)))
    begins = np.concatenate(([0], ends[:-1])).astype(np.int64)
    before = total[begins[: len(ends)]]
    wrong = total[ends] - before != size[mask]
    if wrong.any():
        k = int(wrong.argmax())
        raise DataError(
            f"{names[mask[k]]}: counts add up to {total[ends[k]] - before[k]}; the picture has "
            f"{size[mask[k]]} pixels"
        )
    keep = np.flatnonzero(((np.arange(len(length)) - begins[of]) % 2 == 1) & (length > 0))
    of = of[keep]
    stop = total[keep + 1] - before[of]
    return stop - length[keep], stop, mask[of]


def decompress(texts: Sequence[bytes], names: Sequence[str]) -> tuple[Ints, Ints]:
    """The run lengths of many compressed texts, one after another, and where each one's end (N,).

    Each character holds five bits, the lowest first, plus 48; bit six says that more follow, and
    the highest bit of the last group is the sign. From the fourth length on the number is the
    difference from the length two before.
    """
    data = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - 48
    ends_of_text = np.cumsum([len(t) for t in texts], dtype=np.int64)
    if len(data) and (data.min() < 0 or data.max() > 63):
        bad = int(np.argmax((data < 0) | (data > 63)))
        raise DataError(
            f"{names[int(np.searchsorted(ends_of_text, bad, 'right'))]}: counts hold the character "
            f"{chr(int(data[bad]) + 48)!r}; compressed run lengths use '0' to 'o'"
        )
    final = (data & 32) == 0
    for n, end in enumerate(ends_of_text):
        if len(texts[n]) and not final[end - 1]:
            raise DataError(f"{names[n]}: counts end in the middle of a number")
    last = np.flatnonzero(final)
    if not len(last):
        return np.empty(0, np.int64), np.zeros(len(texts), np.int64)
    begin = np.concatenate(([0], last[:-1] + 1))
    digit = np.arange(len(data)) - np.repeat(begin, last - begin + 1)
    if digit.max() > 10:
        raise DataError(f"{names[0]} or one after it: counts hold a number beyond 2^55")
    value = np.add.reduceat((data & 31) << (5 * digit), begin)
    value -= np.where(data[last] & 16, np.int64(1) << (5 * (last - begin + 1)), 0)
    ends = np.searchsorted(last, ends_of_text)  # numbers that are complete before each text's end
    begins = np.concatenate(([0], ends[:-1]))
    place = np.arange(len(value)) - np.repeat(begins, np.diff(ends, prepend=0))
    # Differences become lengths by adding up every second number of each text, the first left out.
    for odd in (0, 1):
        chosen = np.flatnonzero((place % 2 == odd) & (place > 0))
        if len(chosen):
            total = np.cumsum(value[chosen])
            opens = place[chosen] == 2 - odd
            base = (total - value[chosen])[opens]
            value[chosen] = total - base[np.cumsum(opens) - 1]
    return value, ends


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
