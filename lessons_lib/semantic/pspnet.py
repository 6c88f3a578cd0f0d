"""Pyramid scene parsing (Zhao, Shi, Qi, Wang and Jia, 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.backbones import ResNet, SmallResNet

BINS = (1, 2, 3, 6)


class PyramidPooling(nn.Module):
    """Averages over coarse grids, beside the map itself: what a pixel learns of the whole picture.

    For each number b of ``bins`` the map is averaged over a grid of b x b cells, a 1 x 1 convolution
    reduces the channels, and bilinear interpolation brings the grid back to the map's size. All of
    it is concatenated with the map (section 3.2 and figure 3c).

    Args:
        in_channels: channels of the map.
        bins: cells along each side, one number a level; the paper's are 1, 2, 3, 6.
        out_channels: channels of each level; by default the paper's ``in_channels`` / levels.

    Shapes: (B, in_channels, h, w) → (B, in_channels + levels x out_channels, h, w).

    Raises:
        ValueError: for a bin below 1, or more levels than channels.
    """

    def __init__(
        self, in_channels: int, bins: Sequence[int] = BINS, out_channels: int | None = None
    ) -> None:
        super().__init__()
        if any(b < 1 for b in bins):
            raise ValueError(f"bins is {tuple(bins)}; each must be at least 1")
        if len(bins) > in_channels:
            raise ValueError(f"bins has {len(bins)} levels; in_channels is {in_channels} only")
        width = out_channels or in_channels // max(1, len(bins))
        self.bins = tuple(bins)
        self.out_channels = in_channels + len(self.bins) * width
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.AdaptiveAvgPool2d(b),
                nn.Conv2d(in_channels, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            )
            for b in self.bins
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        maps = [x]
        for level in self.levels:
            maps.append(_resize(level(x), height, width))
        return torch.cat(maps, 1)


class PSPNet(nn.Module):
    """A dilated residual network at stride 8, pyramid pooling, and an auxiliary loss while training.

    ``backbone="resnet50"`` or ``"resnet101"`` has the parameters of torchvision's networks: one
    7 x 7 convolution begins it, where the authors' own has three of 3 x 3. ``"small"`` is
    :class:`~lessons_lib.backbones.SmallResNet`, which sees 95 px.

    Args:
        classes: number of classes, background included.
        backbone: ``"resnet50"``, ``"resnet101"`` or ``"small"``.
        bins: of the pyramid; empty for a network without one.
        auxiliary: whether to score the stage before the last one too, while training.

    Shapes: (B, 3, H, W) → ``{"semantic": (B, classes, H, W)}``; in training mode with ``auxiliary``
    also ``"auxiliary"`` of the same shape.

    Raises:
        ValueError: for an unknown backbone.
    """

    def __init__(
        self,
        classes: int,
        backbone: str = "resnet50",
        *,
        bins: Sequence[int] = BINS,
        auxiliary: bool = True,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes is {classes}; it must be at least 1")
        if backbone not in ("resnet50", "resnet101", "small"):
            raise ValueError(
                f'backbone is {backbone!r}; it must be "resnet50", "resnet101" or "small"'
            )
        small = backbone == "small"
        self.backbone = SmallResNet() if small else ResNet(backbone, output_stride=8)
        channels = self.backbone.out_channels
        self.pyramid = PyramidPooling(channels["c5"], bins)
        self.head = _head(self.pyramid.out_channels, 64 if small else 512, classes)
        self.auxiliary = _head(channels["c4"], 32 if small else 256, classes) if auxiliary else None

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        height, width = image.shape[-2:]
        maps = self.backbone(image)
        scores = self.head(self.pyramid(maps["c5"]))  # (B, classes, H/8, W/8)
        outputs = {"semantic": _resize(scores, height, width)}
        if self.auxiliary is not None and self.training:
            outputs["auxiliary"] = _resize(self.auxiliary(maps["c4"]), height, width)
        return outputs


def _head(in_channels: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, hidden, 3, padding=1, bias=False),
        nn.BatchNorm2d(hidden),
        nn.ReLU(inplace=True),
        nn.Dropout2d(0.1),
        nn.Conv2d(hidden, classes, 1),
    )


def _resize(x: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(x, (height, width), mode="bilinear", align_corners=False)
