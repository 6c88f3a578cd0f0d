"""A U-Net that says of each pixel where its object's centre is, how wide it aims, and how sure it is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lessons_lib.semantic import UNetTrunk  # as in network.py


class SpatialUNet(nn.Module):
    """U-Net with one head each for the offset, the raw σ and the seed maps.

    The first outputs are tame, as in the released code of Neven et al. (2019): pixels point to themselves, and
    the raw σ is ``sigma_start`` everywhere.

    Args:
        in_channels: channels of the image.
        classes: K, number of seed maps.
        sigma_channels: 0 for fixed σ, 1 for circles, 2 for ellipses.
        base_channels, depth, normalize: of the :class:`~lessons_lib.semantic.UNetTrunk`.
        sigma_start: raw σ to begin with. The released code has 1 with a unit of 1024 px, a margin of 5.7 px.

    ``forward(image (B, C, H, W))`` → ``{"offset": (B, 2, H, W), "sigma": (B, sigma_channels, H, W), "seed":
    (B, K, H, W)}``, all raw, for any H and W.

    Raises:
        ValueError: for sizes out of range.
    """

    def __init__(
        self,
        in_channels: int = 3,
        classes: int = 1,
        *,
        sigma_channels: int = 2,
        base_channels: int = 16,
        depth: int = 4,
        normalize: bool = True,
        sigma_start: float = 1.0,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes is {classes}; it must be at least 1")
        if sigma_channels not in (0, 1, 2):
            raise ValueError(f"sigma_channels is {sigma_channels}; it must be 0, 1 or 2")
        self.trunk = UNetTrunk(
            in_channels, base_channels=base_channels, depth=depth, normalize=normalize
        )
        self.offset_head = nn.Conv2d(base_channels, 2, 1)
        self.sigma_head = nn.Conv2d(base_channels, sigma_channels, 1) if sigma_channels else None
        self.seed_head = nn.Conv2d(base_channels, classes, 1)
        start_tamely(self.offset_head, self.sigma_head, sigma_start)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        features = self.trunk(image)  # (B, base_channels, H, W)
        sigma = features[:, :0] if self.sigma_head is None else self.sigma_head(features)
        return {
            "offset": self.offset_head(features),
            "sigma": sigma,
            "seed": self.seed_head(features),
        }


def start_tamely(offset: nn.Conv2d, sigma: nn.Conv2d | None, sigma_start: float) -> None:
    """Offsets of 0, and one raw σ everywhere, to begin with."""
    with torch.no_grad():
        offset.weight.zero_()
        assert offset.bias is not None
        offset.bias.zero_()
        if sigma is not None:
            assert sigma.bias is not None
            sigma.weight.zero_()
            sigma.bias.fill_(sigma_start)
