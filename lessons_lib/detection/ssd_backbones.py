"""What SSD looks at: maps of falling resolution, VGG16's and further ones, and small ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from lessons_lib.backbones import SmallResNet


class SSDMaps(nn.Module):
    """VGG16 up to conv4_3 and fc7, and four blocks more (Liu et al., ECCV 2016, section 3 and figure 2).

    The dense layers fc6 and fc7 become convolutions, fc6 a dilated one (the paper: with holes), and
    the fifth pooling keeps the resolution. conv4_3 is larger than the rest: each cell is scaled to
    the norm 20, and each channel's factor is learned (L2 normalisation).

    Shapes: (B, 3, 300, 300) → maps of 38, 19, 10, 5, 3 and 1 cells a side.

    The names of the parameters are torchvision's.
    """

    out_channels = (512, 1024, 512, 256, 256, 256)

    def __init__(self) -> None:
        super().__init__()
        layers = torchvision.models.vgg16(weights=None).features
        layers[16].ceil_mode = True  # 75 → 38, as Caffe pooled
        self.features = layers[:23]
        self.scale_weight = nn.Parameter(torch.full((512,), 20.0))
        dense = nn.Sequential(
            nn.MaxPool2d(3, 1, 1),
            nn.Conv2d(512, 1024, 3, padding=6, dilation=6),
            nn.ReLU(inplace=True),
            nn.Conv2d(1024, 1024, 1),
            nn.ReLU(inplace=True),
        )
        self.extra = nn.ModuleList(
            [
                nn.Sequential(*layers[23:30], dense),
                extra_block(1024, 256, 512, stride=2),
                extra_block(512, 128, 256, stride=2),
                extra_block(256, 128, 256, padding=0),
                extra_block(256, 128, 256, padding=0),
            ]
        )
        fresh(dense)
        fresh(self.extra[1:])

    def forward(self, image: Tensor) -> list[Tensor]:
        x = self.features(image)
        maps = [self.scale_weight.view(1, -1, 1, 1) * F.normalize(x)]
        for block in self.extra:
            x = block(x)
            maps.append(x)
        return maps


def fresh(part: nn.Module) -> None:
    """Xavier's weights and no bias for all convolutions of a part (Glorot and Bengio, 2010)."""
    for module in part.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def extra_block(
    in_channels: int, inner: int, out_channels: int, *, stride: int = 1, padding: int = 1
) -> nn.Sequential:
    """A 1 × 1 convolution to few channels, then a 3 × 3 one that makes the map smaller."""
    return nn.Sequential(
        nn.Conv2d(in_channels, inner, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(inner, out_channels, 3, stride, padding),
        nn.ReLU(inplace=True),
    )


class SmallSSDMaps(nn.Module):
    """A small residual network and one block more, for scenes that two processor cores can train on.

    Args:
        channels: of the backbone's four stages.

    Shapes: (B, 3, H, W) → maps of strides 8, 16 and 32.
    """

    def __init__(self, channels: tuple[int, int, int, int] = (16, 32, 64, 96)) -> None:
        super().__init__()
        self.body = SmallResNet(channels=channels, output_stride=16)
        third, last = channels[2], channels[3]
        self.extra = extra_block(last, third // 2, third, stride=2)
        self.out_channels = (third, last, third)

    def forward(self, image: Tensor) -> list[Tensor]:
        maps = self.body(image)
        return [maps["c4"], maps["c5"], self.extra(maps["c5"])]
