"""Instance maps (H, W), 0 = background: renumber them, list them, turn them into COCO's form."""

from typing import Any

import numpy as np
import torch

from .errors import DataError
from .files import as_labels

STRIP = 256
"""Rows or columns that are looked at together: places are 8 bytes a pixel, labels of large pictures 4."""


def renumber(labels: np.ndarray, min_area: int = 1) -> np.ndarray:
    """Give the instances the ids 1..K in the order of their old ids, without gaps.

    Args:
        labels: Integers (H, W), at least 0; 0 is background.
        min_area: Instances of fewer pixels become background.

    Returns:
        int32 (H, W).

    Raises:
        DataError: A label is negative, or the shape is not (H, W).
    """
    labels = as_labels(labels)
    if labels.size == 0:
        return labels.astype(np.int32)
    largest = int(labels.max())
    if int(labels.min()) < 0:
        raise DataError(f"labels: the smallest is {labels.min()}; expected 0 (background) and up")
    if largest > max(65535, labels.size):  # a table of all ids would be longer than the picture
        ids, compact = np.unique(labels, return_inverse=True)
        labels = compact.reshape(labels.shape) + (ids[0] != 0)
    areas = np.bincount(labels.ravel())
    keep = areas >= max(min_area, 1)
    keep[0] = False
    table = np.where(keep, np.cumsum(keep), 0).astype(np.int32)
    return table[labels]


def instance_table(instances: torch.Tensor | np.ndarray) -> list[dict[str, float]]:
    """One row an instance, by rising id, in pixels.

    Args:
        instances: Integers (H, W); 0 is background.

    Returns:
        Dicts with ``id``, ``area``, ``centroid_x``, ``centroid_y`` (pixel centres at whole
        numbers), and the box ``x1``, ``y1``, ``x2``, ``y2``, the last two exclusive.
    """
    labels = as_labels(instances, "instances")
    tops = range(0, max(1, len(labels)), STRIP)
    parts = np.concatenate([_measure(labels[top : top + STRIP], top) for top in tops], axis=1)
    ids, which = np.unique(parts[0], return_inverse=True)
    area, sum_x, sum_y = (np.bincount(which, row, len(ids)) for row in parts[1:4])
    low = np.full((2, len(ids)), max(labels.shape, default=0))
    high = np.full((2, len(ids)), -1)
    for axis in (0, 1):
        np.minimum.at(low[axis], which, parts[4 + axis])
        np.maximum.at(high[axis], which, parts[6 + axis])
    columns = {
        "id": ids,
        "area": area.astype(np.int64),
        "centroid_x": sum_x / area,
        "centroid_y": sum_y / area,
        "x1": low[0],
        "y1": low[1],
        "x2": high[0] + 1,
        "y2": high[1] + 1,
    }
    rows = zip(*(values.tolist() for values in columns.values()), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _measure(labels: np.ndarray, top: int) -> np.ndarray:
    """Of a strip's K instances: id, area, sums, least and greatest of x and y; int64 (8, K)."""
    y, x = np.nonzero(labels)
    ids, which, area = np.unique(labels[y, x], return_inverse=True, return_counts=True)
    result = np.zeros((8, len(ids)), np.int64)
    result[:2] = ids, area
    result[4:6] = np.iinfo(np.int64).max
    for axis, values in enumerate((x, y + top)):
        result[2 + axis] = np.bincount(which, values, len(ids))
        np.minimum.at(result[4 + axis], which, values)
        np.maximum.at(result[6 + axis], which, values)
    return result


def instances_to_coco(
    instances: torch.Tensor | np.ndarray,
    image_id: int | str,
    category_id: int = 1,
    first_id: int = 1,
) -> list[dict[str, Any]]:
    """COCO annotations of an instance map, with uncompressed run lengths, ready for ``json.dump``.

    Args:
        instances: Integers (H, W); 0 is background.
        image_id: The picture's id in the COCO file.
        category_id: The one category of all instances.
        first_id: Annotation id of the first instance; the others count up from it.

    Returns:
        One dict an instance: ``id``, ``image_id``, ``category_id``, ``iscrowd`` 0, ``area``,
        ``bbox`` (x, y, width, height) and ``segmentation`` with ``size`` (H, W) and ``counts``:
        lengths of runs of 0 and 1 in turn, down the columns, first of 0 (COCO's RLE).
    """
    labels = as_labels(instances, "instances")
    rows = instance_table(labels)
    return [
        {
            "id": first_id + number,
            "image_id": image_id,
            "category_id": category_id,
            "iscrowd": 0,
            "area": row["area"],
            "bbox": [row["x1"], row["y1"], row["x2"] - row["x1"], row["y2"] - row["y1"]],
            "segmentation": {"size": list(labels.shape), "counts": counts},
        }
        for number, (row, counts) in enumerate(zip(rows, run_lengths(labels), strict=True))
    ]


def run_lengths(labels: np.ndarray) -> list[list[int]]:
    """COCO's uncompressed run lengths of every instance of (H, W) labels, by rising id.

    All runs of all instances are found in one pass down the columns; then each instance takes its
    own.
    """
    height, width = labels.shape
    parts = [
        _runs(labels[:, left : left + STRIP], left * height) for left in range(0, width, STRIP)
    ]
    if not any(len(part[0]) for part in parts):
        return []
    starts, ends, of = (np.concatenate(column) for column in zip(*parts, strict=True))
    # a run that goes on in the next strip is one
    cut = np.flatnonzero((ends[:-1] == starts[1:]) & (of[:-1] == of[1:]))
    starts, ends, of = np.delete(starts, cut + 1), np.delete(ends, cut), np.delete(of, cut)
    order = np.argsort(of, kind="stable")
    starts, ends, of = starts[order], ends[order], of[order]
    first = np.concatenate(([True], of[1:] != of[:-1]))
    before = np.where(first, 0, np.concatenate(([0], ends[:-1])))
    pairs = np.stack([starts - before, ends - starts], axis=1)
    begins = np.flatnonzero(first)
    last_ends = np.append(ends[begins[1:] - 1], ends[-1])
    size = labels.size
    result = []
    for run, last in zip(np.split(pairs, begins[1:]), last_ends.tolist(), strict=True):
        rest = [size - last] if last < size else []
        result.append(run.ravel().tolist() + rest)
    return result


def _runs(labels: np.ndarray, offset: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, end and id of the runs down the columns of a strip, whose first pixel is the ``offset``-th."""
    flat = labels.ravel(order="F")
    if not flat.size:
        return np.empty(0, np.int64), np.empty(0, np.int64), flat
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    ends = np.append(starts[1:], flat.size)
    inside = flat[starts] != 0
    return starts[inside] + offset, ends[inside] + offset, flat[starts[inside]]
