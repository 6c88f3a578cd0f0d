"""Scattered sticks: the synthetic scenes of chapter 11."""

from __future__ import annotations

from typing import TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .arguments import check_least, check_order


class Scene(TypedDict):
    """One sample: what every synthetic data set of the book returns."""

    image: Tensor
    semantic: Tensor
    instances: Tensor
    id: str


class Sticks(Dataset[Scene]):
    """White sticks with a dark outline, thrown on a dark ground; later ones lie on top.

    The scenes of De Brabandere et al. (2017, section 4.1, "scattered sticks") as a public
    re-implementation draws them: 8 sticks, 15 px wide and 80 to 99 px long, on 256 x 256 px,
    none with fewer than 400 visible pixels. A scene that breaks the last rule is thrown again.

    Sample ``i`` is a function of ``(seed, i)`` and of nothing else.

    Args:
        length: number of samples.
        size: height and width of the picture, px.
        count: sticks in a picture; a pair ``(low, high)`` draws it, both ends included.
        width: width of a stick, px.
        stick_length: shortest and longest stick, px, both included.
        outline: thickness of the dark outline, px; 0 draws none.
        min_visible: fewest visible pixels of any stick.
        margin: least distance of a stick's centre from the border of the picture, px.
        noise: standard deviation of Gaussian noise added to the image (values in [0, 1]).
        seed: of the whole set.

    Each sample holds ``image`` float32 (1, size, size) in [0, 1], ``semantic`` int64 (size, size)
    with 1 on sticks, ``instances`` int64 (size, size) with ids 1..count, 0 = background, and ``id``.

    Raises:
        ValueError: for sizes that make no picture.
        RuntimeError: when no legal scene was found in 10,000 throws.
    """

    def __init__(
        self,
        length: int = 512,
        *,
        size: int = 256,
        count: int | tuple[int, int] = 8,
        width: int = 15,
        stick_length: tuple[int, int] = (80, 99),
        outline: int = 2,
        min_visible: int = 400,
        margin: int = 30,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        low, high = (count, count) if isinstance(count, int) else count
        check_least(
            length=(length, 0),
            count=(low, 0),
            width=(width, 1),
            stick_length=(stick_length[0], 1),
            outline=(outline, 0),
            min_visible=(min_visible, 0),
            margin=(margin, 0),
            noise=(noise, 0),
            seed=(seed, 0),
        )
        check_order(count=(low, high), stick_length=stick_length)
        if size <= 2 * margin:
            raise ValueError(f"size is {size}; it must exceed twice the margin of {margin}")
        self.length = length
        self.size = size
        self.count = (low, high)
        self.width = width
        self.stick_length = stick_length
        self.outline = outline
        self.min_visible = min_visible
        self.margin = margin
        self.noise = noise
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Scene:
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; it must be in 0..{self.length - 1}")
        rng = np.random.default_rng((self.seed, index))
        count = int(rng.integers(self.count[0], self.count[1] + 1))
        for _ in range(10_000):
            gray, instances = self._throw(rng, count)
            visible = np.bincount(instances.ravel(), minlength=count + 1)[1:]
            if count == 0 or visible.min() >= self.min_visible:
                break
        else:
            raise RuntimeError(
                f"no scene with {count} sticks of at least min_visible = {self.min_visible} "
                f"visible pixels in 10,000 throws: take fewer or larger sticks"
            )
        image = gray.astype(np.float32) / np.float32(255)
        if self.noise:
            image += rng.normal(0.0, self.noise, image.shape).astype(np.float32)
            image = image.clip(0, 1)
        labels = torch.from_numpy(instances).long()
        return {
            "image": torch.from_numpy(image)[None],
            "semantic": (labels > 0).long(),
            "instances": labels,
            "id": f"sticks-{self.seed}-{index}",
        }

    def _throw(self, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Draws one scene: gray values uint8 (size, size) and instance ids int32 (size, size)."""
        gray = np.zeros((self.size, self.size), np.uint8)
        instances = np.zeros((self.size, self.size), np.int32)
        centres = rng.integers(self.margin, self.size - self.margin, (count, 2))
        lengths = rng.integers(self.stick_length[0], self.stick_length[1] + 1, count)
        angles = rng.integers(-90, 90, count)
        for k in range(count):
            box = ((centres[k, 0], centres[k, 1]), (self.width, lengths[k]), angles[k])
            corners = np.round(cv2.boxPoints(_as_rotated_rect(box))).astype(np.int32)
            cv2.fillConvexPoly(gray, corners, 255)
            if self.outline:
                cv2.polylines(gray, [corners], True, 0, self.outline)
            cv2.fillConvexPoly(instances, corners, k + 1)
        return gray, instances


def _as_rotated_rect(box: tuple) -> tuple:
    """OpenCV takes Python floats only, not NumPy scalars."""
    (x, y), (w, h), angle = box
    return (float(x), float(y)), (float(w), float(h)), float(angle)
