"""What all annotation formats have in common: pictures, and the objects that somebody marked in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import DataError
from .mask_runs import MaskRuns, read_segmentations

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class MarkedObject:
    """One object of a picture.

    Attributes:
        label: name of its class.
        box: x1, y1, x2, y2 in px from the picture's upper left corner, x2 and y2 exclusive. It may be
            empty or reach beyond the picture: this is what a file says, not what is right.
        segmentation: as COCO has it, a list of polygons ``[x1, y1, x2, y2, …]`` or run lengths
            (:class:`~lessons_lib.data.rle.RLE`); None if only the box is known.
        difficult, truncated, occluded, crowd: flags; False where a format does not have them.
        extra: whatever else a format says about the object, kept for writing it back.
    """

    label: str
    box: Box
    segmentation: Any = None
    difficult: bool = False
    truncated: bool = False
    occluded: bool = False
    crowd: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ignore(self) -> bool:
        """Whether evaluation should leave the object out, found or not."""
        return self.difficult or self.crowd

    @property
    def empty(self) -> bool:
        """Whether the box holds no pixel."""
        x1, y1, x2, y2 = self.box
        return x2 <= x1 or y2 <= y1

    def inside(self, size: tuple[int, int]) -> bool:
        """Whether the box lies in a picture of (height, width)."""
        x1, y1, x2, y2 = self.box
        height, width = size
        return (
            0 <= min(x1, x2) <= max(x1, x2) <= width and 0 <= min(y1, y2) <= max(y1, y2) <= height
        )


@dataclass(frozen=True)
class MarkedPicture:
    """One picture: the name of its file, (height, width) in px, and its objects in the file's order."""

    file_name: str
    size: tuple[int, int]
    objects: tuple[MarkedObject, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Annotations:
    """All pictures of a file or folder.

    Attributes:
        pictures: in the file's order.
        classes: names of the classes, in the order of their numbers.
        stuff: those of the classes whose objects cannot be counted, such as sky.
        class_ids: number of each class where a format has its own; else they are 1, 2, ….
    """

    pictures: tuple[MarkedPicture, ...]
    classes: tuple[str, ...]
    stuff: frozenset[str] = frozenset()
    class_ids: tuple[int, ...] = ()

    def numbers(self) -> dict[str, int]:
        """Number of each class."""
        ids = self.class_ids or range(1, len(self.classes) + 1)
        return dict(zip(self.classes, ids, strict=True))


def names_of(pictures: Iterable[MarkedPicture]) -> tuple[str, ...]:
    """The classes that occur, in alphabetical order."""
    return tuple(sorted({thing.label for picture in pictures for thing in picture.objects}))


def mask_runs(picture: MarkedPicture, *numbers: int) -> MaskRuns:
    """The masks of some objects (counted from 0) of a picture as runs; of all, if none is named.

    Raises:
        DataError: An object has no mask, or a broken one; names picture and object.
    """
    chosen = numbers or range(len(picture.objects))
    names = [f"{picture.file_name}: object {n + 1} ({picture.objects[n].label})" for n in chosen]
    masks = [picture.objects[n].segmentation for n in chosen]
    for name, mask in zip(names, masks, strict=True):
        if mask is None:
            raise DataError(f"{name} has a box only; this form needs masks")
    return read_segmentations(masks, [picture.size] * len(masks), names)


def cut_out(runs: MaskRuns) -> tuple[np.ndarray, tuple[int, int]]:
    """The first mask, bool, cut to the box round its pixels, and x and y of the box's corner in px."""
    x1, y1, x2, y2 = runs.boxes[0].tolist()
    height, end = int(runs.height[0]), int(runs.first[1])
    change = np.zeros((x2 - x1) * height + 1, np.int8)
    np.add.at(change, runs.start[:end] - x1 * height, 1)
    np.add.at(change, runs.stop[:end] - x1 * height, -1)
    columns = np.cumsum(change[:-1]).astype(bool).reshape((height, x2 - x1), order="F")
    return columns[y1:y2], (x1, y1)


def label_map(picture: MarkedPicture) -> np.ndarray:
    """Instances int32 (H, W) of the objects' masks: object k, counted from 1, has id k.

    Raises:
        DataError: Two masks share a pixel, or an object has no mask.
    """
    labels, place, owner = _paint(picture)
    if (lost := owner[labels[place] != owner]).size:
        first = int(lost[0])
        taken = labels[place[owner == first]]
        second = int(taken[taken != first][0])
        raise DataError(
            f"{picture.file_name}: object {second} ({picture.objects[second - 1].label}) overlaps object "
            f"{first} in {int((taken == second).sum())} pixels; here a pixel belongs to one object only"
        )
    return labels.reshape(picture.size, order="F")


def paint_masks(picture: MarkedPicture) -> tuple[np.ndarray, int]:
    """As :func:`label_map`, but where masks overlap the later object keeps the pixel.

    Returns:
        instances int32 (H, W), and the number of pixels that an earlier object lost.

    Raises:
        DataError: An object has no mask, or a broken one.
    """
    labels, place, owner = _paint(picture)
    lost = int(np.count_nonzero(labels[place] != owner))
    return labels.reshape(picture.size, order="F"), lost


def _paint(picture: MarkedPicture) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels down the columns, int32 (H * W,); and of each painted pixel, in order, the place and the id."""
    height, width = picture.size
    labels = np.zeros(height * width, np.int32)
    runs = mask_runs(picture)
    length = runs.stop - runs.start
    owner = np.repeat(runs.mask + 1, length)
    before = np.cumsum(length) - length
    place = np.arange(length.sum()) + np.repeat(runs.start - before, length)
    labels[place] = owner
    return labels, place, owner
