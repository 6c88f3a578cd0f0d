"""Shapes and context scenes: every truth from one drawing, the same on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from lessons_lib.data import ContextScenes, Shapes

SETS = {"shapes": Shapes, "context": ContextScenes}


@pytest.mark.parametrize("name", SETS)
def test_a_sample_is_a_function_of_seed_and_index(name: str) -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    before = torch.get_rng_state()
    first = [SETS[name](4, seed=3)[i] for i in range(4)]
    longer = SETS[name](1000, seed=3)
    again = [longer[i] for i in (3, 2, 1, 0)][::-1]
    assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(first, again, strict=True):
        assert a.keys() == b.keys()
        for key, value in a.items():
            same = (
                torch.equal(value, b[key]) if isinstance(value, torch.Tensor) else value == b[key]
            )
            assert same, key
    others = [SETS[name](4, seed=4)[i] for i in range(4)]
    pictures = torch.stack([sample["image"] for sample in [*first, *others]])
    assert len(pictures.unique(dim=0)) == 8


@pytest.mark.parametrize("name", SETS)
def test_types_and_ranges(name: str) -> None:
    data = SETS[name](6)
    size = data.size
    for sample in [data[i] for i in range(6)]:
        assert sample["image"].dtype == torch.float32
        assert sample["image"].shape == (3, size, size)
        assert 0 <= float(sample["image"].min()) < float(sample["image"].max()) <= 1
        for key in ("semantic", "instances"):
            assert sample[key].dtype == torch.int64 and sample[key].shape == (size, size)
        assert int(sample["semantic"].max()) < len(data.CLASSES)
    with pytest.raises(IndexError, match="index is 6"):
        data[6]


def test_shapes_agree_with_each_other() -> None:
    data = Shapes(40, count=(0, 8), seed=1)
    seen = set()
    for i in range(40):
        s = data[i]
        count = len(s["labels"])
        assert s["boxes"].shape == (count, 4) and s["masks"].shape == (count, 128, 128)
        ids = torch.arange(1, count + 1)
        assert torch.equal(s["instances"].unique()[s["instances"].unique() > 0], ids)
        assert torch.equal(s["masks"], s["instances"] == ids[:, None, None])
        classes = torch.cat([torch.zeros(1, dtype=torch.int64), s["labels"]])
        assert torch.equal(s["semantic"], classes[s["instances"]])
        if count:  # torchvision's boxes include their last pixel, ours end after it
            inclusive = torchvision.ops.masks_to_boxes(s["masks"])
            expected = inclusive + torch.tensor([0, 0, 1, 1])
            assert torch.equal(s["boxes"], expected)
        seen |= set(s["labels"].tolist())
    assert seen == {1, 2, 3, 4, 5}
    assert any(len(data[i]["labels"]) == 0 for i in range(40)), "no empty picture among 40"


def test_every_thing_stays_visible() -> None:
    """Alone in its picture a thing has its whole area; among others at least the share."""
    data = Shapes(30, size=96, count=8, min_visible=0.5, noise=0, rotate=0, radius=(12, 12))
    whole = {"circle": np.pi * 144, "square": 288, "triangle": 187, "star": 230}
    for i in range(30):
        s = data[i]
        for label, mask in zip(s["labels"].tolist(), s["masks"], strict=True):
            if Shapes.CLASSES[label] in whole:
                assert float(mask.sum()) >= 0.45 * whole[Shapes.CLASSES[label]]


@pytest.mark.parametrize(
    ("label", "area"), [("circle", np.pi * 400), ("square", 800.0), ("triangle", 519.6)]
)
def test_areas_are_those_of_geometry(label: str, area: float) -> None:
    data = Shapes(60, count=1, radius=(20, 20), seed=2)
    index = Shapes.CLASSES.index(label)
    found = [
        int(s["masks"][0].sum()) for i in range(60) if int((s := data[i])["labels"][0]) == index
    ]
    assert len(found) >= 3
    # the outline's own pixels are drawn too: half a pixel all around
    assert np.mean(found) == pytest.approx(area, rel=0.12)


def test_rods_are_thin_and_upright_ones_lie_or_stand() -> None:
    data = Shapes(80, count=1, rod_width=(4, 4), rotate=0)
    rods = [s for i in range(80) if int((s := data[i])["labels"][0]) == 5]
    assert len(rods) >= 5
    for rod in rods:
        x1, y1, x2, y2 = rod["boxes"][0].tolist()
        assert 4 <= min(x2 - x1, y2 - y1) <= 6 and max(x2 - x1, y2 - y1) >= 20


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"length": -1}, "length is -1"),
        ({"size": 4}, "size is 4"),
        ({"count": (3, 2)}, r"count is \(3, 2\)"),
        ({"radius": (0, 5)}, "radius is 0"),
        ({"radius": (10, 70)}, r"radius is \(10, 70\)"),
        ({"rod_width": (4, 3)}, r"rod_width is \(4, 3\)"),
        ({"min_visible": 1.5}, "min_visible is 1.5"),
        ({"rotate": -1.0}, "rotate is -1.0"),
        ({"noise": -0.1}, "noise is -0.1"),
    ],
)
def test_bad_arguments_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Shapes(**options)


def test_only_the_strip_tells_a_boat_from_a_car() -> None:
    data = ContextScenes(60, seed=5)
    boats = cars = 0
    for i in range(60):
        s = data[i]
        present = set(s["semantic"].unique().tolist())
        water = 1 in present
        assert (2 in present) != water
        vehicles = s["instances"] > 0
        assert set(s["semantic"][vehicles].tolist()) <= {3 if water else 4}
        assert torch.equal(vehicles, s["semantic"] >= 3)
        boats, cars = boats + water, cars + (not water)
        strip = ((s["semantic"] == 1) | (s["semantic"] == 2)).nonzero()
        for y, x in vehicles.nonzero()[::50]:
            nearest = (strip - torch.stack([y, x])).abs().max(1).values.min()
            assert int(nearest) > 56
    assert min(boats, cars) >= 20


def test_boats_and_cars_have_one_distribution() -> None:
    """Mean colour and size of the vehicles differ between the classes no more than by chance."""
    data = ContextScenes(300, seed=6, noise=0)
    rows: dict[int, list[list[float]]] = {3: [], 4: []}
    for i in range(300):
        s = data[i]
        for k in range(1, int(s["instances"].max()) + 1):
            mask = s["instances"] == k
            label = int(s["semantic"][mask][0])
            rows[label].append([*s["image"][:, mask].mean(1).tolist(), float(mask.sum())])
    a, b = (np.array(rows[label]) for label in (3, 4))
    error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
    assert (np.abs(a.mean(0) - b.mean(0)) < 4 * error).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"length": -1}, "length is -1"),
        ({"count": (2, 1)}, r"count is \(2, 1\)"),
        ({"strip": 1}, "strip is 1"),
        ({"size": 100}, "size is 100"),
    ],
)
def test_bad_arguments_of_context_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ContextScenes(**options)
