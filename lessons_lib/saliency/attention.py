"""Channel attention: how much each channel matters, decided by looking at the whole picture."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Squeeze and excitation: channels scaled by what their means say (Hu, Shen, Sun, 2018, section 3).

    UC-Net's released code calls this "channel attention". CBAM (Woo et al., 2018), which source 004 describes under
    that name, squeezes by the maximum as well; here, as in the released code, there is the mean alone.

    Args:
        channels: C.
        reduction: the hidden layer has C / reduction channels, at least 4.

    Shapes: (B, C, H, W) → the same.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(4, channels // reduction)
        self.excite = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.excite(x.mean((2, 3), keepdim=True))


class ResidualChannelAttention(nn.Module):
    """Two convolutions and channel attention beside a shortcut (RCAB; Zhang et al., 2018, section 3.3).

    Args:
        channels: C.
        reduction: of :class:`ChannelAttention`.

    Shapes: (B, C, H, W) → the same.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1),
            ChannelAttention(channels, reduction),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.residual(x))
