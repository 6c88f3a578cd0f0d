"""Label maps of the figures: checked, scored and packed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from lessons_lib.semantic import ConfusionMatrix
from lessons_lib.widgets import encode

IGNORE = 255
MOST_PIXELS = 256 * 256


class Score(NamedTuple):
    """How well a label map agrees with the truth.

    Attributes:
        iou: Of each class; None where it is neither in the truth nor predicted.
        mean: Mean IoU over the classes that are.
        wrong: Pixels that are wrong, of those that count.
    """

    iou: list[float | None]
    mean: float
    wrong: int

    def state(self) -> dict[str, Any]:
        """Return what the page gets, in short decimals."""
        iou = [None if v is None else round(v, 5) for v in self.iou]
        return {"iou": iou, "mean": round(self.mean, 5), "wrong": self.wrong}


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> ConfusionMatrix:
    """Count the pixels (H, W) by true and predicted class; a truth of 255 does not count."""
    matrix = ConfusionMatrix(classes)
    matrix.update(torch.from_numpy(predicted), torch.from_numpy(truth))
    return matrix


def score(truth: np.ndarray, predicted: np.ndarray, classes: int) -> Score:
    """Return IoU by class, its mean, and the number of wrong pixels (Long et al., 2015, section 5).

    A class that is neither in the truth nor predicted is left out of the mean.

    Args:
        truth: (H, W), 0 to classes − 1, or 255: does not count.
        predicted: (H, W), 0 to classes − 1.
        classes: Their number.
    """
    counted = confusion(truth, predicted, classes)
    iou = [None if np.isnan(v) else v for v in counted.iou.tolist()]
    wrong = int(counted.matrix.sum() - counted.matrix.diagonal().sum())
    return Score(iou, float(counted.mean_iou), wrong)


def check_classes(class_names: Sequence[str]) -> list[str]:
    """Return the names of the classes, or raise ValueError unless there are 2 to 30 of them."""
    if isinstance(class_names, str) or not all(isinstance(name, str) for name in class_names):
        raise ValueError(f"class_names is {class_names!r}; expected a sequence of names")
    names = list(class_names)
    if not 2 <= len(names) <= 30:
        raise ValueError(f"class_names has {len(names)} names; expected 2 to 30")
    return names


def check_labels(
    name: str,
    values: Any,
    classes: int,
    shape: tuple[int, ...] | None = None,
    *,
    ignore: bool = False,
) -> np.ndarray:
    """Return a label map as uint8 (H, W).

    Args:
        name: What the argument is called.
        values: Whole numbers.
        classes: Labels are 0 to classes − 1.
        shape: (H, W) it must have; default: any of at most 65,536 pixels.
        ignore: Whether 255, "does not count", is allowed; not all pixels may be ignored.

    Raises:
        ValueError: If shape, type or a value is another.
    """
    labels = encode.to_numpy(values)
    if shape is not None:
        encode.check_shape(name, labels, shape)
    elif labels.ndim != 2 or not 1 <= labels.size <= MOST_PIXELS:
        raise ValueError(
            f"{name} has shape {labels.shape}; expected (H, W) of at most {MOST_PIXELS} pixels"
        )
    if labels.dtype == bool or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"{name} has type {labels.dtype}; expected whole numbers")
    valid = (labels >= 0) & (labels < classes)
    if ignore:
        if (labels == IGNORE).all():
            raise ValueError(f"{name} is 255 (ignored) everywhere; expected at least one class")
        valid |= labels == IGNORE
    if not valid.all():
        allowed = f"0 to {classes - 1}" + (" or 255 (ignored)" if ignore else "")
        raise ValueError(f"{name} contains {labels[~valid].flat[0]}; expected {allowed}")
    return labels.astype(np.uint8)


def check_picture(image: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a picture as uint8 (H, W) or (H, W, 3), of the label map's size."""
    pixels = encode.check_image(image)
    encode.check_shape("image", pixels, (*shape, *pixels.shape[2:]))
    return pixels


def runs(values: np.ndarray) -> bytes:
    """Store numbers as runs: each value and its length, seven bits a byte, lowest first.

    Unlike a general compressor's, these bytes are the same on every machine.

    Args:
        values: uint8, any shape, in reading order.
    """
    flat = values.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=np.uint8(flat[0] ^ 1)))
    lengths = np.diff(starts, append=flat.size)
    packed = bytearray()
    for value, length in zip(flat[starts].tolist(), lengths.tolist(), strict=True):
        packed.append(value)
        while length > 127:
            packed.append(length & 127 | 128)
            length >>= 7
        packed.append(length)
    return bytes(packed)


def pack(reference: np.ndarray, maps: Iterable[np.ndarray]) -> bytes:
    """Store a label map and others as what differs from it, for ``decodeMaps`` of ``labels.js``."""
    return runs(np.stack([reference, *(reference ^ other for other in maps)]))


def image_state(pixels: np.ndarray) -> dict[str, Any]:
    """Pack a picture of which every pixel has a label, for ``decodeWhole`` of ``labels.js``."""
    none = np.zeros(pixels.shape[:2], np.uint8)
    return {**encode.picture_state(pixels, none, none > 0), "foreground": b""}


def unpack(packed: bytes, picture: dict[str, Any], count: int) -> list[np.ndarray]:
    """Undo :func:`pack`: the reference and ``count`` maps, uint8 (H, W) each."""
    stack = unpack_runs(packed).reshape(count + 1, picture["height"], picture["width"])
    return [stack[0], *(stack[0] ^ other for other in stack[1:])]


def unpack_runs(packed: bytes) -> np.ndarray:
    """Undo :func:`runs`: the numbers, uint8 (N,)."""
    values, at = [], 0
    lengths = []
    while at < len(packed):
        values.append(packed[at])
        length, shift = 0, 0
        while True:
            at += 1
            length |= (packed[at] & 127) << shift
            shift += 7
            if packed[at] < 128:
                break
        lengths.append(length)
        at += 1
    return np.repeat(np.array(values, np.uint8), lengths)
