"""Digits of which one half is hidden."""

from __future__ import annotations

import pytest
import torch

from lessons_lib.data import Digits, HalfDigits
from lessons_lib.data.half_digits import visible_half


@pytest.mark.parametrize("hidden", ["bottom", "top", "left", "right"])
def test_the_hidden_half_is_not_in_the_condition(hidden: str) -> None:
    data, whole = HalfDigits("test", hidden=hidden), Digits("test")  # type: ignore[arg-type]
    assert len(data) == len(whole) == 445
    for i in (0, 7, 444):
        sample = data[i]
        shown, visible = sample["image"]
        assert sample["image"].shape == (2, 8, 8) and sample["image"].dtype == torch.float32
        assert torch.equal(sample["target"], whole[i]["image"])
        assert sample["label"] == whole[i]["label"] and sample["id"] == whole[i]["id"]
        assert visible.sum() == 32 and set(visible.unique().tolist()) == {0, 1}
        assert (shown[visible == 0] == 0).all()
        assert torch.equal(shown[visible == 1], sample["target"][0][visible == 1])
        whole_rows, whole_columns = visible.amin(1).sum(), visible.amin(0).sum()
        across = hidden in ("left", "right")
        assert (whole_rows, whole_columns) == ((0, 4) if across else (4, 0))


def test_halves_complement_each_other() -> None:
    assert torch.equal(visible_half("top") + visible_half("bottom"), torch.ones(1, 8, 8))
    assert torch.equal(visible_half("left") + visible_half("right"), torch.ones(1, 8, 8))
    assert visible_half("bottom")[0, 0].all() and visible_half("left")[0, :, 7].all()


def test_any_half_depends_on_seed_and_index_only() -> None:
    first, second = (HalfDigits("train", hidden="any", length=400, seed=3) for _ in range(2))
    other = HalfDigits("train", hidden="any", length=400, seed=4)
    masks = [first[i]["image"][1] for i in range(400)]
    backwards = [second[i]["image"][1] for i in reversed(range(400))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(masks, backwards, strict=True))
    assert any(not torch.equal(masks[i], other[i]["image"][1]) for i in range(20))
    counts = [
        sum(torch.equal(m, visible_half(h)[0]) for m in masks)  # type: ignore[arg-type]
        for h in ("bottom", "top", "left", "right")
    ]
    assert sum(counts) == 400 and min(counts) > 70


def test_shifts_are_those_of_digits() -> None:
    moved = HalfDigits("train", length=3000, max_shift=1, seed=5)
    plain = Digits("train", length=3000, max_shift=1, seed=5)
    assert torch.equal(moved[2000]["target"], plain[2000]["image"])


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="hidden is 'middle'; it must be one of"):
        HalfDigits(hidden="middle")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="hidden is 'any'; it must be one of"):
        visible_half("any")
    with pytest.raises(ValueError, match="split is 'dev'"):
        HalfDigits("dev")  # type: ignore[arg-type]
    with pytest.raises(IndexError):
        HalfDigits("test")[445]
