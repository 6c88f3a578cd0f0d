"""Polygons along the borders of a mask's pixels."""

from __future__ import annotations

import cv2
import numpy as np

from .errors import DataError


def mask_to_polygons(mask: np.ndarray, tolerance: float = 0.0) -> list[list[float]]:
    """Polygons that COCO's rule fills to the mask again, exactly if ``tolerance`` is 0.

    Each part of the mask whose pixels touch by their sides gets a polygon along the borders of the pixels. COCO
    unites an object's polygons, so none can be a hole; a part with holes is cut through them into
    parts without. A tolerance makes polygons of few corners, as tools that draw by hand do, and loses pixels.

    Args:
        mask: bool (H, W).
        tolerance: how far, in px, the border may move (the algorithm of Douglas and Peucker).

    Returns:
        Polygons ``[x1, y1, x2, y2, …]`` in px; a whole number is the left or upper side of a pixel.

    Raises:
        DataError: Not bool (H, W), or a negative tolerance.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise DataError(f"mask is {mask.dtype} {mask.shape}; expected bool (H, W)")
    if not tolerance >= 0:
        raise DataError(f"tolerance is {tolerance}; it must be at least 0")
    polygons = []
    for part, corner in _parts(mask, (0, 0)):
        for ring in _rings(part):
            if tolerance:
                ring = cv2.approxPolyDP(ring.astype(np.float32)[:, None], tolerance, True)[:, 0]
            if len(ring) > 2:
                polygons.append((ring + corner).ravel().tolist())
    return polygons


def _parts(mask: np.ndarray, corner: tuple[int, int]) -> list[tuple[np.ndarray, tuple[int, int]]]:
    """The parts of a mask that hang together by their pixels' sides, none with a hole.

    Each is cut to its box, with x and y of the box's corner; ``corner`` is the mask's own.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    parts = []
    for number, (left, top, width, height, _) in enumerate(stats.tolist()):
        if number == 0:
            continue
        part = labels[top : top + height, left : left + width] == number
        place = corner[0] + left, corner[1] + top
        hole = _hole_column(part)
        if hole is None:
            parts.append((part, place))
            continue
        # through the hole's first column: both sides then hang together with the outside there
        parts += _parts(part[:, : hole + 1], place)
        parts += _parts(part[:, hole + 1 :], (place[0] + hole + 1, place[1]))
    return parts


def _hole_column(part: np.ndarray) -> int | None:
    """The first column of a hole of a part, None if it has no hole.

    Holes are background that does not hang together with the outside by sides or corners.
    """
    outside = np.pad(~part, 1, constant_values=True).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(outside, connectivity=8)
    for number in range(1, count):
        if number != labels[0, 0]:
            return int(stats[number, cv2.CC_STAT_LEFT]) - 1
    return None


def _rings(part: np.ndarray) -> list[np.ndarray]:
    """The closed borders of a part, corners (N, 2) as x, y; where two corners touch, they stay apart."""
    padded = np.pad(part, 1).astype(np.int8)
    # one directed edge for every side between inside and outside, inside on the right
    down = np.diff(padded, axis=1)[1:-1]  # (H, W + 1): +1 where the inside begins
    across = np.diff(padded, axis=0)[:, 1:-1]  # (H + 1, W)
    stride = part.shape[1] + 1
    starts, ends = [], []
    for edges, sign, begin, stop in (
        (down, 1, (1, 0), (0, 0)),  # left sides are walked upward
        (down, -1, (0, 0), (1, 0)),
        (across, 1, (0, 0), (0, 1)),  # upper sides to the right
        (across, -1, (0, 1), (0, 0)),
    ):
        y, x = np.nonzero(edges == sign)
        starts.append((y + begin[0]) * stride + x + begin[1])
        ends.append((y + stop[0]) * stride + x + stop[1])
    start, end = np.concatenate(starts), np.concatenate(ends)
    order = np.argsort(start, kind="stable")
    first = np.searchsorted(start[order], end)
    after = order[first]
    twice = np.flatnonzero(
        (first + 1 < len(order)) & (start[order][(first + 1) % len(order)] == end)
    )
    for edge in twice:  # two corners of the part meet: turn right, towards the inside
        step = end[edge] - start[edge]
        right = {1: stride, stride: -1, -1: -stride, -stride: 1}[int(step)]
        for candidate in order[first[edge] : first[edge] + 2]:
            if end[candidate] - start[candidate] == right:
                after[edge] = candidate
    return _walk(start, after, stride)


def _walk(start: np.ndarray, after: np.ndarray, stride: int) -> list[np.ndarray]:
    follow, seen = after.tolist(), np.zeros(len(after), bool)
    rings = []
    for begin in range(len(follow)):
        if seen[begin]:
            continue
        path, edge = [], begin
        while not seen[edge]:
            seen[edge] = True
            path.append(edge)
            edge = follow[edge]
        points = np.stack([start[path] % stride, start[path] // stride], axis=1)
        steps = np.diff(points, axis=0, append=points[:1])
        turns = (steps != np.roll(steps, 1, axis=0)).any(axis=1)
        rings.append(points[turns])
    return rings
