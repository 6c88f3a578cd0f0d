"""Instances found in tiles and joined are those of the whole picture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.measure import label
from torch import Tensor, nn

from lessons_lib.data import open_picture
from lessons_lib.embedding import cluster_spatial, match_instances
from lessons_lib.predict import Found, Tile, find_in_tiles, predict_picture
from lessons_lib.predict.tiles import plan_tiles, spans
from lessons_lib.recipes import get_recipe
from lessons_lib.training import load_weights
from tests.test_predict import Bright, Threshold

Labels = NDArray[np.integer]


def same(a: Labels, b: Labels) -> bool:
    """Whether two label maps are equal up to the numbers of their instances."""
    pairs = np.unique(np.stack([a.ravel(), b.ravel()]), axis=1)
    if ((pairs[0] == 0) != (pairs[1] == 0)).any():
        return False
    return len(np.unique(pairs[0])) == pairs.shape[1] == len(np.unique(pairs[1]))


def cut_out(truth: Labels, seed: int = 0) -> Callable[[Tile], Found]:
    """A perfect find: the true instances in what is kept of a tile, numbered anew in any order."""
    rng = np.random.default_rng(seed)

    def find(tile: Tile) -> Found:
        part = truth[tile.kept]
        ids, compact = np.unique(np.append(part.ravel(), 0), return_inverse=True)
        new = np.append(0, rng.permutation(len(ids) - 1) + 1)
        return Found(new[compact[:-1]].reshape(part.shape))

    return find


def random_sizes(rng: np.random.Generator) -> dict[str, int]:
    margin = int(rng.integers(0, 4))
    overlap = 2 * margin + 2 + int(rng.integers(0, 12))
    return {"tile": 2 * overlap + int(rng.integers(0, 20)), "overlap": overlap, "margin": margin}


def random_truth(rng: np.random.Generator) -> tuple[Labels, NDArray[np.bool_], int]:
    """Instances of any shape and size, from specks to mazes through all tiles; foreground; connectivity."""
    height, width = rng.integers(1, 110, 2)
    noise = gaussian_filter(rng.standard_normal((height, width)), rng.choice([0, 0.7, 1.5, 3, 6]))
    connectivity = int(rng.integers(1, 3))
    foreground = noise > np.quantile(noise, rng.choice([0.3, 0.5, 0.7, 0.9]))
    if rng.random() < 0.5:
        return label(foreground, connectivity=connectivity), foreground, connectivity
    levels = np.digitize(noise, np.quantile(noise, [0.3, 0.5, 0.7]))  # these touch each other
    background = -1 if rng.random() < 0.5 else 0
    return label(levels, background=background, connectivity=connectivity), levels > 0, 0


@pytest.mark.parametrize("seed", range(4))
def test_equal_to_the_whole_whatever_the_shapes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(100):
        truth, foreground, connectivity = random_truth(rng)

        def components(
            tile: Tile, mask: NDArray[np.bool_] = foreground, connectivity: int = connectivity
        ) -> Found:  # what two arms of one object are, a tile cannot know
            return Found(label(mask[tile.kept], connectivity=connectivity))

        sizes = random_sizes(rng)
        find = components if connectivity and rng.random() < 0.5 else cut_out(truth, seed)
        result = find_in_tiles(find, truth.shape, **sizes)
        assert result.instances.dtype == np.int32
        assert result.scores is None and result.labels is None
        assert same(result.instances, truth), (truth.shape, sizes)
        # without scores they are numbered in reading order
        firsts = [int((result.instances.ravel() == k).argmax()) for k in range(1, truth.max() + 1)]
        assert firsts == sorted(firsts)


def spiral(size: int) -> Labels:
    y, x = np.mgrid[:size, :size] - size / 2
    turn = np.hypot(x, y) / 14 - np.arctan2(y, x) / (2 * np.pi)
    return label(turn % 1 < 0.4, connectivity=1)


@pytest.mark.parametrize(
    "truth",
    [
        spiral(150),
        np.ones((90, 140), int),
        np.zeros((90, 140), int),
        np.arange(80)[:, None] // 3
        + np.ones((80, 160), int),  # stripes through all tiles, touching
        np.ones((1, 1), int),
        np.pad(np.ones((1, 120), int), 10),
    ],
    ids=["spiral", "full", "empty", "stripes", "pixel", "line"],
)
def test_objects_larger_than_a_tile(truth: Labels) -> None:
    for sizes in (
        {"tile": 40, "overlap": 14, "margin": 3},
        {"tile": 32, "overlap": 16},
        {"tile": 31, "overlap": 2},
    ):
        assert same(find_in_tiles(cut_out(truth), truth.shape, **sizes).instances, truth)


def test_spatial_embeddings_made_from_the_truth() -> None:
    """Clusters of perfect offsets, tile by tile, are the clusters of the whole: the grid may begin anywhere."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        height, width = (int(v) for v in rng.integers(80, 150, 2))
        y, x = np.mgrid[:height, :width]
        truth = np.zeros((height, width), int)
        for k in range(1, 30):
            radius, cy, cx = rng.uniform(3, 9), rng.uniform(0, height), rng.uniform(0, width)
            truth[np.hypot(y - cy, x - cx) < radius] = k
        offset = np.zeros((2, height, width))
        for k in np.unique(truth[truth > 0]):
            mask = truth == k
            for axis, place in enumerate((x, y)):
                middle = place[mask].mean() + 0.01 * k  # so that no two share a centre
                offset[axis][mask] = np.arctanh((middle - place[mask]) / 64)
        outputs = {
            "offset": torch.from_numpy(offset).float(),
            "sigma": torch.full((1, height, width), float(np.log(np.log(2) * 64**2 / 0.3**2) / 10)),
            "seed": torch.from_numpy(np.where(truth > 0, 5.0, -5.0))[None].float(),
        }

        def find(tile: Tile, outputs: Mapping[str, Tensor] = outputs) -> Found:
            part = {name: value[(slice(None), *tile.kept)] for name, value in outputs.items()}
            found = cluster_spatial(part, unit=64)
            return Found(found.instances.numpy(), found.scores.numpy(), found.labels.numpy())

        whole = cluster_spatial(outputs, unit=64).instances.numpy()
        assert same(whole, truth)
        tiled = find_in_tiles(find, (height, width), tile=64, overlap=24)
        assert same(tiled.instances, whole) and tiled.scores is not None
        assert len(tiled.scores) == whole.max() and (tiled.labels == 1).all()


