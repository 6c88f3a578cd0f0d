import numpy as np
import pytest
import torch

from lessons_lib.data import Discs


def test_a_sample_is_what_the_vocabulary_says():
    sample = Discs(3, seed=4)[2]
    labels = sample["instances"]
    assert sample["image"].shape == (1, 96, 96) and sample["image"].dtype == torch.float32
    assert sample["image"].min() >= 0 and sample["image"].max() <= 1
    assert labels.shape == (96, 96) and labels.dtype == torch.int64
    assert labels.unique().tolist() == list(range(int(labels.max()) + 1))
    assert torch.equal(sample["semantic"], (labels > 0).long())
    assert sample["id"] == "discs-4-2"


def test_depends_on_seed_and_index_only():
    a, b = Discs(5, seed=1), Discs(900, seed=1)
    b[3]
    assert torch.equal(a[4]["image"], b[4]["image"])
    assert not torch.equal(a[4]["image"], Discs(5, seed=2)[4]["image"])
    assert not torch.equal(a[4]["image"], a[3]["image"])


def test_sizes_differ_by_far_and_most_of_each_disc_is_visible():
    areas = np.concatenate(
        [
            np.bincount(s["instances"].flatten())[1:]
            for s in (Discs(40, noise=0)[i] for i in range(40))
        ]
    )
    assert np.percentile(areas, 10) < 60 and np.percentile(areas, 97) > 900
    counts = [int(Discs(40)[i]["instances"].max()) for i in range(40)]
    assert min(counts) >= 5 and max(counts) <= 20
    # the smallest disc, whole, has about π 2.5² = 20 px; cut by the border and covered, some of it is left
    assert areas.min() >= 1


def test_later_discs_leave_the_share_that_was_asked_for():
    for i in range(10):
        sample = Discs(10, size=200, radius=(8, 20), count=(10, 10), min_visible=1.0, seed=7)[i]
        # nothing is covered: the pixels of each disc are a whole disc, cut by the border at most
        for k in range(1, int(sample["instances"].max()) + 1):
            y, x = (sample["instances"] == k).nonzero(as_tuple=True)
            if min(y.min(), x.min()) > 0 and max(y.max(), x.max()) < 199:
                width, height = int(x.max() - x.min()) + 1, int(y.max() - y.min()) + 1
                assert len(y) == pytest.approx(np.pi * width * height / 4, rel=0.1)


def test_no_discs():
    assert int(Discs(1, count=(0, 0))[0]["instances"].max()) == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 4}, "size is 4"),
        ({"radius": (0.5, 3)}, "radius is 0.5"),
        ({"radius": (5, 3)}, "radius"),
        ({"count": (3, 2)}, "count"),
        ({"min_visible": 1.5}, "min_visible is 1.5"),
        ({"noise": -1}, "noise is -1"),
    ],
)
def test_refuses(change, words):
    with pytest.raises(ValueError, match=words):
        Discs(1, **change)


def test_no_such_sample():
    with pytest.raises(IndexError, match="index is 3"):
        Discs(3)[3]
