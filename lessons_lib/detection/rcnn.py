"""R-CNN: regions with features of a convolutional network (Girshick et al., CVPR 2014)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from lessons_lib.backbones import SmallResNet

from .fast_rcnn import SMALL, last_map
from .pictures import PictureBatch
from .proposals import Search
from .roi_heads import RoISettings
from .stages import StagedDetector

AT_ONCE = 64
"""Crops that go through the network together, so that many proposals do not need much memory."""


class RCNN(StagedDetector):
    """Every proposal is cut out, warped to one size, and goes through the whole network by itself.

    Differences to the paper: a small residual network instead of AlexNet, trained from nothing
    instead of on ImageNet; scores are the sigmoid of the SVM's output, which ranks as it does.

    Args:
        num_classes: with the background.
        backbone: from an image to maps by name, of which the last is used; ``None``: a
            :class:`~lessons_lib.backbones.SmallResNet`.
        crop: side of the warped proposals, px; the paper has 227.
        context: of the crop on each side around the proposal, px of the crop; the paper has 16.
        grid: the last map is max-pooled to so many cells along each side.
        width: of the two dense layers.
        settings: of sampling and of detections.
        search: what finds proposals where none are given.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Module | None = None,
        *,
        crop: int = 96,
        context: int = 7,
        grid: int = 6,
        width: int = 80,
        settings: RoISettings = SMALL,
        search: Search | None = None,
    ) -> None:
        if not 0 <= 2 * context < crop:
            raise ValueError(f"context is {context}; twice of it must be less than crop = {crop}")
        backbone = SmallResNet() if backbone is None else backbone
        channels = last_map(backbone)[2]
        super().__init__(backbone, channels * grid**2, num_classes, width, settings, search)
        self.crop, self.context, self.grid = crop, context, grid

    def pooled(self, batch: PictureBatch, proposals: list[Tensor]) -> Tensor:
        crops = warp(batch.tensor, proposals, self.crop, self.context)
        name, _, channels = last_map(self.backbone)
        if not len(crops):
            return batch.tensor.new_zeros(0, channels * self.grid**2)
        # in training, batch normalisation wants all of them together
        parts = [crops] if self.training else crops.split(AT_ONCE)
        pooled = []
        for part in parts:
            maps = self.backbone(part.contiguous(memory_format=torch.channels_last))
            pooled.append(F.adaptive_max_pool2d(maps[name], self.grid).flatten(1))
        return torch.cat(pooled)


def warp(images: Tensor, boxes: list[Tensor], crop: int, context: int = 0) -> Tensor:
    """Cuts boxes out and scales each to one size, its aspect ratio changed (appendix A, "warp").

    Args:
        images: (B, C, H, W).
        boxes: (N, 4) of each picture, px; a box less than a pixel wide or high counts as one pixel.
        crop: side of the result, px.
        context: pixels of the result on each side that show what surrounds the box.

    Returns:
        (sum of N, C, crop, crop), bilinear; 0 where a crop leaves the picture.
    """
    grown = []
    for box in boxes:
        centre = (box[:, :2] + box[:, 2:]) / 2
        size = (box[:, 2:] - box[:, :2]).clamp(min=1)
        half = size * (0.5 * crop / (crop - 2 * context))
        grown.append(torch.cat([centre - half, centre + half], 1) + 1)
    # a rim of zeros: what lies outside is the same whether or not a larger picture is in the batch
    images = F.pad(images, (1, 1, 1, 1))
    return torchvision.ops.roi_align(images, grown, crop, 1.0, sampling_ratio=1, aligned=True)
