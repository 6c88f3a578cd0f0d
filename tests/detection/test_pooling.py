"""Pooling of boxes: equal to torchvision's kernels on random and on awkward boxes."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor

from lessons_lib.detection.pooling import bin_borders, roi_align, roi_pool, spatial_pyramid_pool

AWKWARD = torch.tensor(
    [
        [0.0, 0.0, 0.0, 0.0],  # no size
        [5.0, 5.0, 5.0, 9.0],  # no width
        [20.0, 20.0, 4.0, 4.0],  # the wrong way round
        [-30.0, -30.0, -10.0, -10.0],  # outside, above and left
        [500.0, 300.0, 900.0, 700.0],  # outside, below and right
        [-20.0, 10.0, 30.0, 300.0],  # half outside
        [2.0, 2.0, 6.0, 6.0],  # corners at half cells
        [-2.0, -6.0, 10.0, 14.0],  # halves below zero
        [0.0, 0.0, 88.0, 52.0],  # all
        [3.3, 7.7, 4.1, 8.2],  # within a cell
    ]
)


def features(seed: int = 0) -> Tensor:
    return torch.randn(2, 3, 13, 22, generator=torch.Generator().manual_seed(seed))


def random_rows(seed: int, count: int = 40) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * torch.tensor([110.0, 70.0]) - 15
    size = torch.rand(count, 2, generator=generator) ** 2 * 60
    picture = torch.randint(0, 2, (count, 1), generator=generator).float()
    return torch.cat([picture, low, low + size], 1)


def awkward_rows() -> Tensor:
    both = [torch.cat([torch.full((len(AWKWARD), 1), k), AWKWARD], 1) for k in (0.0, 1.0)]
    return torch.cat(both)


@pytest.mark.parametrize("size", [1, 2, 7, (3, 5)], ids=str)
@pytest.mark.parametrize("scale", [0.25, 1 / 8, 1 / 3, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_roi_pool_is_torchvisions(size: int | tuple[int, int], scale: float, seed: int) -> None:
    for rows in (random_rows(seed), awkward_rows()):
        found = roi_pool(features(seed), rows, size, scale)
        expected = torchvision.ops.roi_pool(features(seed), rows, size, scale)
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [-1, 1, 2, 3])
@pytest.mark.parametrize("size", [1, 7, (3, 5)], ids=str)
@pytest.mark.parametrize("scale", [0.25, 1 / 3])
def test_roi_align_is_torchvisions(
    size: int | tuple[int, int], scale: float, ratio: int, aligned: bool
) -> None:
    usable = awkward_rows()
    for rows in (random_rows(3), usable):
        found = roi_align(features(), rows, size, scale, ratio, aligned)
        expected = torchvision.ops.roi_align(features(), rows, size, scale, ratio, aligned)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_a_list_of_boxes_is_one_a_picture() -> None:
    boxes = [AWKWARD, random_rows(0)[:, 1:]]
    for ours, theirs in [
        (roi_pool, torchvision.ops.roi_pool),
        (roi_align, torchvision.ops.roi_align),
    ]:
        found = ours(features(), boxes, 4, 0.25)
        torch.testing.assert_close(found, theirs(features(), boxes, 4, 0.25), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pool", [roi_pool, roi_align])
def test_no_boxes(pool) -> None:
    assert pool(features(), torch.zeros(0, 5), 2).shape == (0, 3, 2, 2)
    assert pool(features(), [torch.zeros(0, 4)] * 2, 2).shape == (0, 3, 2, 2)


def test_gradients_are_torchvisions() -> None:
    rows = random_rows(5, 10)
    for ours, theirs in [
        (
            lambda x: roi_pool(x, rows, 3, 0.25),
            lambda x: torchvision.ops.roi_pool(x, rows, 3, 0.25),
        ),
        (
            lambda x: roi_align(x, rows, 3, 0.25, 2, True),
            lambda x: torchvision.ops.roi_align(x, rows, 3, 0.25, 2, True),
        ),
    ]:
        grads = []
        for pool in (ours, theirs):
            x = features().requires_grad_()
            pool(x).square().sum().backward()
            grads.append(x.grad)
        torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-4)


def test_bins_are_rounded_and_may_share_cells() -> None:
    """Seven cells in three bins: 0-2, 2-4, 4-6; cell 2 is in two of them."""
    assert bin_borders(0, 6, 3, 100) == [(0, 3), (2, 5), (4, 7)]
    assert bin_borders(0, 5, 3, 100) == [(0, 2), (2, 4), (4, 6)]
    assert bin_borders(-2, 0, 3, 100) == [(0, 0), (0, 0), (0, 1)], "outside: empty"
    assert bin_borders(4, 4, 2, 100) == [(4, 5), (4, 5)], "one cell for both"


@pytest.mark.parametrize("levels", [(1,), (1, 2, 4), (1, 2, 3, 6)], ids=str)
def test_the_pyramid_is_roi_pooling_at_each_level(levels: tuple[int, ...]) -> None:
    rows = torch.cat([random_rows(7), awkward_rows()])
    found = spatial_pyramid_pool(features(), rows, levels, 0.25)
    parts = [roi_pool(features(), rows, b, 0.25).flatten(1) for b in levels]
    assert torch.equal(found, torch.cat(parts, 1))
    assert found.shape == (len(rows), 3 * sum(b * b for b in levels))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"features": torch.zeros(3, 4, 4)}, "features has shape"),
        ({"boxes": torch.zeros(2, 4)}, "boxes has shape"),
        ({"boxes": [torch.zeros(1, 4)]}, "boxes has 1 entries"),
        ({"boxes": [torch.zeros(4), torch.zeros(4)]}, "boxes has an entry of shape"),
        ({"boxes": torch.tensor([[2.0, 0, 0, 1, 1]])}, "boxes names picture 2 of 2"),
        ({"boxes": torch.tensor([[0.0, 0, 0, 1, float("nan")]])}, "not finite"),
        ({"output_size": 0}, "output_size is 0"),
        ({"spatial_scale": 0.0}, "spatial_scale is 0"),
    ],
    ids=["features", "boxes", "list", "entry", "picture", "nan", "size", "scale"],
)
def test_bad_input_is_named(change: dict, words: str) -> None:
    good = {"features": features(), "boxes": torch.zeros(1, 5), "output_size": 2}
    for pool in (roi_pool, roi_align):
        with pytest.raises(ValueError, match=words):
            pool(**{**good, **change})
    if "output_size" not in change:
        good.pop("output_size")
        with pytest.raises(ValueError, match=words):
            spatial_pyramid_pool(**{**good, **change})
    with pytest.raises(ValueError, match="levels is"):
        spatial_pyramid_pool(features(), torch.zeros(1, 5), ())
