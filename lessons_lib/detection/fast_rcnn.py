"""Fast R-CNN (Girshick, ICCV 2015): one network, one loss, one training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torchvision
from torch import Tensor, nn

from lessons_lib.backbones import SmallResNet

from .pictures import PictureBatch
from .proposals import Detections, RegionDetector, Search
from .roi_heads import RoIHeads, RoISettings, TwoLayerHead
from .targets import Target

SMALL = RoISettings(samples=32, positive_share=0.25)
"""Settings for small scenes: 32 proposals a picture; everything else as in torchvision."""


class RoIPool(nn.Module):
    """The greatest value in each bin of a grid over each proposal, from one feature map.

    Args:
        name: of the map.
        stride: of its cells, px.
        grid: bins along each side.
    """

    def __init__(self, name: str, stride: int, grid: int) -> None:
        super().__init__()
        self.name, self.stride, self.grid = name, stride, grid

    def forward(
        self, maps: Mapping[str, Tensor], proposals: Sequence[Tensor], size: tuple[int, int]
    ) -> Tensor:
        """Maps (B, C, h, w) and proposals (N, 4) of each picture, px → (sum of N, C, grid, grid)."""
        return torchvision.ops.roi_pool(
            maps[self.name], list(proposals), self.grid, 1 / self.stride
        )


class FastRCNN(RegionDetector):
    """Convolutions once a picture; each proposal pools its part of the map; two sibling outputs.

    Class and box are learned together (the multi-task loss of section 2.3), the convolutions
    included. Differences to the paper: a small residual network with batch normalisation instead of
    VGG16, trained from nothing; background is every proposal whose greatest IoU with an object lies
    in [0, 0.5), where the paper takes [0.1, 0.5); what
    :class:`~lessons_lib.detection.roi_heads.RoIHeads` notes.

    Args:
        num_classes: with the background.
        backbone: from an image to maps by name, of which the last is pooled; ``None``: a
            :class:`~lessons_lib.backbones.SmallResNet`.
        grid: bins along each side of the pooling; the paper has 7.
        width: of the two dense layers; the paper has 4096.
        settings: of sampling and of detections.
        search: what finds proposals where none are given.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Module | None = None,
        *,
        grid: int = 6,
        width: int = 80,
        settings: RoISettings = SMALL,
        search: Search | None = None,
    ) -> None:
        super().__init__(num_classes, settings, search)
        self.backbone = SmallResNet() if backbone is None else backbone
        name, stride, channels = last_map(self.backbone)
        pool = RoIPool(name, stride, grid)
        head = TwoLayerHead(channels * grid**2, width)
        self.roi_heads = RoIHeads(pool, head, width, num_classes, settings)

    def losses(
        self, batch: PictureBatch, proposals: list[Tensor], targets: list[Target]
    ) -> dict[str, Tensor]:
        return self.roi_heads(self.backbone(batch.tensor), proposals, batch.sizes, targets)[1]

    def detect(self, batch: PictureBatch, proposals: list[Tensor]) -> Detections:
        return self.roi_heads(self.backbone(batch.tensor), proposals, batch.sizes)[0]


def last_map(backbone: nn.Module) -> tuple[str, int, int]:
    """Name, stride and channels of a backbone's last map."""
    strides: Mapping[str, int] = backbone.strides  # type: ignore[assignment]
    channels: Mapping[str, int] = backbone.out_channels  # type: ignore[assignment]
    name = list(strides)[-1]
    return name, strides[name], channels[name]
