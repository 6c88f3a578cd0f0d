"""The panoptic form: one id for every pixel, written as a colour, and what each id is in a JSON file.

Kirillov, He, Girshick, Rother, Dollár, *Panoptic Segmentation*, CVPR 2019; the form is COCO's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .checks import check_size
from .errors import DataError
from .files import as_labels, read_pixels, write_png

LARGEST = 256**3 - 1


def decode_panoptic(colours: np.ndarray) -> np.ndarray:
    """Segment ids int64 (H, W) of a panoptic picture uint8 (H, W, 3): R + 256 G + 65536 B.

    A gray picture (H, W) is read as three equal channels. Id 0 means: nobody said what it is.

    Raises:
        DataError: Another type or shape.
    """
    if colours.ndim == 2:
        colours = np.repeat(colours[:, :, None], 3, axis=2)
    if colours.dtype != np.uint8 or colours.ndim != 3 or colours.shape[2] != 3:
        raise DataError(f"colours are {colours.dtype} {colours.shape}; expected uint8 (H, W, 3)")
    ids: np.ndarray = colours.astype(np.int64) @ np.array([1, 256, 65536])
    return ids


def encode_panoptic(ids: torch.Tensor | np.ndarray) -> np.ndarray:
    """The picture uint8 (H, W, 3) of segment ids (H, W): the inverse of :func:`decode_panoptic`.

    Raises:
        DataError: No integers of shape (H, W), or out of 0..16777215.
    """
    labels = as_labels(ids, "ids")
    smallest, largest = int(labels.min(initial=0)), int(labels.max(initial=0))
    if smallest < 0 or largest > LARGEST:
        raise DataError(f"ids run from {smallest} to {largest}; a colour holds 0..{LARGEST}")
    planes = labels.astype(np.int64)[..., None] >> np.array([0, 8, 16])
    return (planes & 255).astype(np.uint8)


def read_panoptic(path: Path) -> np.ndarray:
    """Segment ids int64 (H, W) of a panoptic PNG.

    Raises:
        DataError: The file is broken, or not of 8 bits a channel.
    """
    pixels = read_pixels(path)
    if pixels.dtype != np.uint8:
        raise DataError(f"{path}: pixels are {pixels.dtype}; expected 8 bits a channel")
    return decode_panoptic(pixels)


def write_panoptic(path: Path, ids: torch.Tensor | np.ndarray) -> None:
    """Write segment ids (H, W) as a panoptic PNG, whole or not at all."""
    write_png(path, encode_panoptic(ids))


def read_json(path: Path, *keys: str) -> dict[str, Any]:
    """A JSON file that holds an object with these keys, each a list.

    Raises:
        DataError: The file cannot be read, is no JSON, or a key is missing.
    """
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from error
    for key in keys:
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{path}: has no list {key!r} at its top")
    result: dict[str, Any] = content
    return result


def segments_table(
    ids: np.ndarray, segments: Sequence[Mapping[str, Any]], path: Path
) -> tuple[np.ndarray, np.ndarray]:
    """Which row of ``segments`` each pixel belongs to, and the boxes round them.

    Returns:
        int64 (H, W), 0 where the id is 0 and k + 1 for ``segments[k]``; boxes float32 (N, 4) as x1, y1, x2,
        y2 in px, the last two exclusive.

    Raises:
        DataError: An id is in the picture but not in the JSON, or the reverse, or twice; names both.
    """
    known = np.array([segment["id"] for segment in segments], np.int64)
    order = np.argsort(known, kind="stable")
    if (np.diff(known[order]) == 0).any() or (known <= 0).any():
        raise DataError(f"{path}: its segments' ids in the JSON are not unique and above 0")
    found, inverse = np.unique(ids, return_inverse=True)
    rows = np.zeros(len(found), np.int64)
    if len(known):
        place = np.searchsorted(known, found, sorter=order).clip(max=len(known) - 1)
        rows = np.where(known[order][place] == found, order[place] + 1, 0)
    if (stray := found[(rows == 0) & (found != 0)]).size:
        raise DataError(f"{path}: has the id {stray[0]}, which its segments in the JSON lack")
    index = rows[inverse.reshape(ids.shape)]
    areas = np.bincount(index.ravel(), minlength=len(known) + 1)[1:]
    if len(known) and areas.min() == 0:
        raise DataError(f"{path}: no pixel has the id {known[areas.argmin()]} of the JSON")
    return index, label_boxes(index, len(known))


def label_boxes(index: np.ndarray, count: int) -> np.ndarray:
    """Boxes float32 (count, 4) round the pixels with 1, 2, …, count, all of which occur."""
    boxes = np.zeros((count, 4), np.float32)
    rows = np.zeros((count + 1, index.shape[0]), bool)
    columns = np.zeros((count + 1, index.shape[1]), bool)
    y, x = np.ogrid[: index.shape[0], : index.shape[1]]
    rows[index, y] = True
    columns[index, x] = True
    for low, high, hits in ((0, 2, columns[1:]), (1, 3, rows[1:])):
        boxes[:, low] = hits.argmax(axis=1)
        boxes[:, high] = hits.shape[1] - hits[:, ::-1].argmax(axis=1)
    return boxes


def read_segments(
    path: Path, segments: Sequence[Mapping[str, Any]], image: Path, size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`segments_table`, from a panoptic PNG of a picture of (height, width)."""
    ids = read_panoptic(path)
    check_size(path, ids.shape, image, size)
    return segments_table(ids, segments, path)