class Blur(Bright):
    """Bright after a mean over 7 x 7 px, whose zero padding darkens every border: it sees 3 px around."""

    def prepare(self, image: Tensor, options: Mapping[str, Any], statistics: Any = None) -> Tensor:
        bright = image.amax(0).numpy()
        return torch.from_numpy(uniform_filter(bright, 7, mode="constant"))[None]


@pytest.mark.parametrize("sizes", [(48, 16), (96, 32), (64, 32), (160, 32)])
def test_a_network_that_sees_beyond_a_border(sizes: tuple[int, int], tmp_path: Path) -> None:
    """What a tile's own border spoils is thrown away, before instances are made."""
    rng = np.random.default_rng(0)
    for height, width in [(150, 211), (41, 97), (30, 90), (33, 20)]:
        noise = gaussian_filter(rng.standard_normal((height, width)), 3)
        pixels = np.where(noise > np.quantile(noise, 0.7), 230, 40).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "a.png"), pixels)
        model = Threshold().requires_grad_(False)
        model.threshold.fill_(0.45)
        with open_picture(tmp_path / "a.png") as picture:
            whole = predict_picture(Blur(), model, {}, picture, tile=1024)["instances"].numpy()
            tile, overlap = sizes  # of the overlap a quarter is thrown away: 4 px or more
            tiled = predict_picture(Blur(), model, {}, picture, tile=tile, overlap=overlap)
        assert whole.max() > 0 and same(tiled["instances"].numpy(), whole)


