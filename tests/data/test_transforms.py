"""Joint transforms: labels stay labels, stay on their picture, and repeat by (seed, index)."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from torchvision.tv_tensors import Mask

from lessons_lib.data import Augmented, random_scale_crop
from lessons_lib.data.transforms import resize, seeded

VALUES = (0, 3, 7, 11, 19)  # odd numbers out: the mean of two of them is none of them


class Coded(Dataset[dict[str, Any]]):
    """Blobs of a few classes; the image's three channels say which class, instance and depth."""

    def __init__(self, count: int = 5, size: tuple[int, int] = (40, 56), ignored: bool = True):
        rng = np.random.default_rng(0)
        self.samples = []
        for number in range(count):
            coarse = rng.integers(0, len(VALUES), (size[0] // 8, size[1] // 8))
            which = torch.from_numpy(coarse).repeat_interleave(8, 0).repeat_interleave(8, 1)
            semantic = torch.tensor(VALUES)[which]
            image = torch.stack([which / 10 + 0.1, which / 20 + 0.2, which / 5 + 0.1])
            if ignored:
                semantic[:4, :4] = 255
            self.samples.append(
                {
                    "image": image.float(),
                    "semantic": semantic,
                    "instances": which * 1000,
                    "depth": which[None].float() * 0.3,
                    "id": f"p{number}",
                    "kind": "coded",
                    "boxes": torch.zeros(2, 4),
                }
            )

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.samples[index]


HARD = random_scale_crop(48, rotate=10, blur=True, jitter=0.3)
TRANSFORMS = {
    "default": random_scale_crop((32, 24)),
    "hard": HARD,
    "torchvision": v2.Compose(
        [v2.RandomAffine(30, scale=(0.5, 1.5)), v2.RandomCrop(50, pad_if_needed=True)]
    ),
}


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[k], b[k]) if torch.is_tensor(a[k]) else a[k] == b[k] for k in a
    )


@pytest.mark.parametrize("name", TRANSFORMS)
def test_labels_are_never_interpolated(name: str) -> None:
    samples = Augmented(Coded(), TRANSFORMS[name], length=40)
    seen = set()
    for sample in samples:
        size = sample["image"].shape[1:]
        assert sample["semantic"].dtype == sample["instances"].dtype == torch.int64
        assert sample["image"].dtype == sample["depth"].dtype == torch.float32
        assert sample["semantic"].shape == sample["instances"].shape == size
        assert sample["depth"].shape == (1, *size)
        assert type(sample["image"]) is type(sample["semantic"]) is torch.Tensor
        assert set(sample["semantic"].unique().tolist()) <= {*VALUES, 255}
        assert set(sample["instances"].unique().tolist()) <= {0, 1000, 2000, 3000, 4000}
        # where the class is not ignored, class, instance and depth are those of one pixel
        kept = sample["semantic"] != 255
        which = sample["instances"] // 1000
        assert torch.equal(torch.tensor(VALUES)[which][kept], sample["semantic"][kept])
        assert torch.equal((which * 0.3)[kept], sample["depth"][0][kept])
        seen |= set(sample["semantic"].unique().tolist())
    assert seen == {*VALUES, 255}


@pytest.mark.parametrize("rotate", [0, 25])
def test_labels_stay_on_their_picture(rotate: int) -> None:
    """Reading the class back from the colours agrees with the labels, away from their borders."""
    transform = random_scale_crop(40, rotate=rotate)
    worst = 1.0
    for sample in Augmented(Coded(ignored=False), transform, length=60):
        kept = sample["semantic"] != 255
        read = torch.tensor(VALUES)[((sample["image"][0] - 0.1) * 10).round().long().clamp(0, 4)]
        labels = sample["semantic"].numpy()
        inner = torch.from_numpy(
            (labels == np.roll(labels, 2, 0))
            & (labels == np.roll(labels, -2, 0))
            & (labels == np.roll(labels, 2, 1))
            & (labels == np.roll(labels, -2, 1))
        )
        checked = kept & inner
        if checked.sum() > 50:
            worst = min(worst, float((read == sample["semantic"])[checked].float().mean()))
    assert worst > 0.97


def test_resized_labels_have_no_drift() -> None:
    """Labels that are the column number: the resized ones are half a pixel off at most."""
    for old, new in ((64, 48), (64, 32), (40, 57), (7, 3), (3, 7), (5, 1)):
        columns = Mask(torch.arange(old)[None].repeat(2, 1))
        got = resize(columns, (2, new)).as_subclass(torch.Tensor)[0].double()
        centre = (torch.arange(new, dtype=torch.float64) + 0.5) * old / new - 0.5
        assert (got - centre).abs().max() <= 0.5


