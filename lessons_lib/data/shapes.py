"""Textured shapes that lie on each other: the synthetic scenes of Parts II and III."""

from __future__ import annotations

from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .arguments import check_least, check_order
from .pictures import PALETTE


class ShapesScene(TypedDict):
    """One sample of :class:`Shapes`."""

    image: Tensor
    semantic: Tensor
    instances: Tensor
    boxes: Tensor
    labels: Tensor
    masks: Tensor
    id: str


class Shapes(Dataset[ShapesScene]):
    """Circles, squares, triangles, stars and thin rods with textures, on a textured ground.

    Colour and texture are drawn independently of the class, so only the form tells what a thing is.
    Later things lie on top of earlier ones. Every truth comes from the same drawing: class of each
    pixel, instance of each pixel, one box, label and mask a thing.

    Sample ``i`` is a function of ``(seed, i)`` and of nothing else.

    Args:
        length: number of samples.
        size: height and width of the picture, px.
        count: things in a picture; a pair ``(low, high)`` draws it, both ends included. A thing for
            which no legal place was found in 50 throws is left out.
        radius: smallest and largest radius of a thing, px; a rod is twice its radius long.
        rod_width: narrowest and widest rod, px, both included.
        min_visible: least share of every thing that must stay visible, in 0..1.
        rotate: largest angle by which things are turned from upright, degrees; a rod's upright is lying
            or standing.
        noise: standard deviation of Gaussian noise added to the image (values in [0, 1]).
        seed: of the whole set.

    Each sample holds ``image`` float32 (3, size, size) in [0, 1], ``semantic`` int64 (size, size)
    with the index in :attr:`CLASSES`, ``instances`` int64 (size, size) with ids 1..N, ``boxes``
    float32 (N, 4) around the visible pixels (x1, y1, x2, y2; x2, y2 exclusive), ``labels`` int64
    (N,), ``masks`` bool (N, size, size) of the visible pixels, and ``id``. Row k belongs to id k + 1.

    Raises:
        ValueError: for sizes that make no picture.
    """

    CLASSES = ("background", "circle", "square", "triangle", "star", "rod")
    PALETTE = np.concatenate([np.zeros((1, 3), np.uint8), PALETTE[:5]])
    """Colours of the classes, uint8 (6, 3); the background is black."""

    def __init__(
        self,
        length: int = 512,
        *,
        size: int = 128,
        count: int | tuple[int, int] = (2, 4),
        radius: tuple[int, int] = (18, 36),
        rod_width: tuple[int, int] = (6, 10),
        min_visible: float = 0.85,
        rotate: float = 20.0,
        noise: float = 0.03,
        seed: int = 0,
    ) -> None:
        low, high = (count, count) if isinstance(count, int) else count
        check_least(
            length=(length, 0),
            size=(size, 8),
            count=(low, 0),
            radius=(radius[0], 2),
            rod_width=(rod_width[0], 1),
            min_visible=(min_visible, 0),
            rotate=(rotate, 0),
            noise=(noise, 0),
            seed=(seed, 0),
        )
        check_order(count=(low, high), radius=radius, rod_width=rod_width)
        if min_visible > 1:
            raise ValueError(f"min_visible is {min_visible}; it is a share and at most 1")
        if 2 * radius[1] > size:
            raise ValueError(f"radius is {radius}; twice the largest must fit in size = {size}")
        self.length = length
        self.size = size
        self.count = (low, high)
        self.radius = radius
        self.rod_width = rod_width
        self.min_visible = min_visible
        self.rotate = rotate
        self.noise = noise
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> ShapesScene:
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; it must be in 0..{self.length - 1}")
        rng = np.random.default_rng((self.seed, index))
        image = texture(rng, (self.size, self.size), rng.uniform(0.05, 0.35, 3))
        instances = np.zeros((self.size, self.size), np.int64)
        labels: list[int] = []
        areas: list[int] = [0]
        for _ in range(int(rng.integers(self.count[0], self.count[1] + 1))):
            label = int(rng.integers(1, len(self.CLASSES)))
            mask = self._place(rng, label, instances, areas)
            if mask is None:
                continue
            labels.append(label)
            areas.append(int(mask.sum()))
            instances[mask] = len(labels)
            paint(rng, image, mask)
        image = cv2.GaussianBlur(image, (3, 3), 0.5)
        if self.noise:
            image = image + rng.normal(0.0, self.noise, image.shape).astype(np.float32)
        masks = instances == np.arange(1, len(labels) + 1)[:, None, None]
        classes = np.array([0, *labels], np.int64)
        return {
            "image": torch.from_numpy(image.clip(0, 1).transpose(2, 0, 1).copy()),
            "semantic": torch.from_numpy(classes[instances]),
            "instances": torch.from_numpy(instances),
            "boxes": torch.from_numpy(boxes_of(masks)),
            "labels": torch.from_numpy(classes[1:]),
            "masks": torch.from_numpy(masks),
            "id": f"shapes-{self.seed}-{index}",
        }

    def _place(
        self, rng: np.random.Generator, label: int, instances: np.ndarray, areas: list[int]
    ) -> np.ndarray | None:
        """A mask (size, size) that hides too much of no earlier thing; ``None`` if none was found."""
        for _ in range(50):
            radius = rng.uniform(*self.radius)
            middle = rng.uniform(radius, self.size - radius, 2)
            angle = np.deg2rad(rng.uniform(-self.rotate, self.rotate))
            if self.CLASSES[label] == "rod":
                angle += rng.integers(2) * np.pi / 2
            width = int(rng.integers(self.rod_width[0], self.rod_width[1] + 1))
            points = outline(self.CLASSES[label], radius, angle, width)
            mask = fill_polygon(points + middle, self.size)
            hidden = np.bincount(instances[mask], minlength=len(areas))
            visible = np.bincount(instances.ravel(), minlength=len(areas)) - hidden
            if (visible[1:] >= self.min_visible * np.array(areas[1:])).all():
                return mask
        return None