def two_tiles(left: Labels, right: Labels, **rest: Any) -> Found:
    """What becomes of two tiles of 40 x 60, of which columns 40 to 59 are common (so 50 is the border)."""
    views = {0: left, 40: right}

    def find(tile: Tile) -> Found:
        return Found(views[tile.x.start], **{k: v[tile.x.start] for k, v in rest.items()})

    return find_in_tiles(find, (40, 100), tile=60, overlap=20)


def bar(*boxes: tuple[int, int, int, int], offset: int) -> Labels:
    """A tile of 40 x 60 px that begins at column ``offset``: instances as y1, y2, x1, x2 of the picture."""
    tile = np.zeros((40, 60), int)
    for k, (y1, y2, x1, x2) in enumerate(boxes, 1):
        tile[y1:y2, max(0, x1 - offset) : max(0, x2 - offset)] = k
    return tile


def test_two_that_one_tile_takes_for_one_stay_two() -> None:
    left = bar((10, 20, 20, 60), offset=0)
    right = bar((10, 15, 40, 90), (15, 20, 40, 90), offset=40)
    found = two_tiles(left, right).instances
    assert (
        found[12, 80] != found[17, 80]
    )  # neither joins, for neither makes more than half of the other
    upper = bar((10, 17, 40, 90), (17, 20, 40, 90), offset=40)
    found = two_tiles(left, upper).instances  # now one does
    assert found[12, 80] == found[12, 30] and found[18, 80] != found[12, 80]
    assert found.max() == 2


def test_a_whole_object_is_taken_from_one_tile_as_it_is() -> None:
    """Each tile sees the object shifted a little; the result is one of the views, not both together."""
    for shift in (-2, -1, 0, 1, 2):
        for x in range(35, 60):
            left = bar((10, 20, x, x + 9), offset=0)
            right = bar((10, 20, x + shift, x + shift + 9), offset=40)
            if x + 9 > 60:
                left = bar(offset=0)
            if x + shift < 40:
                right = bar(offset=40)
            found = two_tiles(left, right).instances
            assert found.max() == 1 and (found > 0).sum() == 90, (x, shift)


def test_what_only_the_other_tile_sees() -> None:
    whole = bar((10, 20, 51, 58), offset=0)  # its middle is beyond the border
    assert (two_tiles(whole, bar(offset=40)).instances > 0).sum() == 70
    cut = bar(
        (10, 20, 51, 60), offset=0
    )  # the right tile sees more of it, and says that nothing is there
    assert not two_tiles(cut, bar(offset=40)).instances.any()
    other = bar((8, 22, 50, 70), offset=40)  # it sees something else there
    found = two_tiles(whole, other).instances
    assert found.max() == 1 and (found > 0).sum() == 14 * 20


def test_scores_and_labels_are_of_the_view_with_most_pixels() -> None:
    left = bar((10, 20, 30, 60), (30, 35, 5, 9), offset=0)
    right = bar((10, 20, 40, 95), (2, 5, 70, 75), offset=40)
    found = two_tiles(
        left,
        right,
        scores={0: np.array([0.9, 0.5]), 40: np.array([0.7, 0.8])},
        labels={0: np.array([1, 2]), 40: np.array([3, 4])},
    )
    assert found.scores is not None and found.labels is not None
    assert found.scores.dtype == np.float32 and found.labels.dtype == np.int64
    assert found.scores.tolist() == pytest.approx([0.8, 0.7, 0.5])
    assert found.labels.tolist() == [4, 3, 2]
    assert found.instances[3, 72] == 1 and found.instances[15, 31] == found.instances[15, 94] == 2
    assert found.instances[32, 6] == 3


