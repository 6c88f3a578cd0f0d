"""Proposals: computed once a picture, kept, and handed to the detectors that need them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from .augment import mirror, mirror_boxes
from .boxes import clip_boxes
from .pictures import PictureBatch, PictureScaler
from .roi_heads import RoISettings
from .selective_search import selective_search
from .targets import Target, clean_target

Detections = list[dict[str, Tensor]]


@dataclass(frozen=True)
class Search:
    """Settings of :func:`~lessons_lib.detection.selective_search`, and a call that runs it.

    Attributes:
        scale, sigma, min_size, colours, smallest, most: as there.
    """

    scale: float | tuple[float, ...] = 20.0
    sigma: float = 0.5
    min_size: int = 20
    colours: tuple[str, ...] = ("lab",)
    smallest: float = 6.0
    most: int | None = 200

    def __call__(self, image: Tensor) -> Tensor:
        """Proposals float32 (N, 4) of a picture float (3, H, W), on its device."""
        boxes = selective_search(
            image,
            scale=self.scale,
            sigma=self.sigma,
            min_size=self.min_size,
            colours=self.colours,
            smallest=self.smallest,
            most=self.most,
        )
        return boxes.to(image.device)


class Proposed(Dataset[dict[str, Any]]):
    """A fixed set of pictures with their proposals, each picture again and again, often mirrored.

    The proposals of a picture are computed when it is first asked for and kept; a mirrored picture
    has the mirrored ones. Sample ``i`` is picture ``i`` modulo their number, and whether it is
    mirrored depends on ``(seed, i)`` only.

    Args:
        pictures: samples with ``image``, ``boxes``, ``labels`` and ``id``.
        search: what finds the proposals.
        length: number of samples; ``None``: each picture once.
        flip: mirror every other sample, drawn at random.
        seed: of the mirroring.

    Raises:
        ValueError: for a negative length.
        IndexError: for an index that is not in 0..length-1.
    """

    def __init__(
        self,
        pictures: Any,
        search: Search | None = None,
        *,
        length: int | None = None,
        flip: bool = False,
        seed: int = 0,
    ) -> None:
        if length is not None and length < 0:
            raise ValueError(f"length is {length}; it must be at least 0")
        self.pictures, self.search = pictures, search or Search()
        self.length = len(pictures) if length is None else length
        self.flip, self.seed = flip, seed
        self._found: dict[int, Tensor] = {}

    def mirrored(self, length: int, seed: int) -> Proposed:
        """So many samples of these pictures, every other one mirrored; the proposals are shared."""
        view = Proposed(self.pictures, self.search, length=length, flip=True, seed=seed)
        view._found = self._found
        return view

    def first(self, count: int) -> Proposed:
        """The first pictures, at most all, each once as it is; the proposals are shared."""
        view = Proposed(self.pictures, self.search, length=min(count, len(self.pictures)))
        view._found = self._found
        return view

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; it must be in 0..{self.length - 1}")
        picture = index % len(self.pictures)
        scene = self.pictures[picture]
        if picture not in self._found:
            self._found[picture] = self.search(scene["image"])
        names = ("image", "boxes", "labels", "crowd", "id")
        sample = {name: scene[name] for name in names if name in scene}
        sample["proposals"] = self._found[picture]
        if self.flip and np.random.default_rng((self.seed, index)).random() < 0.5:
            return mirror_sample(sample)
        return sample


def mirror_sample(sample: dict[str, Any]) -> dict[str, Any]:
    """The sample as in a mirror: picture, ``boxes`` and ``proposals``."""
    image, boxes = mirror(sample["image"], sample["boxes"], 2)
    proposals = mirror_boxes(sample["proposals"], image.shape[2], 2)
    return {**sample, "image": image, "boxes": boxes, "proposals": proposals}


class RegionDetector(nn.Module, ABC):
    """A detector that is told where to look.

    In training mode ``model(images, targets)`` gives the terms of the loss; in evaluation mode
    ``model(images)`` gives detections. Pictures may differ in size.

    Args:
        num_classes: with the background.
        settings: of sampling and of detections.
        search: what finds proposals where none are given.
    """

    def __init__(self, num_classes: int, settings: RoISettings, search: Search | None) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; it must be at least 2")
        self.num_classes, self.settings = num_classes, settings
        self.search = search or Search()
        self.scaler = PictureScaler(divisor=8)

    def forward(
        self,
        images: Sequence[Tensor] | Tensor,
        targets: Sequence[Target] | None = None,
        proposals: Sequence[Tensor] | None = None,
    ) -> Any:
        """Detections, or in training mode the terms of the loss.

        Args:
            images: float (B, 3, H, W), or a list of (3, H, W), in [0, 1].
            targets: of each picture ``boxes`` (N, 4) and ``labels`` (N,), in training mode.
            proposals: (N, 4) of each picture, px. ``None`` takes ``proposals`` of the targets, or
                else searches for them.

        Returns:
            of each picture ``boxes`` (N, 4), ``labels`` and ``scores`` (N,), scores falling; in
            training mode scalars by name.

        Raises:
            ValueError: for no targets in training mode, or lists of different lengths.
        """
        batch = self.scaler(images)
        if proposals is None:
            known = targets is not None and all("proposals" in t for t in targets)
            proposals = [t["proposals"] for t in targets or []] if known else None
        if proposals is None:
            proposals = [self.search(image) for image in images]
        _check_lists(len(images), proposals=proposals)
        proposals = [
            clip_boxes(_check_boxes(p).to(batch.tensor), size)
            for p, size in zip(proposals, batch.sizes, strict=True)
        ]
        if not self.training:
            if not any(map(len, proposals)):  # nowhere to look, nothing to run
                return [_nothing(batch.tensor) for _ in proposals]
            return self.detect(batch, proposals)
        if targets is None:
            raise ValueError("targets is None; in training mode there must be one a picture")
        _check_lists(len(images), targets=targets)
        cleaned = [
            clean_target(
                {name: t[name] for name in ("boxes", "labels", "crowd") if name in t},
                size,
                self.num_classes,
            )
            for t, size in zip(targets, batch.sizes, strict=True)
        ]
        return self.losses(batch, proposals, cleaned)

    @abstractmethod
    def losses(
        self, batch: PictureBatch, proposals: list[Tensor], targets: list[Target]
    ) -> dict[str, Tensor]:
        """The terms of the loss."""

    @abstractmethod
    def detect(self, batch: PictureBatch, proposals: list[Tensor]) -> Detections:
        """Detections of each picture."""


def _nothing(like: Tensor) -> dict[str, Tensor]:
    labels = torch.zeros(0, dtype=torch.int64, device=like.device)
    return {"boxes": like.new_zeros(0, 4), "labels": labels, "scores": like.new_zeros(0)}


def _check_lists(count: int, **lists: Sequence[Any]) -> None:
    for name, values in lists.items():
        if len(values) != count:
            raise ValueError(
                f"{name} has {len(values)} entries; it must have {count}, one a picture"
            )


def _check_boxes(boxes: Tensor) -> Tensor:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not bool(torch.isfinite(boxes).all()):
        raise ValueError(
            f"proposals has an entry of shape {tuple(boxes.shape)}; each must be (N, 4) and finite"
        )
    return boxes
