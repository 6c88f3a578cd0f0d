"""The figures that several chapters draw."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from lessons_lib.data.pictures import PALETTE
from lessons_lib.plots import colour_instances, learning_curves, show_boxes, show_pictures


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    plt.switch_backend("agg")
    yield
    plt.close("all")


def two_squares() -> torch.Tensor:
    labels = torch.zeros(12, 16, dtype=torch.long)
    labels[2:8, 1:7], labels[2:8, 7:13] = 1, 9
    return labels


@pytest.mark.parametrize("shape", [(12, 16), (1, 12, 16), (3, 12, 16)])
def test_tinted_instances(shape: tuple[int, ...]) -> None:
    image = torch.full(shape, 0.5)
    labels = two_squares()
    drawn = colour_instances(image, labels, strength=0.8)
    assert drawn.shape == (12, 16, 3) and drawn.min() >= 0 and drawn.max() <= 1
    assert np.array_equal(drawn[labels == 0], np.full((120, 3), 0.5))
    for middle, number in [((5, 3), 1), ((5, 10), 9)]:
        tint = PALETTE[(number - 1) % len(PALETTE)] / 255
        assert np.allclose(drawn[middle], 0.2 * 0.5 + 0.8 * tint)
    assert drawn[5, 6].sum() < drawn[5, 5].sum(), "a dark line between instances that touch"
    assert torch.equal(image, torch.full(shape, 0.5)), "the picture itself is left alone"


def test_no_instances_no_change() -> None:
    image = np.random.default_rng(0).random((5, 6))
    drawn = colour_instances(image, np.zeros((5, 6), int))
    assert np.array_equal(drawn, np.repeat(image[..., None], 3, 2))


def test_rows_of_pictures() -> None:
    gray, tensor = np.zeros((4, 5)), torch.ones(3, 4, 5, requires_grad=True)
    figure = show_pictures(
        [[gray, tensor, np.ones((4, 5, 3))], [gray]], titles=["a", "b", "c"], labels=["x", "y"]
    )
    axes = np.array(figure.axes).reshape(2, 3)
    assert [[len(axis.images) for axis in row] for row in axes] == [[1, 1, 1], [1, 0, 0]]
    assert all(axis.images[0].get_array().shape == (4, 5, 3) for axis in axes[0])
    assert [axis.get_title() for axis in axes[0]] == ["a", "b", "c"]
    assert [row[0].texts[0].get_text() for row in axes] == ["x", "y"]


def test_learning_curves() -> None:
    history: list[dict[str, float]] = [
        {"step": step, "loss": 2.0 / step, "pull": 1.0 / step, "push": 0.0} for step in (10, 20, 30)
    ]
    history.append({"step": 30, "sbd": 0.9})  # an evaluation is no point of the curves
    (axis,) = learning_curves(history, ["pull", "push"]).axes
    assert axis.get_yscale() == "log"
    assert [line.get_label() for line in axis.lines] == ["pull", "push"]
    assert axis.lines[0].get_xdata().tolist() == [10, 20, 30]
    assert axis.lines[0].get_ydata() == pytest.approx([1 / 10, 1 / 20, 1 / 30])
    assert min(axis.lines[1].get_ydata()) > 0, "a term of 0 has a place on a logarithmic axis"
    assert len({line.get_linestyle() for line in axis.lines}) == 2, "told apart without colours"


def test_boxes_lie_on_their_pixels() -> None:
    found = [
        {
            "boxes": torch.tensor([[2.0, 3, 9, 8], [0, 0, 4, 4]]),
            "labels": torch.tensor([2, 1]),
            "scores": torch.tensor([0.9, 0.25]),
        },
        {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)},
    ]
    truth = [{"boxes": torch.tensor([[1.0, 1, 5, 5]])}, {"boxes": torch.zeros(0, 4)}]
    names = ("background", "a", "b")
    figure = show_boxes([torch.rand(3, 12, 16)] * 2, found, names, truth, titles=["one", "two"])
    first, second = figure.axes
    frames = [(p.get_x(), p.get_y(), p.get_width(), p.get_height()) for p in first.patches]
    # the picture's first pixel reaches from -0.5 to 0.5
    assert frames == [(0.5, 0.5, 4, 4), (1.5, 2.5, 7, 5), (-0.5, -0.5, 4, 4)]
    assert [text.get_text() for text in first.texts] == ["b 0.90", "a 0.25"]
    assert np.allclose(first.patches[1].get_edgecolor()[:3], PALETTE[1] / 255)
    assert first.get_title() == "one" and not second.patches
