"""The same sprite is a boat or a car: scenes in which only the context tells (chapter 5)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from .arguments import check_least, check_order
from .pictures import PALETTE
from .shapes import fill_polygon
from .sticks import Scene


class ContextScenes(Dataset[Scene]):
    """Vehicles in fog. A strip along one border shows water or a road; all the rest is fog.

    A vehicle is a boat if the strip is water and a car if it is a road. Its own pixels are drawn from
    one distribution for both, and so is the fog around it: at least ``distance`` pixels lie between
    a vehicle and the strip, so a network that sees less far can only guess. This is the failure of
    Zhao et al. (2017, figure 2), where a boat is taken for a car, distilled.

    Sample ``i`` is a function of ``(seed, i)`` and of nothing else.

    Args:
        length: number of samples.
        size: height and width of the picture, px.
        count: vehicles in a picture; a pair ``(low, high)`` draws it, both ends included. One for
            which no free place was found in 50 throws is left out.
        strip: width of the strip, px.
        distance: least distance between a vehicle and the strip, px.
        noise: standard deviation of Gaussian noise added to the image (values in [0, 1]).
        seed: of the whole set.

    Each sample holds ``image`` float32 (3, size, size) in [0, 1], ``semantic`` int64 (size, size)
    with the index in :attr:`CLASSES`, ``instances`` int64 (size, size) with one id a vehicle, and
    ``id``.

    Raises:
        ValueError: for sizes that make no picture.
    """

    CLASSES = ("fog", "water", "road", "boat", "car")
    PALETTE = np.concatenate([np.full((1, 3), 60, np.uint8), PALETTE[[1, 7, 4, 0]]])
    """Colours of the classes, uint8 (5, 3)."""
    AMBIGUOUS = (3, 4)
    """Indices of the classes that look alike."""

    def __init__(
        self,
        length: int = 512,
        *,
        size: int = 128,
        count: int | tuple[int, int] = (1, 3),
        strip: int = 16,
        distance: int = 56,
        noise: float = 0.03,
        seed: int = 0,
    ) -> None:
        low, high = (count, count) if isinstance(count, int) else count
        check_least(
            length=(length, 0),
            count=(low, 0),
            strip=(strip, 2),
            distance=(distance, 0),
            noise=(noise, 0),
            seed=(seed, 0),
        )
        check_order(count=(low, high))
        if size < strip + distance + 32:
            raise ValueError(
                f"size is {size}; it must leave 32 px beyond strip + distance = {strip + distance}"
            )
        self.length = length
        self.size = size
        self.count = (low, high)
        self.strip = strip
        self.distance = distance
        self.noise = noise
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Scene:
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; it must be in 0..{self.length - 1}")
        rng = np.random.default_rng((self.seed, index))
        size, strip = self.size, self.strip
        water, side = bool(rng.integers(2)), int(rng.integers(4))
        # drawn with the strip on top, then turned; vehicles are put in after that, upright
        image, semantic = fog(rng, size), np.zeros((size, size), np.int64)
        image[:strip] = (waves if water else road)(rng, strip, size)
        semantic[:strip] = 1 if water else 2
        image, semantic = np.rot90(image, side).copy(), np.rot90(semantic, side).copy()
        free = np.zeros((size, size), bool)
        free[strip + self.distance :] = True
        free = np.rot90(free, side).copy()
        instances = np.zeros((size, size), np.int64)
        for _ in range(int(rng.integers(self.count[0], self.count[1] + 1))):
            colours, parts = vehicle(rng)
            place = find_place(rng, parts, free)
            if place is None:
                continue
            identity = int(instances.max()) + 1
            for colour, part in zip(colours, parts, strict=True):
                mask = fill_polygon(part + place, size)
                image[mask] = colour
                instances[mask] = identity
            free &= cv2.dilate((instances > 0).astype(np.uint8), np.ones((5, 5))) == 0
        semantic[instances > 0] = 3 if water else 4
        image = cv2.GaussianBlur(image, (3, 3), 0.6)
        if self.noise:
            image = image + rng.normal(0.0, self.noise, image.shape).astype(np.float32)
        return {
            "image": torch.from_numpy(image.clip(0, 1).transpose(2, 0, 1).copy()),
            "semantic": torch.from_numpy(semantic),
            "instances": torch.from_numpy(instances),
            "id": f"context-{self.seed}-{index}",
        }


def fog(rng: np.random.Generator, size: int) -> np.ndarray:
    """Light gray clouds, float32 (size, size, 3)."""
    coarse = rng.uniform(-1, 1, (size // 24 + 2, size // 24 + 2)).astype(np.float32)
    clouds = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    gray = np.float32(rng.uniform(0.6, 0.75)) + 0.06 * clouds
    return np.repeat(gray[..., None], 3, 2)


def waves(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Water, float32 (height, width, 3)."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    bend = 2 * np.sin(x * np.float32(rng.uniform(0.1, 0.2)) + np.float32(rng.uniform(0, 6)))
    crest = np.sin((y + bend) * np.float32(rng.uniform(0.9, 1.3)))
    colour = np.array([0.2, 0.4, 0.6]) + rng.uniform(-0.08, 0.08, 3)
    return (colour + 0.08 * crest[..., None]).astype(np.float32)


def road(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Asphalt with a dashed line, float32 (height, width, 3)."""
    asphalt = np.full((height, width, 3), rng.uniform(0.22, 0.36), np.float32)
    asphalt += rng.uniform(-0.03, 0.03, (height, width, 1)).astype(np.float32)
    dash, middle = int(rng.integers(6, 10)), height // 2
    dashes = (np.arange(width) + int(rng.integers(2 * dash))) // dash % 2 == 0
    asphalt[middle - 1 : middle + 1, dashes] = 0.85
    return asphalt


def vehicle(rng: np.random.Generator) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Colours and corners (N, 2) of a hull and a cabin around the origin, px."""
    length, height = rng.uniform(11, 15), rng.uniform(5.5, 8)
    slope, back = rng.uniform(0.6, 1.0), rng.choice([-1, 1])
    hull = np.array(
        [(-length, 0), (length, 0), (length * slope, height), (-length * slope, height)]
    )
    cabin = np.array([(-0.5, 0), (-0.35, -1), (0.25, -1), (0.45, 0)]) * (length, 1.1 * height)
    colours = [rng.uniform(0.05, 0.95, 3).astype(np.float32) for _ in range(2)]
    return colours, [hull * (back, 1), cabin * (back, 1)]


def find_place(
    rng: np.random.Generator, parts: list[np.ndarray], free: np.ndarray
) -> np.ndarray | None:
    """Where the parts lie on free pixels only, (x, y); ``None`` if 50 throws found nothing."""
    corners = np.concatenate(parts)
    low, high = -corners.min(0) + 1, len(free) - corners.max(0) - 2
    for _ in range(50):
        place = rng.uniform(low, high)
        if all(free[fill_polygon(part + place, len(free))].all() for part in parts):
            return place
    return None
