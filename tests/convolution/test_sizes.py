"""Sizes against torch.nn on an exhaustive grid, and what it refuses."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lessons_lib.convolution import (
    conv_output_size,
    output_padding_for,
    transposed_output_size,
)

SIZES = range(1, 49)
KERNELS = range(1, 8)
STRIDES = range(1, 5)
DILATIONS = range(1, 4)
INPUTS = {n: torch.zeros(1, 1, n) for n in SIZES}
WEIGHTS = {k: torch.zeros(1, 1, k) for k in KERNELS}


def outcome(function, *arguments):
    """The size, or None where the setting is refused."""
    try:
        return function(*arguments)
    except ValueError:
        return None


def torch_outcome(function, n, k, *arguments):
    try:
        return function(INPUTS[n], WEIGHTS[k], None, *arguments).shape[-1]
    except RuntimeError:
        return None


def test_convolution_on_the_whole_grid() -> None:
    """n 1..48, k 1..7, s 1..4, p 0..k - 1, d 1..3: size or refusal, as torch itself has it."""
    settings = refused = 0
    for n, k, s, d in itertools.product(SIZES, KERNELS, STRIDES, DILATIONS):
        for p in range(k):
            ours = outcome(conv_output_size, n, k, s, p, d)
            assert ours == torch_outcome(F.conv1d, n, k, s, p, d), (n, k, s, p, d)
            settings += 1
            refused += ours is None
    assert settings == 16_128
    assert refused > 500


def test_transposed_convolution_on_the_whole_grid() -> None:
    """The same grid with every legal output padding and the first illegal one."""
    settings = refused = 0
    for n, k, s, d in itertools.product(SIZES, KERNELS, STRIDES, DILATIONS):
        for p, o in itertools.product(range(k), range(max(s, d) + 1)):
            ours = outcome(transposed_output_size, n, k, s, p, o, d)
            theirs = torch_outcome(F.conv_transpose1d, n, k, s, p, o, 1, d)
            assert ours == theirs, (n, k, s, p, o, d)
            settings += 1
            refused += ours is None
            if ours is not None:
                assert output_padding_for(n, ours, k, s, p, d) == o
                if o < s:  # the convolution back leads to the size we came from
                    assert conv_output_size(ours, k, s, p, d) == n
    assert settings == 61_824
    assert refused > 16_128  # all that have the illegal output padding, and those without a pixel


def test_how_many_sizes_come_back() -> None:
    """A convolution and the transposed one with its settings restore the size only if s divides."""
    restored = total = 0
    for n, k, s in itertools.product(SIZES, KERNELS, STRIDES):
        for p in range(k):
            small = outcome(conv_output_size, n, k, s, p)
            if small is None:
                continue
            total += 1
            back = outcome(transposed_output_size, small, k, s, p)
            comes_back = (n + 2 * p - k) % s == 0
            assert (back == n) == comes_back
            restored += comes_back
            assert output_padding_for(small, n, k, s, p) == (n + 2 * p - k) % s
    assert 0 < restored < total


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 7), "kernel_size is 7, which reaches over 7 .* padded input, 5 + 2 · 0 = 5"),
        ((5, 3, 1, 0, 3), "kernel_size is 3, which reaches over 7 with dilation 3"),
        ((5, 0), "kernel_size is 0; it must be at least 1"),
        ((0, 1), "input_size is 0; it must be at least 1"),
        ((0, 3, 1, 2), "input_size is 0"),  # torch refuses it even where the padding would do
        ((5, 3, 0), "stride is 0"),
        ((5, 3, 1, -1), "padding is -1; it must be at least 0"),
        ((5, 3, 1, 0, 0), "dilation is 0"),
        ((5.0, 3), "input_size is 5.0; it must be a whole number"),
        ((True, 3), "input_size is True; it must be a whole number"),
        ((5, np.bool_(1)), "kernel_size is .*True.*; it must be a whole number"),
        ((5, 3, "2"), "stride is '2'; it must be a whole number"),
        ((5, 3, None), "stride is None; it must be a whole number"),
        ((5, 3, 1, "full"), "padding is 'full'"),
        ((5, 3, 2, "same"), "stride is 2; with padding=.same. it must be 1"),
        (((5, 5), (3, 9)), r"kernel_size\[1\] is 9"),
        (((5, 5), (3, 3, 3)), r"kernel_size is \(3, 3, 3\) with 3 axes; .*input_size, \(5, 5\)"),
        (((), 3), r"input_size is \(\) with 0 axes"),
        (((5, -1), 3), r"input_size\[1\] is -1"),
    ],
    ids=str,
)
def test_refused_convolution(arguments, message) -> None:
    with pytest.raises(ValueError, match=message.replace("+", r"\+")):
        conv_output_size(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (5, 3, 2, 0, 2),
            "output_padding is 2; .*smaller than either stride or dilation, .*2 and 1",
        ),
        ((5, 3, 2, 0, 3, 3), "output_padding is 3"),
        ((5, 3, 2, 0, -1), "output_padding is -1; it must be at least 0"),
        ((1, 1, 1, 1), "padding is 1; .*something of the 1 that the kernel covers"),
        ((2, 1, 1, 1), "padding is 1"),
        ((5, 0), "kernel_size is 0"),
        ((0, 3), "input_size is 0"),
        ((5, 3, 0), "stride is 0"),
        ((5, 3, 1, -1), "padding is -1"),
        ((5, 3, 1, 0, 0, 0), "dilation is 0"),
        ((5, 3, 1, "same"), "padding is 'same'; it must be a whole number"),
        ((5, 3, 2, 0, 0.5), "output_padding is 0.5"),
        ((5, 3, 2, 0, (0, 2)), r"output_padding\[1\] is 2"),
    ],
    ids=str,
)
def test_refused_transposed_convolution(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        transposed_output_size(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((4, 10, 3, 2, 1), "output_size is 10; .*must be in 7..8"),
        ((4, 6, 3, 2, 1), "output_size is 6; .*must be in 7..8"),
        ((1, 3, 1, 2, 1, 3), "output_size is 3; .*must be in 1..1"),
        ((1, 1, 1, 1, 1), "padding is 1"),
        ((4, 0, 3, 2, 1), "output_size is 0; it must be at least 1"),
        (((4, 4), (8, 9), 3, 2, 1), r"output_size\[1\] is 9"),
        ((4, 8.0, 3, 2, 1), "output_size is 8.0"),
    ],
    ids=str,
)
def test_refused_output_padding(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        output_padding_for(*arguments)


def test_large_padding_is_legal() -> None:
    assert conv_output_size(5, 3, 1, 9) == F.conv1d(INPUTS[5], WEIGHTS[3], padding=9).shape[-1]


@pytest.mark.filterwarnings("ignore:Using padding='same'")  # torch says that it copies
@pytest.mark.parametrize("n", [1, 2, 5, 8])
@pytest.mark.parametrize("k", [1, 2, 3, 6])
@pytest.mark.parametrize("d", [1, 2])
def test_padding_in_words(n: int, k: int, d: int) -> None:
    assert conv_output_size(n, k, 1, "same", d) == F.conv1d(
        INPUTS[n], WEIGHTS[k], padding="same", dilation=d
    ).size(-1)
    if d * (k - 1) < n:
        assert conv_output_size(n, k, 1, "valid", d) == conv_output_size(n, k, 1, 0, d)


def test_tuples_as_torch_takes_them() -> None:
    rng = np.random.default_rng(0)
    for _ in range(100):
        n = tuple(int(v) for v in rng.integers(8, 14, 3))
        k, s, d = (tuple(int(v) for v in rng.integers(1, 4, 3)) for _ in range(3))
        p = tuple(int(v) for v in rng.integers(0, 3, 3))
        o = tuple(int(v) for v in rng.integers(0, np.maximum(s, d)))
        x = torch.zeros(1, 1, *n)
        assert conv_output_size(n, k, s, p, d) == nn.Conv3d(1, 1, k, s, p, d)(x).shape[2:]
        try:
            theirs = nn.ConvTranspose3d(1, 1, k, s, p, o, dilation=d)(x).shape[2:]
        except RuntimeError:
            theirs = None
        ours = outcome(transposed_output_size, n, k, s, p, o, d)
        assert ours == theirs
        if ours is not None:
            assert output_padding_for(n, ours, k, s, p, d) == o


def test_ints_stand_for_all_axes() -> None:
    assert conv_output_size((50, 100), 3, 2, 1) == (25, 50)
    assert conv_output_size(50, (3, 5)) == (48, 46)
    assert conv_output_size([50, 100], 3, 2, [1, 1]) == (25, 50)
    assert conv_output_size(torch.Size([50]), 3) == (48,)
    assert type(conv_output_size(np.int64(50), 3)) is int
    assert transposed_output_size((50, 100), 3, 2, 1, 0, 2) == (101, 201)
    assert output_padding_for((4, 4), (7, 8), 3, 2, 1) == (0, 1)


def test_matches_torchs_own_output_size() -> None:
    """ConvTranspose2d(output_size=…) chooses the same output padding."""
    layer = nn.ConvTranspose2d(1, 1, 3, stride=3, padding=1)
    for height, width in itertools.product(range(9, 14), range(9, 14)):
        try:
            given = layer(torch.zeros(1, 1, 4, 4), output_size=(height, width)).shape[2:]
        except ValueError:
            given = None
        if given is None:
            with pytest.raises(ValueError, match=re.escape("must be in 10..12")):
                output_padding_for((4, 4), (height, width), 3, 3, 1)
        else:
            o = output_padding_for((4, 4), (height, width), 3, 3, 1)
            assert transposed_output_size((4, 4), 3, 3, 1, o) == tuple(given)
