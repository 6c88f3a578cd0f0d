"""The synthetic scenes: the same on every machine and in every process, and drawn as they say."""

from __future__ import annotations

import statistics
import time
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from lessons_lib.data import Sticks
from lessons_lib.data.sticks import Scene

SMALL: dict[str, Any] = {
    "size": 64,
    "count": 4,
    "width": 6,
    "stick_length": (20, 26),
    "min_visible": 40,
    "margin": 16,
}


def same(a: Scene, b: Scene) -> bool:
    names = ("image", "semantic", "instances")
    return a["id"] == b["id"] and all(torch.equal(a[name], b[name]) for name in names)


def test_a_sample_is_a_function_of_seed_and_index() -> None:
    first = [Sticks(6, seed=3, **SMALL)[i] for i in range(6)]
    longer = Sticks(1000, seed=3, **SMALL)
    backwards = [longer[i] for i in reversed(range(6))][::-1]
    assert all(same(a, b) for a, b in zip(first, backwards, strict=True))
    others = [Sticks(6, seed=4, **SMALL)[i] for i in range(6)]
    pictures = torch.stack([scene["instances"] for scene in [*first, *others]])
    assert len(pictures.unique(dim=0)) == 12
    assert len({scene["id"] for scene in [*first, *others]}) == 12


def test_workers_draw_the_same_samples() -> None:
    sticks = Sticks(7, seed=5, noise=0.1, **SMALL)
    # the workers are started afresh, so that nothing they hold comes from this process
    loader = DataLoader(
        sticks, batch_size=2, num_workers=2, collate_fn=list, multiprocessing_context="spawn"
    )
    drawn = [scene for batch in loader for scene in batch]
    assert all(same(a, b) for a, b in zip(drawn, [sticks[i] for i in range(7)], strict=True))


def test_global_random_state_is_neither_used_nor_changed() -> None:
    scenes = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
        scenes.append(Sticks(1, noise=0.2, **SMALL)[0])
        after = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
        assert torch.equal(before[0], after[0]) and before[1] == after[1]
    assert same(*scenes)


@pytest.mark.parametrize("options", [{}, SMALL, {**SMALL, "noise": 0.3}], ids=str)
def test_types_ranges_and_ids(options: dict[str, Any]) -> None:
    sticks = Sticks(5, **options)
    assert len(sticks) == 5
    size, count = sticks.size, sticks.count[1]
    for i in range(5):
        scene = sticks[i]
        image, instances = scene["image"], scene["instances"]
        assert image.dtype == torch.float32 and image.shape == (1, size, size)
        assert image.min() >= 0 and image.max() <= 1
        assert instances.dtype == scene["semantic"].dtype == torch.int64
        assert instances.shape == (size, size)
        assert torch.equal(scene["semantic"], (instances > 0).long())
        assert instances.unique().tolist() == list(range(count + 1))
        assert torch.bincount(instances.flatten())[1:].min() >= sticks.min_visible


def test_the_last_stick_lies_on_top_whole() -> None:
    sticks = Sticks(10, margin=60)  # far enough from the border that nothing is cut off
    for i in range(10):
        mask = sticks[i]["instances"].numpy() == 8
        y, x = mask.nonzero()
        _, sides, _ = cv2.minAreaRect(np.stack([x, y], 1).astype(np.float32))
        width, length = sorted(sides)
        assert abs(width - 15) < 1.5 and 80 - 1.5 < length < 99 + 1.5
        assert mask.sum() == pytest.approx(width * length, rel=0.05)


def test_later_sticks_lie_on_earlier_ones() -> None:
    """Between visible pixels of a stick is the stick itself, or one that was thrown later."""
    sticks = Sticks(20)
    hidden = 0
    for i in range(20):
        instances = sticks[i]["instances"].numpy()
        for k in range(1, 9):
            points = np.stack((instances == k).nonzero()[::-1], 1).astype(np.int32)
            hull = np.zeros(instances.shape, np.uint8)
            cv2.fillConvexPoly(hull, cv2.convexHull(points), 1)
            # without its rim, where OpenCV's lines may differ by a pixel
            inside = instances[cv2.erode(hull, np.ones((5, 5), np.uint8), borderValue=0) > 0]
            assert inside.min() >= k
            hidden += int((inside > k).sum())
    assert hidden > 1000, "no stick crosses another: the test shows nothing"


def test_white_sticks_with_and_without_outline() -> None:
    plain = Sticks(4, outline=0, **SMALL)
    drawn = Sticks(4, outline=1, **SMALL)
    for i in range(4):
        assert torch.equal(plain[i]["image"][0], plain[i]["semantic"].float())
        assert torch.equal(plain[i]["instances"], drawn[i]["instances"])
        image = drawn[i]["image"][0]
        assert set(image.unique().tolist()) == {0.0, 1.0}
        assert image[drawn[i]["semantic"] == 0].max() == 0
        assert 0.3 < image[drawn[i]["semantic"] == 1].mean() < 0.9


def test_noise() -> None:
    clean, noisy = Sticks(4, **SMALL), Sticks(4, noise=0.1, **SMALL)
    for i in range(4):
        assert torch.equal(clean[i]["instances"], noisy[i]["instances"])
        change = (noisy[i]["image"] - clean[i]["image"]).abs()
        # half of the noise is clipped away, at 0 and at 1 alike: the rest has |x| of mean 0.08
        assert 0.3 < (change > 0).float().mean() < 0.7
        assert change[change > 0].mean() == pytest.approx(0.1 * (2 / np.pi) ** 0.5, rel=0.1)


def test_range_of_counts() -> None:
    sticks = Sticks(60, **{**SMALL, "count": (0, 3)})
    counts = [int(sticks[i]["instances"].max()) for i in range(60)]
    assert set(counts) == {0, 1, 2, 3}


def test_no_sticks() -> None:
    scene = Sticks(1, count=0)[0]
    assert all(scene[name].sum() == 0 for name in ("image", "semantic", "instances"))


def test_index_out_of_range() -> None:
    sticks = Sticks(3, **SMALL)
    assert len(list(sticks)) == 3
    for index in (3, -1):
        with pytest.raises(IndexError, match=rf"index is {index}.*0\.\.2"):
            sticks[index]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("length", -1),
        ("size", 60),  # twice the margin
        ("count", -1),
        ("count", (-1, 3)),
        ("count", (3, 2)),
        ("width", 0),
        ("stick_length", (0, 10)),
        ("stick_length", (20, 19)),
        ("outline", -1),
        ("min_visible", -1),
        ("margin", -1),
        ("margin", 128),
        ("noise", -0.1),
        ("seed", -1),
    ],
)
def test_bad_arguments_are_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"\b{name}\b") as error:
        Sticks(**{name: value})
    number = min(value) if isinstance(value, tuple) else value
    assert str(number) in str(error.value)


def test_impossible_scenes() -> None:
    crowded = Sticks(1, size=16, count=9, width=3, stick_length=(4, 5), min_visible=100, margin=4)
    with pytest.raises(RuntimeError, match=r"9 sticks .* min_visible = 100"):
        crowded[0]


def test_speed() -> None:
    """Training draws scenes as it goes: a scene as large as the book's largest takes under 1 ms."""
    sticks = Sticks(200)
    batches = []
    for start in range(0, 200, 20):
        marks = [time.perf_counter()]
        for i in range(start, start + 20):
            sticks[i]
            marks.append(time.perf_counter())
        batches.append(statistics.median(after - before for before, after in pairwise(marks)))
    # the best batch: the others tell what else the machine was doing
    assert min(batches) < 1e-3
