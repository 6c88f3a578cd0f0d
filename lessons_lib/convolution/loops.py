"""Convolution and transposed convolution as loops, to be read. One channel, no bias, NumPy.

The three transposed versions give the same numbers in three ways; ``torch.nn.functional`` has the fast one.
Whole numbers for stride, padding and so on hold for both axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lessons_lib.convolution.sizes import conv_output_size, transposed_output_size

Map = NDArray[np.floating]


def conv2d_loop(
    image: Map, kernel: Map, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Map:
    """Convolution as neural networks have it (cross-correlation: the kernel is not flipped).

    Args:
        image: (H, W).
        kernel: (k, k'), any sizes.
        stride, padding, dilation: as for :func:`~lessons_lib.convolution.conv_output_size`.

    Returns:
        (H', W').

    Raises:
        ValueError: for sizes that do not go together.
    """
    height, width = _sizes(image, kernel, stride, padding, dilation)
    padded = np.pad(image, padding)
    output = np.zeros((height, width), np.result_type(image, kernel))
    for y in range(height):
        for x in range(width):
            for i in range(kernel.shape[0]):
                for j in range(kernel.shape[1]):
                    seen = padded[y * stride + i * dilation, x * stride + j * dilation]
                    output[y, x] += seen * kernel[i, j]
    return output


def transposed_scatter(
    image: Map,
    kernel: Map,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> Map:
    """Transposed convolution, first view: every pixel of the input stamps the kernel on the output.

    Stamps lie ``stride`` apart, add up where they overlap, and ``padding`` is cut off at the end.

    Args:
        image: (H, W).
        kernel: (k, k').
        stride, padding, output_padding, dilation: as for
            :func:`~lessons_lib.convolution.transposed_output_size`.

    Returns:
        (H', W').

    Raises:
        ValueError: for sizes that do not go together.
    """
    height, width = _transposed(image, kernel, stride, padding, output_padding, dilation)
    # the canvas before anything is cut off
    canvas = np.zeros((height + 2 * padding, width + 2 * padding), np.result_type(image, kernel))
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            for i in range(kernel.shape[0]):
                for j in range(kernel.shape[1]):
                    value = image[y, x] * kernel[i, j]
                    canvas[y * stride + i * dilation, x * stride + j * dilation] += value
    return canvas[padding : padding + height, padding : padding + width]


def transposed_zero_insertion(
    image: Map,
    kernel: Map,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> Map:
    """Transposed convolution, second view: an ordinary one, of stride 1, over a widened input.

    ``stride − 1`` zeros go between the pixels of the input, d(k − 1) around it, ``output_padding``
    more below and on the right; the kernel is turned by 180°; and ``padding`` is cut off at the end.
    (Where p ≤ d(k − 1), putting d(k − 1) − p zeros around and cutting nothing is the same.)

    Arguments, result and errors as for :func:`transposed_scatter`.
    """
    height, width = _transposed(image, kernel, stride, padding, output_padding, dilation)
    rows, columns = image.shape
    wide = np.zeros(((rows - 1) * stride + 1, (columns - 1) * stride + 1), image.dtype)
    wide[::stride, ::stride] = image
    around = [dilation * (k - 1) for k in kernel.shape]
    wide = np.pad(wide, [(a, a + output_padding) for a in around])
    turned = kernel[::-1, ::-1]
    output = conv2d_loop(wide, turned, dilation=dilation)
    return output[padding : padding + height, padding : padding + width]


def convolution_matrix(
    kernel: Map, size: tuple[int, ...], stride: int = 1, padding: int = 0, dilation: int = 1
) -> Map:
    """The matrix M with which a convolution is M times the pixels of its input in one column.

    Args:
        kernel: (k, k').
        size: height and width of the convolution's input, px.
        stride, padding, dilation: of the convolution.

    Returns:
        (H'·W', H·W), mostly zeros: one row for each pixel of the output.

    Raises:
        ValueError: for sizes that do not go together.
    """
    rows, columns = size
    height, width = _sizes(np.empty(size), kernel, stride, padding, dilation)
    matrix = np.zeros((height, width, rows, columns), kernel.dtype)
    for y in range(height):
        for x in range(width):
            for i in range(kernel.shape[0]):
                for j in range(kernel.shape[1]):
                    row = y * stride + i * dilation - padding
                    column = x * stride + j * dilation - padding
                    if 0 <= row < rows and 0 <= column < columns:
                        matrix[y, x, row, column] = kernel[i, j]
    return matrix.reshape(height * width, rows * columns)


def transposed_matrix(
    image: Map,
    kernel: Map,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> Map:
    """Transposed convolution, third view: the transposed matrix of a convolution.

    That convolution goes the other way: from the size of our output to the size of our input.

    Arguments, result and errors as for :func:`transposed_scatter`; besides, the output must be large
    enough for the convolution back to exist, and its size must lead to the size of the input (it
    does when ``output_padding`` is smaller than ``stride``).
    """
    size = _transposed(image, kernel, stride, padding, output_padding, dilation)
    matrix = convolution_matrix(kernel, size, stride, padding, dilation)
    if len(matrix) != image.size:
        raise ValueError(
            f"output_padding is {output_padding}; for the matrix it must be smaller than stride, "
            f"{stride}: the convolution of {size[0]} x {size[1]} gives another size than the input's"
        )
    return (matrix.T @ image.ravel()).reshape(size)


def _sizes(image: Map, kernel: Map, stride: int, padding: int, dilation: int) -> tuple[int, ...]:
    _check_flat(image, kernel)
    return conv_output_size(image.shape, kernel.shape, stride, padding, dilation)


def _transposed(
    image: Map, kernel: Map, stride: int, padding: int, output_padding: int, dilation: int
) -> tuple[int, ...]:
    _check_flat(image, kernel)
    return transposed_output_size(
        image.shape, kernel.shape, stride, padding, output_padding, dilation
    )


def _check_flat(image: Map, kernel: Map) -> None:
    for name, value in [("image", image), ("kernel", kernel)]:
        if value.ndim != 2:
            raise ValueError(f"{name} has shape {value.shape}; it must be (height, width)")
