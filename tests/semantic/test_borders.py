"""The border weight map against its formula, with plain distance transforms of whole pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt
from skimage.measure import label

from lessons_lib.semantic import border_weight_map, separate_touching


def plain(instances: np.ndarray, w0: float, sigma: float) -> np.ndarray:
    """Equation 2 of the paper, one distance transform a cell."""
    ids = [k for k in np.unique(instances) if k]
    distances = [distance_transform_edt(instances != k) for k in ids]
    distances += [np.full(instances.shape, np.inf)] * (2 - min(2, len(ids)))
    first, second = np.sort(np.stack(distances), 0)[:2]
    gap = w0 * np.exp(-((first + second) ** 2) / (2 * sigma**2))
    return np.where(instances == 0, 1 + gap, 1)


def cells(seed: int, size: tuple[int, int] = (80, 100), count: int = 25) -> np.ndarray:
    rng = np.random.default_rng(seed)
    instances = np.zeros(size, np.int64)
    y, x = np.mgrid[: size[0], : size[1]]
    for k in range(1, count + 1):
        cy, cx, r = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(2, 9)
        instances[(y - cy) ** 2 + (x - cx) ** 2 <= r * r] = k
    return instances


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("w0", "sigma"), [(10.0, 5.0), (3.0, 2.0)])
def test_equals_the_formula(seed: int, w0: float, sigma: float) -> None:
    instances = cells(seed, count=10 + 8 * seed)
    found = border_weight_map(torch.from_numpy(instances), w0=w0, sigma=sigma)
    assert found.dtype == torch.float32 and found.shape == instances.shape
    expected = plain(instances, w0, sigma)
    assert np.abs(found.numpy() - expected).max() <= 5.1e-4 * w0
    assert found.max() > 1.5, "no gap among these cells: the test would show nothing"


def test_by_hand() -> None:
    """Two cells with three background columns between them: d1 + d2 = 4 in each of them."""
    instances = torch.zeros(5, 9, dtype=torch.int64)
    instances[:, :3], instances[:, 6:] = 1, 2
    expected = 1 + 10 * np.exp(-16 / 50)
    torch.testing.assert_close(
        border_weight_map(instances)[:, 3:6], torch.full((5, 3), expected, dtype=torch.float32)
    )


@pytest.mark.parametrize("ids", [[], [1], [7]])
def test_fewer_than_two_cells_weigh_one(ids: list[int]) -> None:
    instances = torch.zeros(6, 7, dtype=torch.int64)
    for k in ids:
        instances[2:4, 2:4] = k
    assert torch.equal(border_weight_map(instances), torch.ones(6, 7))


def test_a_batch_is_its_pictures() -> None:
    batch = torch.from_numpy(np.stack([cells(1), cells(2)]))
    found = border_weight_map(batch)
    assert torch.equal(found[1], border_weight_map(batch[1])) and found.shape == batch.shape


def neighbours_differ(labels: np.ndarray) -> np.ndarray:
    """A pixel of a cell with another cell among its eight neighbours, by a plain loop."""
    padded = np.pad(labels, 1)
    out = np.zeros(labels.shape, bool)
    for y, x in np.argwhere(labels > 0):
        window = padded[y : y + 3, x : x + 3]
        out[y, x] = bool(((window > 0) & (window != labels[y, x])).any())
    return out


@pytest.mark.parametrize("seed", range(4))
def test_separated_cells_are_pieces(seed: int) -> None:
    instances = cells(seed, count=40)
    apart = separate_touching(torch.from_numpy(instances)).numpy()
    np.testing.assert_array_equal(apart, np.where(neighbours_differ(instances), 0, instances))
    for k in np.unique(label(apart > 0, connectivity=2)):
        inside = np.unique(apart[(label(apart > 0, connectivity=2) == k) & (apart > 0)])
        assert len(inside) <= 1
    untouched = np.zeros((9, 9), np.int64)
    untouched[1:4, 1:4] = 5
    np.testing.assert_array_equal(separate_touching(torch.from_numpy(untouched)), untouched)


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [((3,), {}, "shape"), ((3, 3), {"w0": -1}, "w0 is -1"), ((3, 3), {"sigma": 0}, "sigma 0")],
)
def test_bad_arguments_are_named(shape: tuple, options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        border_weight_map(torch.zeros(shape, dtype=torch.int64), **options)
