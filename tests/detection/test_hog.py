"""HOG against scikit-image's, and the shared votes against a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from skimage.feature import hog as reference

from lessons_lib.data import Shapes
from lessons_lib.detection.hog import cell_histograms, gradients, hog


@pytest.mark.parametrize(
    ("size", "channels", "cell", "block", "bins"),
    [
        ((64, 128), 3, 8, 2, 9),
        ((61, 50), 1, 8, 2, 9),
        ((40, 47), 3, 5, 3, 9),
        ((33, 32), 2, 4, 2, 7),
        ((24, 30), 3, 6, 1, 18),
        ((16, 16), 1, 8, 2, 9),
        ((20, 20), 3, 3, 4, 1),
    ],
)
def test_scikit_image(
    size: tuple[int, int], channels: int, cell: int, block: int, bins: int
) -> None:
    rng = np.random.default_rng(0)
    for image in (rng.uniform(size=(channels, *size)), rng.integers(0, 3, (channels, *size)) / 2.0):
        right = reference(
            image.transpose(1, 2, 0),
            orientations=bins,
            pixels_per_cell=(cell, cell),
            cells_per_block=(block, block),
            block_norm="L2-Hys",
            channel_axis=2,
            feature_vector=False,
        )
        mine = hog(torch.from_numpy(image), cell, block, bins)
        assert mine.dtype == torch.float64
        np.testing.assert_allclose(mine.numpy(), right, atol=1e-6)  # it sums in float32
        flat = hog(torch.from_numpy(image).float(), cell, block, bins).flatten()
        np.testing.assert_allclose(
            flat.numpy(), right.ravel(), atol=2e-3
        )  # a pixel on a bin's edge


def test_gray_and_batch() -> None:
    images = torch.from_numpy(np.random.default_rng(1).uniform(size=(3, 3, 32, 40)))
    batch = hog(images)
    for image, one in zip(images, batch, strict=True):
        assert torch.equal(hog(image), one)
        right = reference(image[0].numpy(), pixels_per_cell=(8, 8), cells_per_block=(2, 2))
        np.testing.assert_allclose(
            hog(image[0]).flatten().numpy(), right, atol=1e-6
        )  # it sums in float32


def test_scenes() -> None:
    for scene in Shapes(3):
        image = scene["image"].double()
        right = reference(
            image.permute(1, 2, 0).numpy(),
            pixels_per_cell=(4, 4),
            cells_per_block=(2, 2),
            channel_axis=2,
        )
        np.testing.assert_allclose(
            hog(image, cell=4).flatten().numpy(), right, atol=1e-6
        )  # it sums in float32


def plain_shared_votes(image: torch.Tensor, cell: int, bins: int) -> np.ndarray:
    """Every pixel's vote shared between two bins, two rows and two columns of cells."""
    up, across = (g[0].numpy() for g in gradients(image[None]))
    rows, columns = up.shape[0] // cell, up.shape[1] // cell
    result = np.zeros((bins, rows, columns))
    for y in range(up.shape[0]):
        for x in range(up.shape[1]):
            length = math.hypot(up[y, x], across[y, x])
            angle = math.degrees(math.atan2(up[y, x], across[y, x])) % 180
            places = (angle / (180 / bins) - 0.5, (y + 0.5) / cell - 0.5, (x + 0.5) / cell - 0.5)
            for corner in np.ndindex(2, 2, 2):
                index = [math.floor(p) + c for p, c in zip(places, corner, strict=True)]
                share = math.prod(1 - abs(p - i) for p, i in zip(places, index, strict=True))
                if 0 <= index[1] < rows and 0 <= index[2] < columns:
                    result[index[0] % bins, index[1], index[2]] += share * length / cell**2
    return result


@pytest.mark.parametrize("cell", [1, 4, 5, 8])
def test_shared_votes(cell: int) -> None:
    image = torch.from_numpy(np.random.default_rng(2).uniform(size=(3, 27, 33)))
    mine = cell_histograms(image[None], cell, 9, interpolate=True)[0]
    np.testing.assert_allclose(mine.numpy(), plain_shared_votes(image, cell, 9), atol=1e-12)


def test_shared_votes_change_little_when_an_edge_moves() -> None:
    """What they are for: one pixel to the side moves less of the vector."""
    y = torch.arange(48, dtype=torch.float64)
    edges = [((y >= at).double().expand(48, 48)) for at in (24, 25)]
    plain, shared = (
        float((hog(edges[0], interpolate=s) - hog(edges[1], interpolate=s)).norm())
        for s in (False, True)
    )
    assert shared < 0.6 * plain


def test_errors() -> None:
    with pytest.raises(TypeError, match="floating point"):
        hog(torch.zeros(32, 32, dtype=torch.uint8))
    with pytest.raises(TypeError, match="ndarray"):
        hog(np.zeros((32, 32)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must be \\(H, W\\)"):
        hog(torch.zeros(5))
    with pytest.raises(ValueError, match="needs 16 px"):
        hog(torch.zeros(15, 32))
    with pytest.raises(ValueError, match="bins is 0"):
        hog(torch.zeros(32, 32), bins=0)
