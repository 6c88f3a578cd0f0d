"""PriorNet and PosteriorNet: from a picture, or a picture and its annotation, to a Gaussian."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .gaussians import DiagonalGaussian

Variant = Literal["paper", "released"]
VARIANTS = ("paper", "released")
LIMIT = 10.0
"""Largest size of a predicted log variance; exp of what is beyond would overflow in half precision."""


def check_variant(variant: str) -> None:
    """ValueError for a variant that does not exist."""
    if variant not in VARIANTS:
        raise ValueError(f"variant is {variant!r}; it must be one of {', '.join(VARIANTS)}")


class LatentNet(nn.Module):
    """From channels to a Gaussian of K coordinates, for pictures of any size.

    ``"paper"`` (Zhang et al., 2020, section 3.2): 1 x 1 convolutions to 4K, 3K and 2K channels, then one each to K for
    the mean and the log variance, averaged over the picture. It knows which colours and depths there are, and how much
    of each is salient, but not where.

    ``"released"`` (the authors' code): five 4 x 4 convolutions of stride 2 with batch normalisation and leaky ReLU,
    then one dense layer each. The code's dense layers fit 352 x 352 px only, where the last map has 11 x 11 cells;
    here the map is first averaged to ``grid`` x ``grid`` cells, so that any size from 32 px goes, and from 64 px in
    training with a batch of one, as nothing can be normalised over a single cell. The code also uses the fourth
    normalisation twice; here each layer has its own.

    Args:
        in_channels: of what it looks at.
        latent: K.
        variant: ``"paper"`` or ``"released"``.
        width: channels of the first 4 x 4 convolution; the released code has 32.
        grid: cells a side before the dense layers; the released code has 11.

    ``forward(x (B, in_channels, H, W))`` → :class:`DiagonalGaussian` of (B, K).

    Raises:
        ValueError: for an unknown variant, or numbers below 1.
    """

    def __init__(
        self,
        in_channels: int,
        latent: int,
        variant: Variant = "paper",
        *,
        width: int = 32,
        grid: int = 11,
    ) -> None:
        super().__init__()
        check_variant(variant)
        for name, value in [("latent", latent), ("width", width), ("grid", grid)]:
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        self.variant = variant
        self.grid = grid
        self.mean: nn.Module
        self.log_variance: nn.Module
        if variant == "paper":
            sizes = [in_channels, 4 * latent, 3 * latent, 2 * latent]
            self.body = nn.Sequential(
                *(
                    layer
                    for a, b in pairwise(sizes)
                    for layer in (nn.Conv2d(a, b, 1), nn.LeakyReLU(0.01))
                )
            )
            self.mean = nn.Conv2d(2 * latent, latent, 1)
            self.log_variance = nn.Conv2d(2 * latent, latent, 1)
        else:
            sizes = [in_channels, width, 2 * width, 4 * width, 8 * width, 8 * width]
            self.body = nn.Sequential(
                *(
                    layer
                    for a, b in pairwise(sizes)
                    for layer in (
                        nn.Conv2d(a, b, 4, stride=2, padding=1),
                        nn.BatchNorm2d(b),
                        nn.LeakyReLU(0.01),
                    )
                )
            )
            self.mean = nn.Linear(sizes[-1] * grid**2, latent)
            self.log_variance = nn.Linear(sizes[-1] * grid**2, latent)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        features = self.body(x)
        if self.variant == "released":
            features = F.adaptive_avg_pool2d(features, self.grid).flatten(1)
        mean, log_variance = self.mean(features), self.log_variance(features)
        if self.variant == "paper":
            mean, log_variance = mean.mean((2, 3)), log_variance.mean((2, 3))
        return DiagonalGaussian(mean.float(), log_variance.float().clamp(-LIMIT, LIMIT))


class PriorNet(LatentNet):
    """p(z | x): what an annotation could be, from the colours and the depth alone.

    ``forward(image (B, 3, H, W), depth (B, 1, H, W))`` → :class:`DiagonalGaussian`. Arguments as in
    :class:`LatentNet`.
    """

    def __init__(
        self, latent: int, variant: Variant = "paper", *, width: int = 32, grid: int = 11
    ) -> None:
        super().__init__(4, latent, variant, width=width, grid=grid)

    def forward(self, image: Tensor, depth: Tensor) -> DiagonalGaussian:  # type: ignore[override]
        return super().forward(torch.cat([image, depth], 1))


class PosteriorNet(LatentNet):
    """q(z | x, y): which of the possible annotations this one is. Used in training only.

    ``forward(image (B, 3, H, W), depth (B, 1, H, W), saliency (B, 1, H, W))`` → :class:`DiagonalGaussian`.
    Arguments as in :class:`LatentNet`.
    """

    def __init__(
        self, latent: int, variant: Variant = "paper", *, width: int = 32, grid: int = 11
    ) -> None:
        super().__init__(5, latent, variant, width=width, grid=grid)

    def forward(  # type: ignore[override]
        self, image: Tensor, depth: Tensor, saliency: Tensor
    ) -> DiagonalGaussian:
        return super().forward(torch.cat([image, depth, saliency], 1))
