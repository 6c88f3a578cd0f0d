"""Rendered things in a room, their depth as a camera measures it, and annotators who disagree (Part V)."""

from __future__ import annotations

from typing import ClassVar, TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .arguments import check_least, check_order
from .depth import sense_depth

FEWEST = 0.6
"""Least share of a thing that nearer ones leave visible."""


class RGBDScene(TypedDict):
    """One sample of :class:`RGBDScenes`."""

    image: Tensor
    depth: Tensor
    true_depth: Tensor
    annotations: Tensor
    saliency: Tensor
    majority: Tensor
    instances: Tensor
    id: str


class RGBDScenes(Dataset[RGBDScene]):
    """Things before a wall and a floor, of which several annotators each choose one as salient.

    Annotators differ in what catches their eye: the nearest thing, the largest one, or the one whose colour differs
    most from the background. Distance, size and contrast of the things are drawn independently, so the three often
    choose differently, and the truth of a picture has up to three modes. ``saliency`` is what *one* of them drew,
    chosen at random with the probabilities :attr:`SHARES`: a data set with one annotation a picture. What each
    annotator would have chosen is in ``annotations``.

    The depth is what a structured-light camera would give (:func:`~lessons_lib.data.sense_depth`), with holes and
    frayed outlines; ``true_depth`` is exact. Sample ``i`` is a function of ``(seed, i)`` and of nothing else.

    Args:
        length: number of samples.
        size: height and width of the picture, px.
        count: fewest and most things in a picture, both included.
        noise: standard deviation of Gaussian noise added to the image (values in [0, 1]).
        sensor: strength of the camera's errors; 0 measures perfectly.
        annotator: ``None`` draws one for each picture; a name of :attr:`ANNOTATORS` keeps to that one.
        seed: of the whole set.

    Each sample holds ``image`` float32 (3, size, size) in [0, 1]; ``depth`` float32 (1, size, size) in metres, 0 = no
    measurement, and ``true_depth``; ``annotations`` float32 (3, 1, size, size), 0 or 1, one map an annotator;
    ``saliency`` (1, size, size), one of them; ``majority`` (1, size, size), the thing with the
    largest probability to be chosen; ``instances`` int64 (size, size), 0 = background; and ``id``.

    Raises:
        ValueError: for sizes that make no picture, or an unknown annotator.
    """

    ANNOTATORS: ClassVar[tuple[str, ...]] = ("nearness", "size", "contrast")
    SHARES: ClassVar[tuple[float, ...]] = (0.45, 0.30, 0.25)
    """How probable it is that a picture is annotated by each; no two of them are as many as the other one."""

    def __init__(
        self,
        length: int = 512,
        *,
        size: int = 64,
        count: tuple[int, int] = (2, 4),
        noise: float = 0.03,
        sensor: float = 1.0,
        annotator: str | None = None,
        seed: int = 0,
    ) -> None:
        check_least(
            length=(length, 0),
            size=(size, 32),
            count=(count[0], 1),
            noise=(noise, 0),
            sensor=(sensor, 0),
            seed=(seed, 0),
        )
        check_order(count=count)
        if annotator is not None and annotator not in self.ANNOTATORS:
            raise ValueError(
                f"annotator is {annotator!r}; it must be one of {', '.join(self.ANNOTATORS)}, or None"
            )
        self.length = length
        self.size = size
        self.count = count
        self.noise = noise
        self.sensor = sensor
        self.annotator = annotator
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> RGBDScene:
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; it must be in 0..{self.length - 1}")
        rng = np.random.default_rng((self.seed, index))
        image, depth, instances, contrast = self._draw(rng)
        chosen = choices(depth, instances, contrast)
        annotations = torch.from_numpy(
            np.stack([instances == one for one in chosen]).astype(np.float32)
        )[:, None]
        drawn = int(rng.choice(3, p=self.SHARES))
        if self.annotator is not None:
            drawn = self.ANNOTATORS.index(self.annotator)
        image = image + rng.normal(0, self.noise, image.shape)
        sensed = sense_depth(depth, rng, self.sensor)
        return {
            "image": torch.from_numpy(image.clip(0, 1).transpose(2, 0, 1).astype(np.float32)),
            "depth": torch.from_numpy(sensed)[None],
            "true_depth": torch.from_numpy(depth.astype(np.float32))[None],
            "annotations": annotations,
            "saliency": annotations[drawn].clone(),
            "majority": annotations[most_shares(chosen, self.SHARES)].clone(),
            "instances": torch.from_numpy(instances.astype(np.int64)),
            "id": f"rgbd-{self.seed}-{index}",
        }

    def _draw(
        self, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Image (H, W, 3), depth in metres and ids (H, W), and the contrast of each thing."""
        size, wanted = self.size, int(rng.integers(self.count[0], self.count[1] + 1))
        image, depth = room(rng, size)
        background = image.reshape(-1, 3).mean(0)
        # one ladder of steps a property, each in an order of its own: no two things are alike in any
        steps = (np.arange(wanted) + rng.uniform(0.25, 0.75, (3, wanted))) / wanted
        nearest, extents, strengths = (rng.permutation(row) for row in steps)
        distances = 0.8 + 1.6 * nearest
        radii = size * (0.08 + 0.14 * extents)
        contrasts = 0.10 + 0.45 * strengths
        instances = np.zeros((size, size), np.int32)
        kept: list[float] = []
        for thing in np.argsort(-distances):  # the nearer ones lie on top
            mask = self._place(rng, radii[thing], instances)
            if mask is None:
                continue
            instances[mask] = len(kept) + 1
            kept.append(contrasts[thing])
            image[mask] = colour_beside(rng, background, contrasts[thing]) * shade(
                rng, mask, radii[thing]
            )
            depth[mask] = distances[thing] * (1 - 0.05 * bulge(mask))
        image = cv2.GaussianBlur(image, (0, 0), 0.5)
        return image, depth, instances, np.array(kept)

    def _place(
        self, rng: np.random.Generator, radius: float, instances: np.ndarray
    ) -> np.ndarray | None:
        """A thing's pixels where it hides no other one too much, bool (H, W); ``None`` after 30 throws."""
        areas = np.bincount(instances.ravel())
        for _ in range(30):
            mask = thing_mask(rng, self.size, radius)
            hidden = np.bincount(instances[mask], minlength=len(areas))
            if (hidden[1:] <= (1 - FEWEST) * areas[1:]).all():
                return mask
        return None


def choices(depth: np.ndarray, instances: np.ndarray, contrast: np.ndarray) -> list[int]:
    """The id that each of the annotators chooses: the nearest, the largest, the one of most contrast."""
    ids = range(1, len(contrast) + 1)
    nearest = min(ids, key=lambda one: float(depth[instances == one].mean()))
    largest = max(ids, key=lambda one: int((instances == one).sum()))
    return [nearest, largest, int(np.argmax(contrast)) + 1]


def most_shares(chosen: list[int], shares: tuple[float, ...]) -> int:
    """The position of the first annotator who chose what most of the shares chose."""
    votes = [
        sum(share for other, share in zip(chosen, shares, strict=True) if other == one)
        for one in chosen
    ]
    return int(np.argmax(votes))


def room(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A wall and a floor: image (size, size, 3) and depth (size, size) in metres."""
    edge = int(size * rng.uniform(0.55, 0.75))
    far = rng.uniform(3.0, 4.0)
    slant = rng.uniform(-0.4, 0.4)
    columns = np.linspace(-0.5, 0.5, size)[None]
    depth = np.repeat(far + slant * columns, size, axis=0)
    below = np.arange(size - edge)[:, None] / max(1, size - edge)
    depth[edge:] *= 1 - 0.35 * below
    base = rng.uniform(0.3, 0.7) + rng.uniform(-0.06, 0.06, 3)
    image = np.ones((size, size, 3)) * base
    image[edge:] *= rng.uniform(0.85, 1.1)
    coarse = rng.normal(0, 0.02, (size // 8 + 2, size // 8 + 2)).astype(np.float32)
    image += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)[..., None]
    return image, depth


def thing_mask(rng: np.random.Generator, size: int, radius: float) -> np.ndarray:
    """A rounded blob, a box or an ellipse of about that radius, wholly in the picture: bool (size, size)."""
    kind, angle = int(rng.integers(3)), rng.uniform(0, 2 * np.pi)
    turns = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    if kind == 0:
        reach = radius * (1 + 0.18 * np.sin(3 * turns + rng.uniform(0, 6)))
        points = np.stack([np.cos(turns), np.sin(turns)], 1) * reach[:, None]
    elif kind == 1:
        points = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * radius * (0.95, 0.8)
    else:
        points = np.stack([np.cos(turns), np.sin(turns)], 1) * radius * (1.2, 0.85)
    turned = points @ np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    low, high = 1 - turned.min(0), size - 2 - turned.max(0)
    corners = turned + rng.uniform(low, np.maximum(low, high))
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(16 * corners).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)


def colour_beside(rng: np.random.Generator, background: np.ndarray, contrast: float) -> np.ndarray:
    """A colour at that distance from the background's, (3,) in [0, 1]; of 64 directions the one that fits best."""
    directions = rng.normal(0, 1, (64, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    colours = (background + contrast * directions).clip(0.03, 0.97)
    reached = np.linalg.norm(colours - background, axis=1)
    return colours[np.argmin(np.abs(reached - contrast))]


def shade(rng: np.random.Generator, mask: np.ndarray, radius: float) -> np.ndarray:
    """A soft light from one side, (n, 1) around 1."""
    rows, columns = np.nonzero(mask)
    angle = rng.uniform(0, 2 * np.pi)
    along = (columns - columns.mean()) * np.cos(angle) + (rows - rows.mean()) * np.sin(angle)
    return 1 + 0.08 * (along / radius)[:, None]


def bulge(mask: np.ndarray) -> np.ndarray:
    """How far a pixel is from the outline, 0 to 1, (n,): things are rounded."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)[mask]
    return inside / max(float(inside.max()), 1e-6)