def test_function_of_seed_and_index_alone() -> None:
    one, two = (Augmented(Coded(), HARD, length=17, seed=5) for _ in range(2))
    backwards = [two[i] for i in reversed(range(17))][::-1]
    torch.manual_seed(99)
    assert all(same(one[i], backwards[i]) for i in range(17))
    other = Augmented(Coded(), HARD, length=17, seed=6)
    assert not any(same(one[i], other[i]) for i in range(17))
    longer = Augmented(Coded(), HARD, length=100, seed=5)
    assert all(same(one[i], longer[i]) for i in range(17))
    firsts = {float(one[i]["image"].sum()) for i in range(17)}
    assert len(firsts) == 17, "no two samples are alike"


def test_workers_change_nothing() -> None:
    samples = Augmented(Coded(), HARD, length=8)
    alone = list(DataLoader(samples, batch_size=4))
    shared = list(DataLoader(samples, batch_size=4, num_workers=2))
    assert all(same(a, b) for a, b in zip(alone, shared, strict=True))


def test_each_round_shows_each_picture_once() -> None:
    samples = Augmented(Coded(5), HARD, length=23)
    ids = [samples[i]["id"] for i in range(23)]
    assert [name.split("#")[1] for name in ids] == [str(i) for i in range(23)]
    rounds = [[name.split("#")[0] for name in ids[k : k + 5]] for k in (0, 5, 10, 15)]
    assert all(sorted(part) == [f"p{i}" for i in range(5)] for part in rounds)
    assert len({tuple(part) for part in rounds}) > 1
    assert samples[0]["kind"] == "coded", "what is no tensor passes"
    assert "boxes" not in samples[0], "boxes would no longer fit"


def test_global_random_state_is_left_alone() -> None:
    def chaotic(sample: dict[str, Any]) -> dict[str, Any]:
        sample["image"] = sample["image"] * random.random() * np.random.rand() * torch.rand(())  # noqa: NPY002
        return sample

    samples = Augmented(Coded(), chaotic, length=5)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    first = samples[3]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert random.getstate() == before[2]
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    assert same(first, samples[3])


def test_state_comes_back_after_an_error() -> None:
    state = torch.get_rng_state(), random.getstate()
    with pytest.raises(KeyError), seeded(1, 2):
        torch.rand(3), random.random()
        raise KeyError
    assert torch.equal(torch.get_rng_state(), state[0]) and random.getstate() == state[1]


@pytest.mark.parametrize("rotate", [0, 30])
def test_outside_is_ignored_background_and_black(rotate: int) -> None:
    transform = random_scale_crop(90, scale=(0.9, 1.1), rotate=rotate, flip=False)
    source = Coded(ignored=False)
    for sample in source.samples:
        sample["instances"] = sample["instances"] + 1  # so that 0 is never inside
    for sample in Augmented(source, transform, length=10):
        outside = sample["instances"] == 0
        assert 0.2 < outside.float().mean() < 0.9
        assert torch.equal(sample["semantic"] == 255, outside)
        assert (sample["depth"][0][outside] == 0).all()
        if not rotate:  # a rotated image fades at its edge
            assert (sample["image"][:, outside] == 0).all()
            assert (sample["image"][:, ~outside] > 0).all()


def test_sizes_and_places_vary() -> None:
    """Scales fill their range, crops reach all corners, half are mirrored."""

    class Ramp(Dataset[dict[str, Any]]):
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> dict[str, Any]:
            y, x = torch.meshgrid(torch.arange(100.0), torch.arange(200.0), indexing="ij")
            return {"image": torch.stack([y, x, y * 0 + 1]) / 200}

    slopes, tops, mirrored = [], [], 0
    for sample in Augmented(Ramp(), random_scale_crop(40), length=200):
        y, x, _ = sample["image"] * 200
        slopes.append(float(y[21, 20] - y[20, 20]))
        tops.append(float(y[0, 0]))
        mirrored += bool(x[0, 30] < x[0, 10])
    scales = 1 / np.array(slopes)
    assert 0.5 <= scales.min() < 0.6 and 1.9 < scales.max() <= 2.01
    assert np.mean(scales) == pytest.approx(1.25, abs=0.1), "drawn evenly"
    assert min(tops) < 3 and max(tops) > 70
    assert 70 < mirrored < 130


def test_wrong_arguments_are_named() -> None:
    for arguments in ({"size": 0}, {"scale": (2, 1)}, {"rotate": -1}, {"jitter": 2}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            random_scale_crop(**{"size": 4, **arguments})
    with pytest.raises(ValueError, match="dataset is empty"):
        Augmented(Coded(0), HARD)
    with pytest.raises(ValueError, match="seed is -1"):
        Augmented(Coded(), HARD, seed=-1)
    with pytest.raises(IndexError, match="index is 5"):
        Augmented(Coded(), HARD)[5]
