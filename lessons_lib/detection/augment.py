"""Training pictures for detectors: scaled, mirrored, cut, with the boxes that are still there."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .boxes import box_area, clip_boxes


class ScaledBoxes(Dataset[dict[str, Any]]):
    """Pictures with boxes at another scale.

    Args:
        dataset: samples with ``image`` float32 (3, H, W), ``boxes`` (N, 4) and ``labels``.
        scale: factor of height and width.

    Each sample has the same entries, boxes scaled too.
    """

    def __init__(self, dataset: Dataset[Any], scale: float = 1.0) -> None:
        if scale <= 0:
            raise ValueError(f"scale is {scale}; it must be positive")
        self.dataset, self.scale = dataset, scale

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.dataset[index]
        image, boxes = rescale(sample["image"], sample["boxes"], self.scale)
        return {**sample, "image": image, "boxes": boxes}


class BoxCrops(Dataset[dict[str, Any]]):
    """Random crops with their boxes, mirrored at random. Item i is a function of ``(seed, i)`` alone.

    Items come in rounds: each picture once, in random order, then once more, and so on.

    Args:
        dataset: samples with ``image`` float32 (3, H, W), ``boxes``, ``labels``, ``id``.
        size: height and width of a crop, px; ``None`` takes whole pictures. A smaller picture is
            extended with zeros at its right and lower sides.
        length: number of items.
        seed: any whole number from 0.
        scale: factor of height and width before anything else; a pair draws it.
        mirror: axes that are flipped in half of the items: ``"x"``, ``"y"``, ``"xy"`` or ``""``.
        min_visible: a box of which less than this share lies in the crop is left out.
        contrast: the image is multiplied by a number within this of 1, each channel by its own.

    Each item has ``image``, ``boxes``, ``labels``, ``crowd`` if there, and ``id`` "<id>#<i>".

    Raises:
        ValueError: for no pictures, or a number that makes no crop.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        size: int | None,
        length: int,
        seed: int = 0,
        *,
        scale: tuple[float, float] = (1.0, 1.0),
        mirror: str = "x",
        min_visible: float = 0.3,
        contrast: float = 0.0,
    ) -> None:
        self.count = len(dataset)  # type: ignore[arg-type]
        if self.count == 0:
            raise ValueError("dataset is empty; expected at least one picture")
        if size is not None and size < 1:
            raise ValueError(f"size is {size}; it must be at least 1")
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale is {scale}; it must be two rising positive numbers")
        if mirror not in ("", "x", "y", "xy"):
            raise ValueError(f"mirror is {mirror!r}; it must be '', 'x', 'y' or 'xy'")
        if not 0 <= min_visible <= 1 or not 0 <= contrast < 1:
            raise ValueError(
                f"min_visible is {min_visible}, contrast is {contrast}; both are shares in 0..1"
            )
        if length < 0 or seed < 0:
            raise ValueError(f"length is {length}, seed is {seed}; both must be at least 0")
        self.dataset, self.size, self.length, self.seed = dataset, size, length, seed
        self.scale, self.mirror = scale, mirror
        self.min_visible, self.contrast = min_visible, contrast

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; it must be in 0..{self.length - 1}")
        turn, place = divmod(index, self.count)
        order = np.random.default_rng((self.seed, turn)).permutation(self.count)
        rng = np.random.default_rng((self.seed, index, 1))
        sample = self.dataset[int(order[place])]
        image, boxes = rescale(sample["image"], sample["boxes"], rng.uniform(*self.scale))
        for axis, name in ((2, "x"), (1, "y")):
            if name in self.mirror and rng.integers(2):
                image, boxes = mirror(image, boxes, axis)
        if self.size is None:
            size = int(image.shape[1]), int(image.shape[2])
            boxes, keep = cut(boxes, size, self.min_visible)
        else:
            free = [max(0, side - self.size) for side in image.shape[1:]]
            top, left = (int(rng.integers(f + 1)) for f in free)
            image, boxes, keep = crop(image, boxes, top, left, self.size, self.min_visible)
        if self.contrast:
            factor = rng.uniform(1 - self.contrast, 1 + self.contrast, (3, 1, 1)).astype(np.float32)
            image = (image * torch.from_numpy(factor)).clamp(0, 1)
        rows = {name: sample[name][keep] for name in ("labels", "crowd") if name in sample}
        return {"image": image, "boxes": boxes, **rows, "id": f"{sample['id']}#{index}"}


def rescale(image: Tensor, boxes: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    """An image (3, H, W) and boxes at ``factor`` times their size; shrinking averages areas."""
    height, width = image.shape[1:]
    new = max(1, round(height * factor)), max(1, round(width * factor))
    if new == (height, width):
        return image, boxes
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    pixels = cv2.resize(image.permute(1, 2, 0).numpy(), new[::-1], interpolation=method)
    by = boxes.new_tensor([new[1] / width, new[0] / height] * 2)
    return torch.from_numpy(pixels).permute(2, 0, 1), boxes * by


def mirror(image: Tensor, boxes: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """An image (3, H, W) turned round its axis 1 (upside down) or 2 (left to right), and its boxes."""
    return image.flip(axis), mirror_boxes(boxes, image.shape[axis], axis)


def mirror_boxes(boxes: Tensor, side: int, axis: int) -> Tensor:
    """Boxes (N, 4) of a picture that is turned round an axis as long as ``side``, px."""
    low, high = (1, 3) if axis == 1 else (0, 2)
    turned = boxes.clone()
    turned[:, low], turned[:, high] = side - boxes[:, high], side - boxes[:, low]
    return turned


def crop(
    image: Tensor, boxes: Tensor, top: int, left: int, size: int, min_visible: float
) -> tuple[Tensor, Tensor, Tensor]:
    """A square of an image, the boxes of which enough is left, and which of the boxes these are."""
    part = image[:, top : top + size, left : left + size]
    canvas = image.new_zeros((3, size, size))
    canvas[:, : part.shape[1], : part.shape[2]] = part
    moved = boxes - boxes.new_tensor([left, top, left, top])
    return canvas, *cut(moved, (size, size), min_visible)


def cut(boxes: Tensor, size: tuple[int, int], min_visible: float) -> tuple[Tensor, Tensor]:
    """Boxes cut at the borders of a picture (height, width), and which of them are left.

    What is empty goes, and what has less than ``min_visible`` of its area inside.
    """
    clipped = clip_boxes(boxes, size)
    keep = (box_area(clipped) > 0) & (box_area(clipped) >= min_visible * box_area(boxes))
    return clipped[keep], keep
