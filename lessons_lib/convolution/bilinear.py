"""Bilinear upsampling as a transposed convolution."""

from __future__ import annotations

import torch
from torch import Tensor


def bilinear_kernel(channels: int, kernel_size: int) -> Tensor:
    """Weights of a ``ConvTranspose2d`` that upsamples each channel bilinearly.

    Long, Shelhamer and Darrell (2015, section 3.3) start the upsampling layers of FCN so. To enlarge s times:
    kernel 2s − s mod 2, stride s, padding s // 2, no bias; the output has s times the size of the
    input. Away from the border it equals
    ``F.interpolate(x, scale_factor=s, mode="bilinear", align_corners=False)``; at the border, where
    that one repeats the outermost pixel, this one meets zeros and fades.

    Args:
        channels: C, of input and output.
        kernel_size: k, of the square kernel, px.

    Returns:
        float32 (C, C, k, k): channel c takes from channel c only, with the outer product of two
        triangles.

    Raises:
        ValueError: for sizes below 1.
    """
    for name, value in [("channels", channels), ("kernel_size", kernel_size)]:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}; it must be a whole number of at least 1")
    factor = (kernel_size + 1) // 2  # half the base of the triangle; the stride it is made for
    centre = (kernel_size - 1) / 2
    taps = torch.arange(kernel_size, dtype=torch.float32)
    triangle = 1 - (taps - centre).abs() / factor  # (k,)
    weight = torch.zeros(channels, channels, kernel_size, kernel_size)
    weight[range(channels), range(channels)] = triangle[:, None] * triangle
    return weight
