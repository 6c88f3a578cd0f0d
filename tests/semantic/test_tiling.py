"""Overlap-tile inference equals one pass over the whole picture, away from its border."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.semantic import UNet, predict_tiled, tiles
from lessons_lib.semantic.tiling import mirrored


def trained(net: UNet) -> UNet:
    """Statistics as after training, so that batch normalisation is not the identity."""
    torch.manual_seed(1)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 2)
    return net.eval()


@pytest.mark.parametrize(("depth", "tile"), [(2, 32), (3, 64), (3, 40)])
def test_tiled_equals_untiled_in_the_interior(depth: int, tile: int) -> None:
    torch.manual_seed(0)
    net = trained(UNet(3, 4, base_channels=8, depth=depth))
    image = torch.rand(3, 208, 232)
    with torch.inference_mode():
        whole = net(image[None])["semantic"][0]
    tiled = predict_tiled(net, image, tile=tile, margin=net.margin)
    inside = (..., slice(net.margin, -net.margin), slice(net.margin, -net.margin))
    assert whole[inside].shape[-1] > 2 * tile
    assert float((tiled - whole)[inside].abs().max()) <= 1e-5


def test_a_smaller_margin_is_not_enough() -> None:
    """With weights that let everything through, one step of the grid less leaves a trace."""
    net = UNet(1, 2, base_channels=4, depth=2, normalize=False).eval().double()
    for parameter in net.parameters():
        nn.init.constant_(parameter, 0.1)
    image = torch.rand(1, 96, 96, dtype=torch.float64)
    with torch.inference_mode():
        whole = net(image[None])["semantic"][0]
    differences = {}
    for margin in (net.margin, net.margin - 4):
        tiled = torch.empty_like(whole)
        with torch.inference_mode():
            for rows, columns, scores in tiles(
                lambda x: net(x)["semantic"], image, tile=16, margin=margin
            ):
                tiled[:, rows, columns] = scores
        inside = (..., slice(32, -32), slice(32, -32))
        differences[margin] = float(((tiled - whole) / whole)[inside].abs().max())
    assert differences[24] < 1e-13 and differences[20] > 1e-9


def test_unpadded_convolutions_with_mirrored_borders() -> None:
    """The paper's way: the whole picture mirrored by 44 px gives what its tiles give, border and all."""
    torch.manual_seed(0)
    net = UNet(1, 2, base_channels=4, depth=3, padding="valid", normalize=False).eval()
    image = torch.rand(1, 132, 132)
    margin = 44  # 6 * 2^3 - 4
    mirrored_image = F.pad(image[None], (margin,) * 4, mode="reflect")
    with torch.inference_mode():
        whole = net(mirrored_image)["semantic"][0]
    assert whole.shape == (2, 132, 132)
    tiled = predict_tiled(net, image, tile=44, margin=margin)
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 50), (40, 7), (33, 65)])
def test_any_size(size: tuple[int, int]) -> None:
    net = trained(UNet(1, 3, base_channels=4, depth=2))
    assert predict_tiled(net, torch.rand(1, *size), tile=16, margin=24).shape == (3, *size)


@pytest.mark.parametrize("size", [1, 2, 5, 9])
def test_mirror_is_numpys(size: int) -> None:
    row = np.arange(size)
    expected = np.pad(row, (11, 14), mode="reflect") if size > 1 else np.zeros(26, int)
    np.testing.assert_array_equal(row[mirrored(-11, size + 25, size)], expected)


def test_memory_holds_a_tile_and_not_the_picture(tmp_path: Path) -> None:
    """A picture of 64 MB on disk is read in tiles: the peak stays far below it."""
    path = tmp_path / "picture.npy"
    picture = np.lib.format.open_memmap(path, "w+", np.float32, (1, 4096, 4096))
    picture[:, ::7] = 1.0
    picture.flush()
    counted = np.zeros(2, int)
    tracemalloc.start()
    for _, _, scores in tiles(lambda x: torch.cat([x, 1 - x], 1), picture, tile=512, margin=32):
        counted += np.bincount(scores.argmax(0).flatten().numpy(), minlength=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counted.sum() == 4096 * 4096 and counted[0] == 586 * 4096
    assert peak < 20_000_000


def test_tiles_cover_the_picture_once() -> None:
    covered = torch.zeros(50, 70)
    for rows, columns, scores in tiles(lambda x: x, torch.rand(1, 50, 70), tile=16, margin=4):
        covered[rows, columns] += 1
        assert scores.shape[1:] == covered[rows, columns].shape
    assert (covered == 1).all()


def test_the_margins_of_two_depths() -> None:
    assert UNet(1, 2, base_channels=2, depth=3).margin == 48
    assert UNet(1, 2, base_channels=2, depth=4).margin == 96  # 92 is what "valid" loses


def shrink(x: Tensor) -> Tensor:
    return x[..., 5:-5, 5:-5]


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (torch.rand(5, 5), {}, r"image has shape \(5, 5\)"),
        (torch.rand(1, 0, 5), {}, r"image has shape \(1, 0, 5\)"),
        (torch.rand(1, 5, 5), {"tile": 0}, "tile is 0"),
        (torch.rand(1, 5, 5), {"margin": -1}, "margin is -1"),
        (torch.rand(1, 5, 5), {"margin": 4}, "margin is 4"),
    ],
    ids=["two axes", "empty", "tile", "margin", "model loses more"],
)
def test_bad_arguments_are_named(image: Tensor, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        list(tiles(shrink, image, **{"tile": 16, "margin": 8, **options}))
