import numpy as np
import pytest
import torch
from sklearn.cluster import MeanShift
from sklearn.metrics import adjusted_rand_score

from lessons_lib.embedding import (
    cluster_known_count,
    cluster_picture,
    mean_shift,
    merge_pieces,
    tidy_instances,
)


def blobs(count=8, each=200, dim=16, noise=0.1, apart=3.0, seed=0):
    """Clusters ``apart`` from one another, and whose point is whose."""
    rng = np.random.default_rng(seed)
    centres = np.eye(count, dim) * apart / np.sqrt(2)
    labels = np.repeat(np.arange(1, count + 1), each)
    points = centres[labels - 1] + rng.normal(0, noise, (count * each, dim))
    order = rng.permutation(len(points))
    return torch.from_numpy(points[order]).float(), labels[order]


def mean_shift_loop(points, radius, min_size):
    """The definition, with the full search in every step."""
    points = points.numpy().astype(np.float32)
    free = np.arange(len(points))
    labels = np.zeros(len(points), int)
    label = 0
    while len(free) >= min_size and len(free):
        x = points[free]
        m = min(256, len(free))
        candidates = x[np.arange(m) * len(free) // m]
        apart = np.sqrt(((candidates[:, None] - candidates[None]) ** 2).sum(-1))
        centre = candidates[(apart <= radius).sum(1).argmax()]
        for _ in range(50):
            inside = ((x - centre) ** 2).sum(1) <= radius**2
            mean = x[inside].mean(0)
            move = np.linalg.norm(mean - centre)
            centre = mean
            if move < 1e-4 * radius:
                break
        if inside.sum() >= min_size:
            label += 1
            labels[free[inside]] = label
        free = free[~inside]
    return labels


@pytest.mark.parametrize("radius", [0.3, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("min_size", [1, 15])
@pytest.mark.parametrize(("dim", "noise"), [(2, 0.3), (16, 0.1)])
def test_equals_the_definition(radius, min_size, dim, noise):
    points, _ = blobs(count=2 if dim == 2 else 6, each=150, dim=dim, noise=noise)
    assert mean_shift(points, radius, min_size).tolist() == (
        mean_shift_loop(points, radius, min_size).tolist()
    )


def test_a_radius_of_delta_v_shatters_what_delta_d_finds():
    points, truth = blobs()  # noise 0.1 in 16 dimensions: pixels lie about 0.4 from their centre
    found = {radius: mean_shift(points, radius).numpy() for radius in (0.5, 1.0, 1.5)}
    assert len(np.unique(found[0.5])) > 8
    for radius in (1.0, 1.5):
        assert adjusted_rand_score(truth, found[radius]) == 1.0
    assert len(np.unique(found[1.5])) == 8


def test_at_least_as_good_as_scikit_learns():
    points, truth = blobs(count=5, each=60, noise=0.2, seed=3)
    ours = adjusted_rand_score(truth, mean_shift(points, 1.5).numpy())
    theirs = adjusted_rand_score(truth, MeanShift(bandwidth=1.5).fit_predict(points.numpy()))
    assert ours >= theirs


def test_deterministic_and_global_random_state_untouched():
    points, _ = blobs(noise=0.5)
    before = torch.get_rng_state()
    assert torch.equal(mean_shift(points, 1.0), mean_shift(points, 1.0))
    cluster_known_count(points, 3)
    assert torch.equal(torch.get_rng_state(), before)


def test_degenerate():
    assert mean_shift(torch.zeros(0, 3), 1.0).shape == (0,)
    assert mean_shift(torch.zeros(5, 3), 1.0).tolist() == [1] * 5
    assert mean_shift(torch.zeros(5, 3), 1.0, min_size=6).tolist() == [0] * 5
    apart = torch.arange(4.0)[:, None] * 10
    assert sorted(mean_shift(apart, 1.0).tolist()) == [1, 2, 3, 4]
    assert mean_shift(apart, 1.0, min_size=2).tolist() == [0] * 4


def test_known_count():
    points, truth = blobs(count=4, noise=0.4)
    labels = cluster_known_count(points, 4).numpy()
    assert sorted(set(labels)) == [1, 2, 3, 4]
    assert adjusted_rand_score(truth, labels) == 1.0
    assert cluster_known_count(points[:3], 7).tolist() == [1, 2, 3]
    assert cluster_known_count(points[:0], 0).tolist() == []


def test_picture():
    embedding = torch.zeros(2, 4, 6)
    embedding[:, :, 3:] = 5
    foreground = torch.zeros(4, 6, dtype=torch.bool)
    foreground[1:3] = True
    for options in ({"radius": 1.0}, {"count": 2}):
        found = cluster_picture(embedding, foreground, **options)
        assert (found > 0).equal(foreground)
        assert len(found[1, :3].unique()) == len(found[2, 3:].unique()) == 1
        assert found[1, 0] != found[1, 5]
    nothing = cluster_picture(embedding, torch.zeros_like(foreground), count=0)
    assert not nothing.any()


def test_tidy_splits_drops_and_fills():
    labels = torch.tensor(
        [
            [1, 1, 0, 1, 1, 0, 9],
            [1, 1, 0, 1, 1, 0, 0],
            [1, 2, 0, 0, 0, 0, 0],
        ]
    )
    foreground = labels > 0
    foreground[2, 4] = True  # without a label, below the second piece
    found = tidy_instances(labels, foreground, min_size=2)
    assert found.tolist() == [
        [1, 1, 0, 2, 2, 0, 0],
        [1, 1, 0, 2, 2, 0, 0],
        [1, 1, 0, 0, 2, 0, 0],
    ]
    assert not tidy_instances(labels, torch.zeros_like(foreground), 2).any()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mean_shift(torch.zeros(3), 1.0), "points has shape"),
        (lambda: mean_shift(torch.zeros(3, 2), 0), "radius is 0"),
        (lambda: mean_shift(torch.zeros(3, 2), float("nan")), "radius is nan"),
        (lambda: mean_shift(torch.zeros(3, 2), 1.0, 0), "min_size is 0"),
        (lambda: mean_shift(torch.full((3, 2), float("nan")), 1.0), "not finite"),
        (lambda: cluster_known_count(torch.zeros(3, 2), 0), "count is 0"),
        (lambda: cluster_picture(torch.zeros(2, 3, 3), torch.zeros(3, 3)), "exactly one"),
        (
            lambda: cluster_picture(torch.zeros(2, 3, 3), torch.zeros(3, 4), count=1),
            "foreground",
        ),
    ],
)
def test_bad_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_merging_joins_near_pieces_that_touch():
    labels = torch.tensor([[1, 1, 2, 2, 3, 3, 0, 4]])
    values = torch.tensor([[0.0, 0.0, 1.0, 1.0, 5.0, 5.0, 9.0, 5.0]])
    embedding = torch.stack([values, torch.zeros(1, 8)])  # (2, 1, 8)
    assert merge_pieces(labels, embedding, 2.0).tolist() == [[1, 1, 1, 1, 2, 2, 0, 3]]
    assert merge_pieces(labels, embedding, 0.5).equal(labels)
    # 1 and 3 are far apart, yet each is near 2: a drift through the middle joins all three
    assert merge_pieces(labels, embedding, 4.5).tolist() == [[1, 1, 1, 1, 1, 1, 0, 2]]
    assert not merge_pieces(labels * 0, embedding, 2.0).any()
