"""Proposals once a picture: cached, mirrored with it, the same for every seed and position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from lessons_lib.data import Shapes
from lessons_lib.detection.proposals import Proposed, Search, mirror_sample


class Counting:
    """A search that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, image: Tensor) -> Tensor:
        self.calls += 1
        return torch.tensor([[1.0, 2.0, 11.0, 22.0]]) + self.calls - 1


def equal(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(v, b[k]) if isinstance(v, Tensor) else v == b[k] for k, v in a.items()
    )


def test_each_picture_is_searched_once() -> None:
    search = Counting()
    data = Proposed(Shapes(3, size=64, radius=(8, 16)), search, length=20, flip=True)
    first = [data[i] for i in range(20)]
    again = data.mirrored(20, 0)
    assert all(equal(a, again[i]) for i, a in enumerate(first))
    assert data.first(2)[1]["id"] == first[1]["id"] and len(data.first(100)) == 3
    assert search.calls == 3


def test_a_sample_depends_on_seed_and_position_only() -> None:
    scenes = Shapes(3, size=64, radius=(8, 16))
    one = Proposed(scenes, length=12, flip=True, seed=4)
    other = Proposed(scenes, length=40, flip=True, seed=4)
    backwards = [other[i] for i in reversed(range(12))][::-1]
    assert all(equal(one[i], backwards[i]) for i in range(12))
    turned = [not torch.equal(one[i]["image"], scenes[i % 3]["image"]) for i in range(12)]
    assert 2 <= sum(turned) <= 10
    seeds = [Proposed(scenes, length=12, flip=True, seed=s)[0]["image"] for s in range(8)]
    assert any(not torch.equal(seeds[0], image) for image in seeds)
    assert torch.equal(Proposed(scenes)[1]["image"], scenes[1]["image"]), "not mirrored by default"


def test_the_mirror_turns_boxes_with_the_picture() -> None:
    scene = Shapes(1, size=64, radius=(8, 16))[0]
    sample = {k: scene[k] for k in ("image", "boxes", "labels", "id")}
    sample["proposals"] = scene["boxes"] + 0.5
    turned = mirror_sample(sample)
    masks = scene["masks"].flip(-1)
    for box, mask in zip(turned["boxes"].tolist(), masks, strict=True):
        y, x = mask.nonzero().unbind(1)
        expected = [int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1]
        assert box == expected
    assert equal(mirror_sample(turned), sample)


def test_the_search_is_selective_search() -> None:
    image = Shapes(1)[0]["image"]
    found = Search(most=30)(image)
    assert found.shape == (30, 4) and found[0].tolist() == [0, 0, 128, 128]
    assert float((found[:, 2:] - found[:, :2]).min()) >= Search().smallest


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="length is -1"):
        Proposed(Shapes(1), length=-1)
    with pytest.raises(IndexError, match=r"index is 2; it must be in 0\.\.1"):
        Proposed(Shapes(1), length=2)[2]
