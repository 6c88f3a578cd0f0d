"""Between label maps (H, W), in which a pixel has one instance, and masks (N, H, W), which may overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lessons_lib.data.shapes import boxes_of

from .augment import mirror_boxes


class InstanceTargets(Dataset[dict[str, Any]]):
    """What detectors learn from, made of label maps; every instance is of the one class 1.

    Args:
        dataset: samples with ``image`` float32 (1 or 3, H, W) and ``instances`` int64 (H, W).

    Each sample has the same entries, the image with three channels, and ``boxes`` float32 (N, 4) round
    the pixels of each instance, ``labels`` int64 (N,), and ``masks`` bool (N, H, W), by rising id.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.dataset[index]
        boxes, masks = split_instances(sample["instances"])
        return {
            **sample,
            "image": sample["image"].expand(3, -1, -1),
            "boxes": boxes,
            "labels": torch.ones(len(boxes), dtype=torch.int64),
            "masks": masks,
        }


class MirroredMasks(Dataset[dict[str, Any]]):
    """Whole pictures for training, half of them turned left to right. Item i is a function of ``(seed, i)``.

    Items come in rounds: each picture once, in random order, then once more, and so on.

    Args:
        dataset: samples with ``image`` (3, H, W), ``boxes``, ``labels``, ``masks``, and ``crowd`` if there
            are crowds.
        length: number of items.
        seed: any whole number from 0.

    Each item has the same entries and ``id`` "<id>#<i>".

    Raises:
        ValueError: for no pictures.
    """

    def __init__(self, dataset: Dataset[Any], length: int, seed: int = 0) -> None:
        self.count = len(dataset)  # type: ignore[arg-type]
        if self.count == 0:
            raise ValueError("dataset is empty; expected at least one picture")
        self.dataset, self.length, self.seed = dataset, length, seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; it must be in 0..{self.length - 1}")
        turn, place = divmod(index, self.count)
        order = np.random.default_rng((self.seed, turn)).permutation(self.count)
        sample = self.dataset[int(order[place])]
        names = ("image", "boxes", "labels", "masks", "crowd")
        item = {name: sample[name] for name in names if name in sample}
        if np.random.default_rng((self.seed, index, 1)).integers(2):
            item["boxes"] = mirror_boxes(item["boxes"], item["image"].shape[2], 2)
            item["image"], item["masks"] = item["image"].flip(2), item["masks"].flip(2)
        return {**item, "id": f"{sample['id']}#{index}"}


def split_instances(instances: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes float32 (N, 4) and masks bool (N, H, W) of the instances in a label map (H, W), by rising id."""
    labels = instances.numpy()
    ids = np.unique(labels)
    masks = labels == ids[ids > 0][:, None, None]
    return torch.from_numpy(boxes_of(masks)), torch.from_numpy(masks)


def merge_masks(masks: Tensor, scores: Tensor, *, least: float = 0.5, min_area: int = 1) -> Tensor:
    """One label map of masks that may overlap: a pixel goes to the first, and so best, that claims it.

    Args:
        masks: bool (N, H, W).
        scores: (N,), falling, as detectors give them.
        least: masks of a smaller score are left out.
        min_area: and those of which fewer pixels are left.

    Returns:
        int64 (H, W): 0 = background, k + 1 = row k of ``masks``; ids of what is left out are missing.
    """
    masks = masks & (scores >= least)[:, None, None]
    nobody = len(masks)
    owner = torch.full(masks.shape[1:], nobody, dtype=torch.int32, device=masks.device)
    for first in range(0, nobody, 64):  # some at a time: each pixel of each mask takes four bytes
        part = masks[first : first + 64]
        rank = torch.arange(first, first + len(part), dtype=torch.int32, device=masks.device)
        claimed = torch.where(part, rank[:, None, None], nobody).amin(0)
        owner = torch.minimum(owner, claimed)
    owner = owner.long()
    area = owner.flatten().bincount(minlength=nobody + 1)
    number = torch.arange(1, nobody + 2, device=masks.device) * (area >= max(min_area, 1))
    number[nobody] = 0
    return number[owner]
