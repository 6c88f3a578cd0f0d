"""Discs of very different sizes: the synthetic scenes of chapter 12."""

from __future__ import annotations

import numpy as np
import torch
from torch.utils.data import Dataset

from .arguments import check_least, check_order
from .sticks import Scene

CLUMPED, CLUMP = 6.0, 3
"""Discs up to this radius, px, come in clumps of so many."""


class Discs(Dataset[Scene]):
    """Bright discs on a dark ground, radii drawn evenly on a log scale; later ones lie on top.

    Small discs come in clumps that nearly touch, so that a margin wide enough for the large ones takes in several
    small ones. Sample ``i`` is a function of ``(seed, i)`` and of nothing else.

    Args:
        length: number of samples.
        size: height and width of the picture, px.
        count: fewest and most discs in a picture, both included.
        radius: smallest and largest radius, px.
        min_visible: least share of a disc that later ones leave visible; a disc that would break this is left out.
        noise: standard deviation of Gaussian noise added to the image (values in [0, 1]).
        seed: of the whole set.

    Each sample holds ``image`` float32 (1, size, size) in [0, 1], ``semantic`` int64 (size, size) with 1 on
    discs, ``instances`` int64 (size, size) with ids 1..K, 0 = background, and ``id``.

    Raises:
        ValueError: for sizes that make no picture.
    """

    def __init__(
        self,
        length: int = 512,
        *,
        size: int = 96,
        count: tuple[int, int] = (8, 16),
        radius: tuple[float, float] = (2.0, 36.0),
        min_visible: float = 0.7,
        noise: float = 0.05,
        seed: int = 0,
    ) -> None:
        check_least(
            length=(length, 0),
            size=(size, 8),
            count=(count[0], 0),
            radius=(radius[0], 1),
            min_visible=(min_visible, 0),
            noise=(noise, 0),
            seed=(seed, 0),
        )
        check_order(count=count, radius=radius)
        if min_visible > 1:
            raise ValueError(f"min_visible is {min_visible}; it must be at most 1")
        self.length = length
        self.size = size
        self.count = count
        self.radius = radius
        self.min_visible = min_visible
        self.noise = noise
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Scene:
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; it must be in 0..{self.length - 1}")
        rng = np.random.default_rng((self.seed, index))
        image, instances = self._draw(rng)
        image += rng.normal(0.0, self.noise, image.shape)
        labels = torch.from_numpy(instances.astype(np.int64))
        return {
            "image": torch.from_numpy(image.clip(0, 1).astype(np.float32))[None],
            "semantic": (labels > 0).long(),
            "instances": labels,
            "id": f"discs-{self.seed}-{index}",
        }

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One scene: gray values float64 (size, size) and instance ids int32 (size, size)."""
        image = np.full((self.size, self.size), 0.15)
        instances = np.zeros((self.size, self.size), np.int32)
        areas = [0]
        low, high = np.log(self.radius)
        wanted = int(rng.integers(self.count[0], self.count[1] + 1))
        radii = np.exp(rng.uniform(low, high, wanted))
        for radius in np.sort(radii)[::-1]:  # the small ones lie on top
            places = self._places(rng, radius)
            for x, y in places[: wanted + 1 - len(areas)]:
                disc = self._disc(x, y, radius)
                below = np.bincount(instances[disc], minlength=len(areas))
                left = np.bincount(instances.ravel(), minlength=len(areas)) - below
                if not disc.any() or (left[1:] < self.min_visible * np.array(areas[1:])).any():
                    continue
                instances[disc] = len(areas)
                image[disc] = rng.uniform(0.4, 0.9)
                areas.append(int(disc.sum()))
        return image, instances

    def _places(self, rng: np.random.Generator, radius: float) -> np.ndarray:
        """Centres, x and y, of one disc, or of a clump of small ones a pixel apart: (n, 2)."""
        centre = rng.uniform(0, self.size - 1, 2)
        if radius > CLUMPED:
            return centre[None]
        angle = rng.uniform(0, 2 * np.pi) + np.arange(CLUMP - 1) * np.pi / 3
        ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (2 * radius + 1)
        return np.concatenate([centre[None], centre + ring])

    def _disc(self, x: float, y: float, radius: float) -> np.ndarray:
        rows, columns = np.ogrid[: self.size, : self.size]
        return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
