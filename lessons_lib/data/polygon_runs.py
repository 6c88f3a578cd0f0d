"""Polygons filled by COCO's rule, as runs of pixels down the columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def polygon_runs(
    corners: Sequence[Floats], mask: Ints, height: Ints, width: Ints
) -> tuple[Ints, Ints, Ints]:
    """Start, stop and mask of the runs of polygons, filled by COCO's rule; a mask's parts are united.

    COCO rounds the corners to fifths of a pixel, walks along every edge in steps of a fifth, and notes
    where the walk crosses the middle of a column of pixels: from there on down the column, inside and
    outside change places. Only those crossings are computed here, not the walk between them.
    """
    if not corners:
        return (np.empty(0, np.int64),) * 3
    per = np.array([len(c) for c in corners])
    polygon = np.repeat(np.arange(len(corners)), per)
    # the C code casts to int, which cuts towards zero
    points = np.trunc(5 * np.concatenate(corners) + 0.5).astype(np.int64)
    following = np.arange(1, len(points) + 1)
    following[np.cumsum(per) - 1] = np.cumsum(per) - per
    x, y, of = _crossings(points, points[following], width[mask[polygon]])
    of = polygon[of]
    high = height[mask[of]]
    stride = int((height * width).max()) + 1
    row = np.ceil(np.clip((y + 0.5) / 5 - 0.5, 0, high)).astype(np.int64)
    place = x * high + row
    inside_picture = (
        place < high * width[mask[of]]
    )  # a change behind the last pixel changes nothing
    key = np.sort((of * stride + place)[inside_picture])
    key, times = np.unique(key, return_counts=True)
    key = key[times % 2 == 1]  # two changes at one place undo each other
    of, place = key // stride, key % stride
    changes = np.bincount(of, minlength=len(corners))
    odd = np.flatnonzero(changes % 2)  # the last run of these goes on to the picture's end
    close = odd * stride + (height * width)[mask[odd]]
    key = np.sort(np.concatenate((key, close)))
    of, place = mask[key[::2] // stride], key % stride
    return _unite(place[::2], place[1::2], of, stride)


def _crossings(begin: Ints, end: Ints, width: Ints) -> tuple[Ints, Ints, Ints]:
    """Where edges (E, 2) in fifths of a pixel cross the middle of columns: column, y in fifths, edge."""
    low, high = np.minimum(begin[:, 0], end[:, 0]), np.maximum(begin[:, 0], end[:, 0])
    # column X is crossed between the fifths 5X + 2 and 5X + 3
    first = np.maximum(-((2 - low) // 5), 0)
    last = np.minimum((high - 3) // 5, width - 1)
    per = np.maximum(last - first + 1, 0)
    edge = np.repeat(np.arange(len(per)), per)
    column = np.arange(len(edge)) - np.repeat(np.cumsum(per) - per, per) + first[edge]
    span = np.abs(end - begin)
    flat = span[:, 0] >= span[:, 1]
    # the walk starts at the end that is lower in the direction in which it makes steps of one
    turn = np.where(flat, begin[:, 0] > end[:, 0], begin[:, 1] > end[:, 1])[:, None]
    a, b = np.where(turn, end, begin), np.where(turn, begin, end)
    steps = np.where(flat, span[:, 0], span[:, 1])
    rise = np.where(flat, b[:, 1] - a[:, 1], b[:, 0] - a[:, 0])
    slope = rise / np.maximum(steps, 1)
    y = np.empty(len(edge), np.int64)
    e = np.flatnonzero(flat[edge])
    i, fifth = edge[e], 5 * column[e] + 2
    t = fifth - a[i, 0]
    y[e] = np.minimum(
        np.trunc(a[i, 1] + slope[i] * t + 0.5), np.trunc(a[i, 1] + slope[i] * (t + 1) + 0.5)
    )
    e = np.flatnonzero(~flat[edge])
    i, fifth = edge[e], 5 * column[e] + 2
    x0, s = a[i, 0], slope[i]
    # the first step on the far side; found by division, then set right by the walk's own rounding
    t = np.floor((fifth + 0.5 - x0) / s).astype(np.int64)

    def beyond(step: Ints) -> NDArray[np.bool_]:
        return (np.trunc(x0 + s * step + 0.5) > fifth) == (s > 0)

    t = np.where(beyond(t), t - 1, t)
    t = np.where(beyond(t), t - 1, t)
    t = np.where(beyond(t + 1), t, t + 1)
    y[e] = a[i, 1] + t
    return column, y, edge


def _unite(start: Ints, stop: Ints, mask: Ints, stride: int) -> tuple[Ints, Ints, Ints]:
    """Runs of each mask without overlaps: where the number of runs over a pixel rises from 0."""
    key = np.concatenate((mask * stride + start, mask * stride + stop))
    change = np.repeat([1, -1], len(start))
    order = np.argsort(key, kind="stable")
    key = key[order]
    depth = np.cumsum(change[order])
    final = np.append(key[1:] != key[:-1], True)[
        : len(key)
    ]  # all changes at one place count together
    key, covered = key[final], depth[final] > 0
    turns = key[np.diff(covered, prepend=False)]
    return turns[::2] % stride, turns[1::2] % stride, turns[::2] // stride
