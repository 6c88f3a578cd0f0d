"""The sizes of convolutions and of transposed convolutions.

Dumoulin and Visin, *A guide to convolution arithmetic for deep learning* (2016): relationships 6, 14
and 15 in its section 5.1 and chapter 4, with the output padding and dilation that torch.nn has.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, overload

import numpy as np

Size: TypeAlias = int | tuple[int, ...]

_LEAST = {
    "input_size": 1,
    "output_size": 1,
    "kernel_size": 1,
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "dilation": 1,
}


@overload
def conv_output_size(
    input_size: int,
    kernel_size: int,
    stride: int = 1,
    padding: int | Literal["same", "valid"] = 0,
    dilation: int = 1,
) -> int: ...
@overload
def conv_output_size(
    input_size: tuple[int, ...],
    kernel_size: Size,
    stride: Size = 1,
    padding: Size | Literal["same", "valid"] = 0,
    dilation: Size = 1,
) -> tuple[int, ...]: ...
@overload
def conv_output_size(
    input_size: Size,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size | Literal["same", "valid"] = 0,
    dilation: Size = 1,
) -> Size: ...
def conv_output_size(
    input_size: Size,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size | Literal["same", "valid"] = 0,
    dilation: Size = 1,
) -> Size:
    """Size of what a convolution gives, px.

    ⌊(n + 2p − d(k − 1) − 1) / s⌋ + 1, along each axis. Max-pooling and average pooling have the same
    formula (without their ``ceil_mode``).

    Args:
        input_size: n. An int for one axis or for square maps, else one number an axis.
        kernel_size: k.
        stride: s, step on the input.
        padding: p, zeros added on each side; or ``"valid"`` (0) or ``"same"``, as torch.nn has them.
        dilation: d, distance between two taps of the kernel.

    Returns:
        an int if all arguments are ints, else a tuple; ints stand for all axes.

    Raises:
        ValueError: for what torch.nn refuses, naming the argument, its value and the rule: what is not
            a whole number, is too small, or a kernel that reaches beyond the padded input.
    """
    if isinstance(padding, str):
        if padding not in ("same", "valid"):
            raise ValueError(f'padding is {padding!r}; it must be a number, "same" or "valid"')
        if padding == "same":
            return _each_axis(
                _same_size,
                input_size=input_size,
                kernel_size=kernel_size,
                stride=stride,
                dilation=dilation,
            )
        padding = 0
    return _each_axis(
        _conv_size,
        input_size=input_size,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
    )


@overload
def transposed_output_size(
    input_size: int,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    dilation: int = 1,
) -> int: ...
@overload
def transposed_output_size(
    input_size: tuple[int, ...],
    kernel_size: Size,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
) -> tuple[int, ...]: ...
@overload
def transposed_output_size(
    input_size: Size,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
) -> Size: ...
def transposed_output_size(
    input_size: Size,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
) -> Size:
    """Size of what a transposed convolution gives, px.

    (n − 1)s − 2p + d(k − 1) + 1 + o, along each axis.

    Args:
        input_size: n. An int for one axis or for square maps, else one number an axis.
        kernel_size: k.
        stride: s, step on the *output*.
        padding: p, rows and columns *cut off* each side of the output.
        output_padding: o, rows and columns that the output keeps beyond that, on one side only
            (below, right).
        dilation: d, distance between two taps of the kernel.

    Returns:
        an int if all arguments are ints, else a tuple; ints stand for all axes.

    Raises:
        ValueError: for what torch.nn refuses, naming the argument, its value and the rule: what is not
            a whole number, is too small, an output padding that is smaller than neither stride nor
            dilation, or an output without a pixel.
    """
    return _each_axis(
        _transposed_size,
        input_size=input_size,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
    )


@overload
def output_padding_for(
    input_size: int,
    output_size: int,
    kernel_size: int,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> int: ...
@overload
def output_padding_for(
    input_size: tuple[int, ...],
    output_size: Size,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
) -> tuple[int, ...]: ...
@overload
def output_padding_for(
    input_size: Size,
    output_size: Size,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
) -> Size: ...
def output_padding_for(
    input_size: Size,
    output_size: Size,
    kernel_size: Size,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
) -> Size:
    """The output padding with which a transposed convolution gives ``output_size``.

    Args:
        input_size: of the transposed convolution, px.
        output_size: the size that is wanted, px.
        kernel_size, stride, padding, dilation: as for :func:`transposed_output_size`.

    Returns:
        an int if all arguments are ints, else a tuple. It may be any number below the larger of stride
        and dilation, as torch allows; the ``output_size`` argument of ``ConvTranspose2d`` itself stops
        at stride − 1.

    Raises:
        ValueError: for a size that no output padding reaches, naming those that can be reached; and for
            what :func:`transposed_output_size` refuses.
    """
    return _each_axis(
        _output_padding,
        input_size=input_size,
        output_size=output_size,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        dilation=dilation,
    )


def _each_axis(formula: Callable[..., int], **sizes: Any) -> Size:
    """Applies a formula to one axis after the other; ints stand for all axes."""
    axes = {name: len(value) for name, value in sizes.items() if isinstance(value, (tuple, list))}
    if not axes:
        return formula("", **{name: _whole(name, value) for name, value in sizes.items()})
    first, count = next(iter(axes.items()))
    for name, length in axes.items():
        if length != count or length == 0:
            raise ValueError(
                f"{name} is {sizes[name]!r} with {length} axes; it must have one number an axis, "
                f"as many as {first}, {sizes[first]!r}"
            )
    results = []
    for axis in range(count):
        here = f"[{axis}]"
        chosen = {
            name: _whole(name + here, value[axis]) if name in axes else _whole(name, value)
            for name, value in sizes.items()
        }
        results.append(formula(here, **chosen))
    return tuple(results)


def _whole(name: str, value: Any) -> int:
    """The value as a Python int, if it is a whole number (not a bool) and not too small."""
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} is {value!r}; it must be a whole number") from None
    least = _LEAST[name.partition("[")[0]]
    if number < least:
        raise ValueError(f"{name} is {number}; it must be at least {least}")
    return number


def _conv_size(
    axis: str, input_size: int, kernel_size: int, stride: int, padding: int, dilation: int
) -> int:
    reach = dilation * (kernel_size - 1) + 1
    padded = input_size + 2 * padding
    if reach > padded:
        raise ValueError(
            f"kernel_size{axis} is {kernel_size}, which reaches over {reach} with dilation "
            f"{dilation}; it must not exceed the padded input, {input_size} + 2 · {padding} = {padded}"
        )
    return (padded - reach) // stride + 1


def _same_size(axis: str, input_size: int, kernel_size: int, stride: int, dilation: int) -> int:
    if stride != 1:
        raise ValueError(f'stride{axis} is {stride}; with padding="same" it must be 1')
    return input_size


def _transposed_size(
    axis: str,
    input_size: int,
    kernel_size: int,
    stride: int,
    padding: int,
    output_padding: int,
    dilation: int,
) -> int:
    if output_padding >= max(stride, dilation):
        raise ValueError(
            f"output_padding{axis} is {output_padding}; it must be smaller than either stride or "
            f"dilation, here {stride} and {dilation}"
        )
    size = (input_size - 1) * stride + dilation * (kernel_size - 1) + 1 + output_padding
    if size <= 2 * padding:
        raise ValueError(
            f"padding{axis} is {padding}; cutting it off both sides must leave something of the "
            f"{size} that the kernel covers"
        )
    return size - 2 * padding


def _output_padding(
    axis: str,
    input_size: int,
    output_size: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
) -> int:
    least = (input_size - 1) * stride + dilation * (kernel_size - 1) + 1 - 2 * padding
    most = least + max(stride, dilation) - 1
    if most < 1:
        raise ValueError(
            f"padding{axis} is {padding}; cutting it off both sides must leave something of the "
            f"{most + 2 * padding} that the kernel can cover"
        )
    if not least <= output_size <= most:
        raise ValueError(
            f"output_size{axis} is {output_size}; from an input of {input_size} with kernel "
            f"{kernel_size}, stride {stride}, padding {padding} and dilation {dilation} it must be "
            f"in {max(1, least)}..{most}"
        )
    return output_size - least
