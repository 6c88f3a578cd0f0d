"""What data sets with a class for every pixel share: label pictures and look-up tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from .checks import check_size
from .errors import DataError
from .files import picture_size, read_pixels, to_tensor
from .picture_sets import Part, Pictures, list_files, pair_files

IGNORE = 255
UNKNOWN = 254  # in a look-up table: no such label; so at most 254 classes


@dataclass(frozen=True)
class LabelledPicture:
    """One picture, its label picture, and how that is decoded: uint8 (H, W), 255 = ignore."""

    id: str
    image: Path
    truth: Path
    decode: Callable[[Path], np.ndarray]

    def size(self) -> tuple[int, int]:
        """(height, width), from the picture's header."""
        return picture_size(self.image)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels as stored, uint8 or uint16 (H, W) or (H, W, 3), and classes uint8 (H, W).

        Raises:
            DataError: A file is missing or broken, the sizes differ, or a label is unknown.
        """
        pixels = read_pixels(self.image)
        semantic = self.decode(self.truth)
        check_size(self.truth, semantic.shape, self.image, pixels.shape[:2])
        return pixels, semantic

    def sample(self) -> dict[str, Any]:
        """``image``, ``semantic``, ``id`` and what else there is, as :class:`LabelledPictures` says."""
        pixels, semantic = self.read()
        return {
            "image": to_tensor(pixels),
            "semantic": torch.from_numpy(semantic.astype(np.int64)),
            "id": self.id,
            **self.extras(),
        }

    def extras(self) -> dict[str, Any]:
        """What a sample has besides image and classes."""
        return {}


class LabelledPictures(Pictures):
    """A data set with a class for every pixel.

    ``dataset[i]`` is a dict: ``image`` float32 (3, H, W) in [0, 1] (gray repeated, not normalised),
    ``semantic`` int64 (H, W) with classes 0..C-1 and 255 = ignore, ``id`` str. Files are decoded when a
    sample is asked for. Sizes may differ between pictures.

    ``CLASSES`` are the names of the C classes, ``PALETTE`` their colours, uint8 (C, 3) RGB, ``IGNORE`` is
    255, ``ids`` and ``sizes`` are those of the pictures. :class:`~lessons_lib.data.Augmented` cuts equal
    crops for training.

    The base of the loaders; to read one of your own, write it in the layout of one of them.
    """

    IGNORE: ClassVar[int] = IGNORE

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels as stored and classes uint8 (H, W), 255 = ignore."""
        pixels, semantic = self.pictures[index].read()
        return pixels, semantic


def pair(
    name: str,
    images: dict[str, Path],
    labels: dict[str, Path],
    decode: Callable[[Path], np.ndarray],
    expected: str,
) -> Part:
    """The part of all ids that have both, and a problem for each id that has only one.

    Args:
        expected: where a missing file should be, with ``{}`` for the id, for the messages.
    """
    files, problems = pair_files(images, labels, expected)
    return Part(name, [LabelledPicture(*paths, decode) for paths in files], problems)


def listed(
    name: str, ids: Sequence[str], image: str, truth: str, decode: Callable[[Path], np.ndarray]
) -> Part:
    """The part of the given ids; ``image`` and ``truth`` are paths with ``{}`` for the id."""
    files, problems = list_files(name, ids, image, truth)
    return Part(name, [LabelledPicture(*paths, decode) for paths in files], problems)


def table(labels: dict[int, int], size: int = 256) -> np.ndarray:
    """uint8 (size,): the class of each label, :data:`UNKNOWN` where there is none."""
    result = np.full(size, UNKNOWN, np.uint8)
    for label, value in labels.items():
        result[label] = value
    return result


def look_up(path: Path, labels: np.ndarray, classes: np.ndarray, expected: str) -> np.ndarray:
    """Classes uint8 (H, W) of stored labels (H, W), by a table.

    Raises:
        DataError: A label that is not in the table; names file, label and number of pixels.
    """
    beyond = labels >= len(classes)
    if beyond.any():
        raise unknown(path, f"the label {labels[beyond][0]}", int(beyond.sum()), expected)
    found = classes[labels]
    if (wrong := found == UNKNOWN).any():
        label = labels[wrong][0]
        raise unknown(path, f"the label {label}", int((labels == label).sum()), expected)
    return found


def look_up_colours(
    path: Path, pixels: np.ndarray, colours: dict[tuple[int, int, int], int], expected: str
) -> np.ndarray:
    """Classes uint8 (H, W) of a picture whose colours are the labels, uint8 (H, W) or (H, W, 3).

    Raises:
        DataError: A colour that is not listed; names file, colour and number of pixels.
    """
    if pixels.dtype != np.uint8:
        raise DataError(f"{path}: pixels are {pixels.dtype}; expected 8 bits a channel")
    rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
    codes = rgb.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    known = np.array([r << 16 | g << 8 | b for r, g, b in colours], np.uint32)
    order = np.argsort(known)
    place = np.searchsorted(known, codes, sorter=order).clip(max=len(known) - 1)
    if (wrong := known[order][place] != codes).any():
        code = int(codes[wrong][0])
        colour = (code >> 16, code >> 8 & 255, code & 255)
        raise unknown(path, f"the colour {colour}", int((codes == code).sum()), expected)
    return np.array(list(colours.values()), np.uint8)[order][place]


def unknown(path: Path, what: str, count: int, expected: str) -> DataError:
    """The error for a label that has no class."""
    return DataError(f"{path}: has {what} in {count} pixels; expected {expected}")