def outline(name: str, radius: float, angle: float, rod_width: int) -> np.ndarray:
    """Corners (N, 2) as x, y of one thing around the origin, px."""
    if name == "rod":
        half = rod_width / 2
        corners = np.array([(-radius, -half), (radius, -half), (radius, half), (-radius, half)])
    elif name == "square":
        half = radius / np.sqrt(2)
        corners = half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    else:
        corner_count = {"circle": 48, "triangle": 3, "star": 10}[name]
        turn = 2 * np.pi * np.arange(corner_count) / corner_count - np.pi / 2
        reach = np.where(np.arange(corner_count) % 2, 0.42, 1.0) if name == "star" else 1.0
        corners = (radius * reach * np.stack([np.cos(turn), np.sin(turn)])).T
    cos, sin = np.cos(angle), np.sin(angle)
    return corners @ np.array([[cos, sin], [-sin, cos]])


def fill_polygon(points: np.ndarray, size: int) -> np.ndarray:
    """The polygon with these corners (N, 2) as a bool mask (size, size).

    Corners are kept to a sixteenth of a pixel, so that a rod's width does not depend on its place.
    """
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(16 * points - 8).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)


def texture(rng: np.random.Generator, size: tuple[int, int], colour: np.ndarray) -> np.ndarray:
    """A patch float32 (H, W, 3) of one colour, shaded, with stripes, a chequer, blobs or nothing."""
    angle, frequency = rng.uniform(0, np.pi), 2 * np.pi / rng.uniform(5, 12)
    phase, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.03, 0.1)
    y, x = np.ogrid[: size[0], : size[1]]
    x, y = x.astype(np.float32), y.astype(np.float32)
    along = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    kind = rng.integers(4)
    if kind == 0:
        wave = np.sin(np.float32(frequency) * along + np.float32(phase))
    elif kind == 1:
        wave = np.sin(np.float32(frequency) * x) * np.sin(np.float32(frequency) * y)
    elif kind == 2:
        coarse = rng.uniform(-1, 1, (size[0] // 6 + 2, size[1] // 6 + 2)).astype(np.float32)
        wave = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
    else:
        wave = np.zeros_like(along)
    shade = np.float32(0.12 / max(size)) * along + np.float32(strength) * wave
    return (colour.astype(np.float32) + shade[..., None]).clip(0, 1)


def paint(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray) -> None:
    """Fills a mask with a texture whose colour differs from the mean of what it covers."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside, part = mask[box], image[box]
    colours = rng.uniform(0.4, 0.95, (8, 3))
    far = np.abs(colours - part[inside].mean(0)).max(1) > 0.25
    patch = texture(rng, (len(inside), inside.shape[1]), colours[int(far.argmax())])
    part[inside] = patch[inside]


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """Boxes float32 (N, 4) of masks bool (N, H, W), each with at least one pixel."""
    columns, rows = np.any(masks, axis=1), np.any(masks, axis=2)
    height, width = masks.shape[1:]
    boxes = [
        columns.argmax(1),
        rows.argmax(1),
        width - columns[:, ::-1].argmax(1),
        height - rows[:, ::-1].argmax(1),
    ]
    return np.stack(boxes, 1).astype(np.float32).reshape(-1, 4)
