"""From a latent vector to a map, and from two maps to a prediction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .gaussians import DiagonalGaussian


def expand_features(gaussian: DiagonalGaussian, noise: Tensor, size: tuple[int, int]) -> Tensor:
    """Feature expanding: a latent map of the size of the features beside it.

    With noise for each pixel, as in the paper (Zhang et al., 2020, section 3.2), neighbours draw independently and only
    their mean is common. With one draw a picture, as in the released code, the whole picture gets the same vector.

    Args:
        gaussian: of (B, K).
        noise: standard normal; (B, K) is one draw a picture, (B, K, h, w) one a pixel.
        size: h, w.

    Returns:
        (B, K, h, w).

    Raises:
        ValueError: for noise of another shape.
    """
    batch, latent = gaussian.mean.shape
    if noise.ndim == 2:
        noise = noise[:, :, None, None].expand(-1, -1, *size)
    if noise.shape != (batch, latent, *size):
        raise ValueError(
            f"noise has shape {tuple(noise.shape)}; it must be {(batch, latent)} or {(batch, latent, *size)}"
        )
    return gaussian.mean[:, :, None, None] + gaussian.deviation[:, :, None, None] * noise


class PredictionNet(nn.Module):
    """A saliency map from deterministic and stochastic features: three 1 x 1 convolutions to K, K / 2 and 1 channels.

    In the paper the K + M channels are first put into an order that a learnable vector's ranking gives. A ranking has
    no gradient, and a 1 x 1 convolution over all channels absorbs any fixed order into its weights, so
    there is no order here.

    Args:
        features: M, channels of the deterministic features.
        latent: K.
        width: channels of the first two convolutions; ``None`` takes the paper's K and K / 2.

    ``forward(features (B, M, h, w), latent (B, K, h, w))`` → logits (B, 1, h, w).
    """

    def __init__(self, features: int, latent: int, width: int | None = None) -> None:
        super().__init__()
        first, second = (latent, max(1, latent // 2)) if width is None else (width, width)
        self.layers = nn.Sequential(
            nn.Conv2d(features + latent, first, 1),
            nn.LeakyReLU(0.01),
            nn.Conv2d(first, second, 1),
            nn.LeakyReLU(0.01),
            nn.Conv2d(second, 1, 1),
        )

    def forward(self, features: Tensor, latent: Tensor) -> Tensor:
        return self.layers(torch.cat([features, latent], 1))
