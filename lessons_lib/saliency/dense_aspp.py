"""DenseASPP: dilated convolutions in a chain, each of which sees all earlier ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

DILATIONS = (3, 6, 12, 18, 24)
"""Those of the paper, for feature maps of more than 48 cells a side."""


class DenseASPP(nn.Module):
    """Densely connected atrous spatial pyramid pooling (Yang et al., 2018, section 3).

    Each layer is a 1 x 1 convolution to ``2 * channels`` and a dilated 3 x 3 to ``channels``, applied to the input and
    to the outputs of all earlier layers; a last 1 x 1 mixes everything.

    Args:
        in_channels: of the input.
        channels: of each layer and of the output.
        dilations: of the layers, in order. A dilation as wide as the map, beside its own cell, sees nothing but
            padding.
        dropout: probability that a layer's channel is dropped in training.

    Shapes: (B, in_channels, H, W) → (B, channels, H, W).

    Raises:
        ValueError: without dilations, or for one below 1.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        dilations: Sequence[int] = DILATIONS,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if not dilations or min(dilations) < 1:
            raise ValueError(f"dilations is {tuple(dilations)}; it must name numbers of at least 1")
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(in_channels + before * channels, 2 * channels, 1, bias=False),
                nn.BatchNorm2d(2 * channels),
                nn.ReLU(inplace=True),
                nn.Conv2d(
                    2 * channels, channels, 3, padding=dilation, dilation=dilation, bias=False
                ),
                nn.BatchNorm2d(channels),
                nn.ReLU(inplace=True),
                nn.Dropout2d(dropout),
            )
            for before, dilation in enumerate(dilations)
        )
        self.mix = nn.Conv2d(in_channels + len(dilations) * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([layer(x), x], 1)
        return self.mix(x)
