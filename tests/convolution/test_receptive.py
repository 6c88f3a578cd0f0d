"""Receptive fields against gradients: which pixels does an output depend on?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from lessons_lib.convolution import ReceptiveField, receptive_field


def seen(layers: nn.Module, size: int, index: int) -> list[int]:
    """The pixels of a row with a gradient, for output ``index``; all weights positive."""
    for parameter in layers.parameters():
        nn.init.constant_(parameter, 0.1)
    x = torch.ones(1, 1, size, dtype=torch.float32, requires_grad=True)
    layers(x)[0, 0, index].backward()
    return x.grad[0, 0].nonzero().ravel().tolist()


def test_random_chains() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        rows = []
        for _ in range(int(rng.integers(1, 5))):
            k = int(rng.integers(1, 5))
            rows.append((k, int(rng.integers(1, 4)), int(rng.integers(1, 3)), int(rng.integers(k))))
        modules = nn.Sequential(*[nn.Conv1d(1, 1, k, s, p, d, bias=False) for k, s, d, p in rows])
        field = receptive_field(rows)
        assert receptive_field(modules) == field
        size = field.size + 12 * field.stride + 60
        count = modules(torch.ones(1, 1, size)).shape[-1]
        for index in {0, count // 2}:
            window = [i for i in field.window(index) if 0 <= i < size]
            found = seen(modules, size, index)
            assert set(found) <= set(window)
            # dilation and stride may leave holes, and padding may hide the outermost tap
            if all(d == 1 and s <= k for k, s, d, _ in rows) and index:
                assert found == window


def test_pooling_and_pointwise_layers() -> None:
    chain = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()),
        nn.MaxPool2d(2),
        nn.Dropout(),
        nn.Conv2d(8, 8, 3, padding="same", dilation=2),
        nn.AvgPool2d(3, 2, 1),
    )
    assert receptive_field(chain) == receptive_field(
        [(3, 1, 1, 1), (2, 2), (3, 1, 2, 2), (3, 2, 1, 1)]
    )
    assert receptive_field(nn.Conv2d(1, 1, 3)) == ReceptiveField(3, 1, 0)
    assert receptive_field([]) == ReceptiveField(1, 1, 0)


def test_vgg16() -> None:
    """The figure everybody quotes: 212 px, 32 apart, after the last pooling."""
    rows = [row for count in (2, 2, 3, 3, 3) for row in [*[(3, 1, 1, 1)] * count, (2, 2, 1, 0)]]
    field = receptive_field(rows)
    assert (field.size, field.stride) == (212, 32)
    assert field.centre == 15.5  # pixel 0 of the map looks at the middle of the first 32 px
    assert field.window(1) == range(-90 + 32, -90 + 32 + 212)


def test_axes() -> None:
    wide = [nn.Conv2d(1, 1, (1, 7), padding=(0, 3))]
    assert receptive_field(wide, axis=0).size == 1
    assert receptive_field(wide, axis=1) == ReceptiveField(7, 1, -3)
    with pytest.raises(
        ValueError, match=r"axis is None, but the kernel_size of layers\[0\] is \(1, 7\)"
    ):
        receptive_field(wide)
    with pytest.raises(ValueError, match=r"axis is 2; .* must be in 0..1"):
        receptive_field(wide, axis=2)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([nn.AdaptiveAvgPool2d(1)], r"layers\[0\] is a AdaptiveAvgPool2d"),
        ([(3, 1), nn.Linear(3, 3)], r"layers\[1\] is a Linear"),
        ([(3, 0)], r"layers\[0\]: stride is 0; it must be at least 1"),
        ([(0,)], r"layers\[0\]: kernel_size is 0"),
        ([(3, 1, 1, -1)], r"layers\[0\]: padding is -1"),
        ([(3, 1, 1, 0, 0)], r"it must be a module or a tuple"),
        (["abc"], r"it must be a module or a tuple"),
        ([3], r"it must be a module or a tuple"),
        ([(3.0,)], "kernel_size is 3.0; it must be a whole number"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_refused(layers, message) -> None:
    with pytest.raises(ValueError, match=message):
        receptive_field(layers)
