"""Pictures as networks that were pretrained on ImageNet expect them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MEAN = torch.tensor(IMAGENET_MEAN)[:, None, None]
STD = torch.tensor(IMAGENET_STD)[:, None, None]


def imagenet_scaled(image: Tensor) -> Tensor:
    """(…, 3, H, W) in [0, 1] with ImageNet's mean of each channel taken off, over its deviation."""
    return (image - MEAN.to(image)) / STD.to(image)


class ImageNetScaled(Dataset[dict[str, Any]]):
    """A data set whose ``image`` went through :func:`imagenet_scaled`.

    Wrapped *inside* :class:`~lessons_lib.data.Augmented`, so that what padding adds is the mean colour.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = dict(self.dataset[index])
        return {**sample, "image": imagenet_scaled(sample["image"])}
