"""The loops to be read, and the bilinear kernel, against torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lessons_lib.convolution import (
    bilinear_kernel,
    conv2d_loop,
    convolution_matrix,
    transposed_matrix,
    transposed_scatter,
    transposed_zero_insertion,
)

SETTINGS = [  # kernel, stride, padding, output padding, dilation
    ((3, 3), 1, 0, 0, 1),
    ((3, 3), 2, 1, 1, 1),
    ((2, 4), 2, 0, 1, 1),
    ((4, 3), 3, 2, 2, 2),
    ((1, 1), 4, 0, 3, 1),
    ((2, 2), 2, 2, 0, 1),
    ((3, 2), 2, 3, 1, 1),
    ((3, 3), 1, 2, 0, 3),
]


def as_torch(values):
    return torch.from_numpy(np.ascontiguousarray(values))[None, None]


@pytest.mark.parametrize(("size", "s", "p", "o", "d"), SETTINGS)
def test_transposed_views(size, s, p, o, d) -> None:
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(4, 5)), rng.normal(size=size)
    right = F.conv_transpose2d(as_torch(image), as_torch(kernel), None, s, p, o, 1, d)[0, 0].numpy()
    for view in (transposed_scatter, transposed_zero_insertion, transposed_matrix):
        np.testing.assert_allclose(view(image, kernel, s, p, o, d), right, atol=1e-12)


def test_output_padding_that_only_dilation_allows() -> None:
    """Legal in torch, but the convolution back leads to another size: no matrix of that shape."""
    image, kernel = np.ones((3, 3)), np.ones((2, 2))
    right = F.conv_transpose2d(as_torch(image), as_torch(kernel), None, 1, 0, 2, 1, 3)[0, 0]
    for view in (transposed_scatter, transposed_zero_insertion):
        np.testing.assert_allclose(view(image, kernel, 1, 0, 2, 3), right, atol=1e-12)
    with pytest.raises(ValueError, match="output_padding is 2; for the matrix"):
        transposed_matrix(image, kernel, 1, 0, 2, 3)


@pytest.mark.parametrize(("size", "s", "p", "o", "d"), SETTINGS)
def test_convolution(size, s, p, o, d) -> None:
    rng = np.random.default_rng(1)
    image, kernel = rng.normal(size=(9, 8)), rng.normal(size=size)
    right = F.conv2d(as_torch(image), as_torch(kernel), None, s, p, d)[0, 0].numpy()
    np.testing.assert_allclose(conv2d_loop(image, kernel, s, p, d), right, atol=1e-12)
    matrix = convolution_matrix(kernel, image.shape, s, p, d)
    assert matrix.shape == (right.size, image.size)
    np.testing.assert_allclose((matrix @ image.ravel()).reshape(right.shape), right, atol=1e-12)


def test_bad_shapes() -> None:
    with pytest.raises(
        ValueError, match=r"image has shape \(1, 4, 4\); it must be \(height, width"
    ):
        conv2d_loop(np.ones((1, 4, 4)), np.ones((3, 3)))
    with pytest.raises(ValueError, match=r"kernel has shape \(3,\)"):
        transposed_scatter(np.ones((4, 4)), np.ones(3))
    with pytest.raises(ValueError, match="kernel_size"):
        conv2d_loop(np.ones((2, 4)), np.ones((3, 3)))


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 8, 16, 32])
def test_bilinear_kernel_upsamples_bilinearly(stride: int) -> None:
    rng = np.random.default_rng(stride)
    image = torch.from_numpy(rng.normal(size=(2, 3, 6, 5))).float()
    kernel = bilinear_kernel(3, 2 * stride - stride % 2)
    ours = F.conv_transpose2d(image, kernel, stride=stride, padding=stride // 2)
    right = F.interpolate(image, scale_factor=stride, mode="bilinear", align_corners=False)
    assert ours.shape == right.shape
    edge = stride // 2  # nearer to the border, the one fades and the other repeats
    inside = (..., slice(edge, -edge or None), slice(edge, -edge or None))
    torch.testing.assert_close(ours[inside], right[inside], atol=1e-5, rtol=1e-5)
    if stride > 1:
        assert not torch.allclose(ours, right)


def test_bilinear_kernel_by_hand() -> None:
    kernel = bilinear_kernel(2, 4)
    assert kernel.shape == (2, 2, 4, 4) and kernel.dtype == torch.float32
    row = torch.tensor([0.25, 0.75, 0.75, 0.25])
    torch.testing.assert_close(kernel[1, 1], row[:, None] * row)
    assert kernel[0, 1].abs().sum() == kernel[1, 0].abs().sum() == 0


@pytest.mark.parametrize(("channels", "size"), [(0, 4), (1, 0), (1, 4.0), (True, 4)])
def test_bilinear_kernel_refuses(channels, size) -> None:
    with pytest.raises(ValueError, match="it must be a whole number of at least 1"):
        bilinear_kernel(channels, size)
