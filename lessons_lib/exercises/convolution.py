"""Checkers of chapter 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lessons_lib.convolution import conv_output_size
from lessons_lib.exercises.checking import NotYet, call, close, number, numbers

CHAINS = [
    (150, [(3, 1, 0), (2, 2, 0)] * 4),  # the network of the chapter
    (224, [(7, 2, 3), (3, 2, 1), (3, 1, 1)]),
    (9, [(2, 2, 0)]),
    (10, [(4, 3, 2), (5, 1, 2)]),
    (7, [(7, 1, 0)]),
]


def check_layer_sizes(function: Callable[[int, list[tuple[int, int, int]]], Any]) -> bool:
    """``layer_sizes(size, [(kernel, stride, padding), …])`` → the size after each layer."""
    for size, layers in CHAINS:
        right, at = [], size
        for k, s, p in layers:
            at = conv_output_size(at, k, s, p)
            right.append(at)
        yours = numbers(call(function, size, list(layers)), "layer_sizes").tolist()
        if yours == right:
            continue
        setting = f"{size} px through {layers}"
        if len(yours) != len(right):
            raise NotYet(
                f"{setting}: {len(right)} layers, so {len(right)} numbers, the size after each; "
                f"yours are {len(yours)}."
            )
        first = next(i for i, (a, b) in enumerate(zip(yours, right, strict=True)) if a != b)
        where = (
            f"{setting}: after layer {first + 1} there are {right[first]} px, not {yours[first]:g}"
        )
        if yours[first] != int(yours[first]):
            raise NotYet(
                f"{where}. Sizes are whole numbers: a step that does not fit is not taken."
            )
        if yours[first] == right[first] - 1 or yours[first] == right[first] + 1:
            raise NotYet(
                f"{where}. One off: how many steps fit in, and how many places are that? And is it "
                "rounded down?"
            )
        raise NotYet(
            f"{where}. The formula is ⌊(n + 2p − k) / s⌋ + 1, with n from the layer before."
        )
    print("Right: every layer's size follows from the one before.")
    return True


def check_convolve(
    function: Callable[[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], Any],
) -> bool:
    """``convolve(image (C, H, W), weight (O, C, k, k), bias (O,))`` → (O, H − k + 1, W − k + 1)."""
    rng = np.random.default_rng(0)
    for channels, out, k, size in [(1, 1, 3, (5, 5)), (3, 2, 3, (6, 8)), (2, 4, 2, (4, 7))]:
        image = rng.normal(size=(channels, *size))
        weight = rng.normal(size=(out, channels, k, k))
        bias = rng.normal(size=out)
        right = _convolution(image, weight, bias)
        answer = call(function, image.copy(), weight.copy(), bias.copy())
        yours = numbers(answer, "convolve", ndim=3)
        setting = f"for an image {image.shape} and weights {weight.shape}"
        if yours.shape != right.shape:
            raise NotYet(
                f"The numbers should come in the shape {right.shape} {setting}; yours is "
                f"{yours.shape}."
            )
        if np.allclose(yours, right):
            continue
        if np.allclose(yours, right - bias[:, None, None]):
            raise NotYet("The bias is missing: one number for each output channel.")
        if np.allclose(yours, _convolution(image, weight[:, :, ::-1, ::-1], bias)):
            raise NotYet(
                "You turn the kernel round, as mathematics does. Networks lay it on as it is: "
                "cross-correlation."
            )
        if np.allclose(yours, _convolution(image, weight.transpose(0, 1, 3, 2), bias)):
            raise NotYet("Rows and columns of the kernel are exchanged.")
        only_first = _convolution(image[:1], weight[:, :1], bias)
        if channels > 1 and np.allclose(yours, only_first):
            raise NotYet(
                "You use the first channel only. An output channel adds up its kernel's answers in "
                "all channels of the image."
            )
        mean = _convolution(image, weight / channels, bias)
        if channels > 1 and np.allclose(yours, mean):
            raise NotYet("The channels are added up, not averaged.")
        raise NotYet(
            f"The output at (0, 0, 0) is {right[0, 0, 0]:.4f} {setting}; yours is "
            f"{yours[0, 0, 0]:.4f}. It is the sum over all channels and taps, plus the bias."
        )
    print("Right: the same numbers as torch.")
    return True


def _convolution(
    image: NDArray[np.float64], weight: NDArray[np.float64], bias: NDArray[np.float64]
) -> NDArray[np.float64]:
    x, w, b = (torch.from_numpy(np.ascontiguousarray(a)) for a in (image[None], weight, bias))
    return F.conv2d(x, w, b)[0].numpy()


def check_pixels_seen(function: Callable[[list[int]], Any]) -> bool:
    """``pixels_seen(dilations)`` → how many pixels of a row a stack of 3-tap layers really reads."""
    for dilations in (
        [1],
        [2],
        [1, 1, 1],
        [2, 2, 2],
        [1, 2, 4],
        [1, 2, 3],
        [3, 3],
        [2, 4, 8],
        [5, 1],
    ):
        right = len(_read(dilations))
        window = 1 + 2 * sum(dilations)
        value = number(call(function, list(dilations)), "pixels_seen")
        if close(value, right):
            continue
        setting = f"with dilations {dilations}"
        if close(value, window):
            raise NotYet(
                f"{window} px is how wide the window is {setting}; within it there are holes that "
                f"no path reaches. Count the pixels that are read: {right}."
            )
        if close(value, 3 ** len(dilations)):
            raise NotYet(
                f"There are {3 ** len(dilations)} paths {setting}, but several lead to the same "
                "pixel: count each pixel once."
            )
        raise NotYet(f"The number of pixels read {setting} is {right}; yours is {value:g}.")
    print(
        "Right: the window is 1 + 2·Σd wide, and dilations with a common factor leave holes in it."
    )
    return True


def _read(dilations: Sequence[int]) -> set[int]:
    seen = {0}
    for d in dilations:
        seen = {place + tap * d for place in seen for tap in (-1, 0, 1)}
    return seen