def test_tiles_cover_the_picture() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        length, sizes = int(rng.integers(1, 300)), random_sizes(rng)
        tile, overlap, margin = sizes.values()
        found = spans(length, tile, overlap, margin)
        assert [s.start for s in found] == [k * (tile - overlap) for k in range(len(found))]
        assert found[0].inner_start == 0 and found[-1].inner_stop == found[-1].stop == length
        assert all(s.stop - s.start == tile for s in found[:-1])
        assert len(found) == 1 or overlap < found[-1].stop - found[-1].start <= tile
        for a, b in pairwise(found):
            assert a.inner_stop - b.inner_start == overlap - 2 * margin
            assert a.home[1] == b.home[0] == a.inner_stop + b.inner_start
    rows = list(plan_tiles(50, 120, tile=48, overlap=16, margin=4))
    assert [[t.window[1].start for t in row] for row in rows] == [[0, 32, 64, 96]] * 2


@pytest.mark.parametrize(
    ("sizes", "rule"),
    [
        ({"tile": 40, "overlap": 10, "margin": 5}, "overlap is 10 and margin 5"),
        ({"tile": 40, "overlap": 21}, "tile is 40 and overlap 21"),
        ({"tile": 40, "overlap": 10, "margin": -1}, "margin is -1"),
    ],
)
def test_sizes_that_cannot_be(sizes: dict[str, int], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        find_in_tiles(cut_out(np.zeros((9, 9), int)), (9, 9), **sizes)


def test_a_find_of_the_wrong_size() -> None:
    with pytest.raises(ValueError, match=r"find gave int64 \(4, 4\).*expected integers \(9, 9\)"):
        find_in_tiles(lambda tile: Found(np.zeros((4, 4), int)), (9, 9), tile=20, overlap=4)


def blobs(size: int, count: int) -> NDArray[np.uint8]:
    """Soft bright discs on a dark ground, some of which touch: like fluorescent nuclei."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    light = np.full((size, size), 12.0)
    for _ in range(count):
        (cy, cx), radius = rng.uniform(0, size, 2), rng.uniform(6, 11)
        light += rng.uniform(60, 120) / (1 + np.exp(1.5 * (np.hypot(y - cy, x - cx) - radius)))
    return np.clip(light + rng.normal(0, 2, light.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["nuclei-discriminative", "nuclei-spatial"])
def test_trained_weights_in_tiles_and_whole(name: str, tmp_path: Path) -> None:
    """A network that sees further than the margin does not agree to the pixel, but nearly."""
    recipe = get_recipe(name)
    try:
        model, facts = load_weights(recipe)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    cv2.imwrite(str(tmp_path / "a.png"), blobs(320, 110))
    with open_picture(tmp_path / "a.png") as picture:
        found = [
            predict_picture(recipe, model, facts["options"], picture, tile=tile, overlap=overlap)
            for tile, overlap in [(320, 160), (192, 64)]
        ]
    whole, tiled = (prediction["instances"].long() for prediction in found)
    assert whole.max() > 50
    assert match_instances(tiled, whole).f1 > 0.95
    assert match_instances(tiled, whole, 0.9).f1 > 0.8


def test_outputs_that_are_not_instances(tmp_path: Path) -> None:
    """A recipe that takes pictures whole does so, up to a size."""
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((60, 70), np.uint8))

    class Semantic(Bright):
        def predict(self, outputs: dict[str, Tensor], options: Any) -> list[dict[str, Tensor]]:
            return [{"semantic": (outputs["score"][0, 0] > 0).long()}]

    model: nn.Module = Threshold()
    with open_picture(tmp_path / "a.png") as picture:
        found = predict_picture(Semantic(), model, {}, picture, tile=48, overlap=16)
        assert found["semantic"].shape == (60, 70)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lessons_lib.predict.pictures.LARGEST_WHOLE", 4000)
            with pytest.raises(ValueError, match=r"60 x 70 pixels are too many for recipe bright"):
                predict_picture(Semantic(), model, {}, picture, tile=48, overlap=16)
            in_tiles = predict_picture(Blur(), model, {}, picture, tile=48, overlap=16)
    assert in_tiles["instances"].shape == (60, 70)
