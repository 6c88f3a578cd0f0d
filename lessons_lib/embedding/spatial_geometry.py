"""Where pixels point to, and how wide they aim (Neven et al., 2019, sections 3.1 and 3.2)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

CHANNELS: dict[str, int] = {"fixed": 0, "one": 1, "two": 2}
"""Channels of the raw σ for each kind."""

LARGEST_EXPONENT = 80.0
"""Of s = exp(10 σ), up and down: past it float32 would overflow, or s be 0. The margin is far below a pixel's
millionth there, or far above any picture."""


def embed(offset: Tensor, unit: float) -> Tensor:
    """Where the pixels point to: their own place + ``unit`` · tanh(offset), px.

    Args:
        offset: raw (…, 2, H, W), x and y.
        unit: px.

    Returns:
        (…, 2, H, W), x and y in px from the centre of the first pixel.
    """
    height, width = offset.shape[-2:]
    x = torch.arange(width, device=offset.device, dtype=offset.dtype)
    y = torch.arange(height, device=offset.device, dtype=offset.dtype)
    grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)])
    return grid + unit * offset.tanh()


def inverse_spread(sigma: Tensor, unit: float) -> Tensor:
    """s of raw σ, in 1/px²: φ = exp(−s · distance²), s = exp(10 σ) per ``unit``²."""
    return (10 * sigma).clamp(-LARGEST_EXPONENT, LARGEST_EXPONENT).exp() / unit**2


def margin_of(sigma: Tensor, unit: float, threshold: float = 0.5) -> Tensor:
    """The distance in px at which φ falls to the threshold: √(−ln threshold / s).

    A larger raw σ is a smaller margin: 0.1386, a fifth of ln 2, more halves it.
    """
    return (-math.log(threshold) / inverse_spread(sigma, unit)).sqrt()
