"""A pyramid that goes on above its backbone, for things as large as the picture (Lin et al., ICCV 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from .pyramid import FeaturePyramid


class TallPyramid(nn.Module):
    """A feature pyramid that goes on above the backbone: P6 and P7 by strided convolutions (section 4).

    As in torchvision, P6 is made from P5; the paper makes it from C5.

    Args:
        body: from :mod:`lessons_lib.backbones`.
        names: its maps to use, finest first.
        out_channels: of every level.
        extra: further levels, 0 to 2.

    Shapes: (B, 3, H, W) → a dict of (B, out_channels, h_k, w_k), finest first, each level half as
    high and wide as the one before, rounded up.
    """

    def __init__(
        self, body: Any, names: Sequence[str], out_channels: int = 256, *, extra: int = 2
    ) -> None:
        super().__init__()
        self.body, self.out_channels = body, out_channels
        self.fpn = FeaturePyramid(
            {n: body.out_channels[n] for n in names}, out_channels, pool=False
        )
        blocks = [nn.Conv2d(out_channels, out_channels, 3, 2, 1) for _ in range(extra)]
        for block in blocks:
            nn.init.kaiming_uniform_(block.weight, a=1)
            if block.bias is not None:
                nn.init.zeros_(block.bias)
        self.extra_blocks = nn.ModuleDict({f"p{6 + k}": block for k, block in enumerate(blocks)})

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        levels = self.fpn(self.body(image))
        for number, (name, block) in enumerate(self.extra_blocks.items()):
            last = list(levels.values())[-1]
            levels[name] = block(F.relu(last) if number else last)
        return levels
