"""The digits: whole, split by the rule that is stated, shifted by (seed, index) alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from lessons_lib.data import Digits
from lessons_lib.data.digits import shift


def test_all_of_scikit_learns() -> None:
    bunch = load_digits()
    digits = Digits()
    assert len(digits) == 1797
    for i in (0, 17, 1796):
        sample = digits[i]
        assert sample["image"].shape == (1, 8, 8) and sample["image"].dtype == torch.float32
        np.testing.assert_array_equal(sample["image"][0] * 16, bunch.images[i])
        assert sample["label"].dtype == torch.int64 and sample["label"].shape == ()
        assert int(sample["label"]) == bunch.target[i]
        assert sample["id"] == f"digits-{i}"


def test_split() -> None:
    target = load_digits().target
    train, test = Digits("train"), Digits("test")
    assert (len(train), len(test)) == (1352, 445)
    rows = [{int(d[i]["id"].split("-")[1]) for i in range(len(d))} for d in (train, test)]
    assert rows[0] | rows[1] == set(range(1797)) and not rows[0] & rows[1]
    for label in range(10):
        mine = np.flatnonzero(target == label)
        assert sorted(rows[1] & set(mine.tolist())) == mine[3::4].tolist()


def test_shifted_samples_depend_on_seed_and_index_only() -> None:
    short = Digits("train", length=50, max_shift=2, seed=3)
    long = Digits("train", length=4000, max_shift=2, seed=3)
    for i in (0, 49, 7):
        assert torch.equal(short[i]["image"], long[i]["image"])
    other = Digits("train", length=50, max_shift=2, seed=4)
    assert any(not torch.equal(short[i]["image"], other[i]["image"]) for i in range(9))
    plain = Digits("train")
    found = set()
    for i in range(200):
        again = long[i + 1352]
        assert again["id"] == plain[i]["id"]
        original = plain[i]["image"]
        fits = {
            (y, x)
            for y in range(-2, 3)
            for x in range(-2, 3)
            if torch.equal(shift(original, y, x), again["image"])
        }
        assert fits
        found |= fits if len(fits) == 1 else set()
    assert len(found) == 25


def test_shift_against_roll() -> None:
    image = torch.arange(1.0, 13.0).view(1, 3, 4)
    for down in range(-4, 5):
        for right in range(-5, 6):
            padded = torch.nn.functional.pad(image, (6, 6, 6, 6))
            expected = padded.roll((down, right), (-2, -1))[..., 6:-6, 6:-6]
            assert torch.equal(shift(image, down, right), expected)


def test_a_sample_is_the_readers_own() -> None:
    digits = Digits("test")
    digits[0]["image"].zero_()
    assert digits[0]["image"].sum() > 0 and Digits("test")[0]["image"].sum() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "val"}, "split is 'val'"),
        ({"length": -1}, "length is -1"),
        ({"max_shift": -1}, "max_shift is -1"),
        ({"seed": -1}, "seed is -1"),
    ],
    ids=["split", "length", "max_shift", "seed"],
)
def test_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        Digits(**arguments)


def test_past_the_end() -> None:
    for index in (-1, 445):
        with pytest.raises(IndexError, match=r"it must be in 0\.\.444"):
            Digits("test")[index]
