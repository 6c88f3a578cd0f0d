import numpy as np
import pytest
import torch

from lessons_lib.data import Discs
from lessons_lib.embedding import cluster_spatial, match_instances
from tests.embedding.oracles import cluster_spatial_loop


def random_outputs(seed, height=20, width=24, sigmas=2):
    rng = np.random.default_rng(seed)

    def normal(n, mean, deviation):
        return torch.from_numpy(rng.normal(mean, deviation, (n, height, width)).astype(np.float32))

    return {
        "offset": normal(2, 0, 0.1),
        "sigma": normal(sigmas, 0.35, 0.1),
        "seed": normal(1, 0.5, 1.5),
    }


def true_outputs(labels, unit=64.0, seed=8.0):
    """What a perfect network says: all pixels of an instance point at its centroid, σ by its size."""
    offset = torch.zeros(2, *labels.shape)
    sigma = torch.full((2, *labels.shape), 1.0)
    for k in range(1, int(labels.max()) + 1):
        y, x = (labels == k).nonzero(as_tuple=True)
        for axis, place in enumerate((x.float(), y.float())):
            offset[axis, y, x] = torch.atanh((place.mean() - place) / unit)
    return {"offset": offset, "sigma": sigma, "seed": torch.where(labels > 0, seed, -seed)[None]}


@pytest.mark.parametrize("sigmas", [1, 2])
@pytest.mark.parametrize("seed", range(25))
def test_equals_a_plain_transcription(seed, sigmas):
    outputs = random_outputs(seed, sigmas=sigmas)
    least, share = (1, 0.5) if seed % 2 else (5, 0.8)
    found = cluster_spatial(
        outputs, unit=16.0, seed_threshold=0.6, pixel_threshold=0.4, foreground_threshold=0.45,
        min_size=least, min_unclaimed=share,
    )  # fmt: skip
    labels, scores = cluster_spatial_loop(outputs, 16.0, 0.6, 0.4, 0.45, least, share)
    assert len(scores) > 3
    np.testing.assert_array_equal(found.instances.numpy(), labels)
    np.testing.assert_allclose(found.scores.numpy(), scores, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_finds_what_a_perfect_network_says(seed):
    labels = Discs(8, seed=seed)[0]["instances"]
    found = cluster_spatial(true_outputs(labels), unit=64.0)
    count = int(labels.max())
    matching = match_instances(found.instances, labels, threshold=0.99)
    assert matching.true_positives == count == len(found.scores) == len(found.centers)
    assert int(found.instances.max()) == count


def test_more_than_255_instances():
    labels = torch.zeros(200, 200, dtype=torch.long)
    k = 0
    for y in range(1, 198, 8):
        for x in range(1, 198, 8):
            k += 1
            labels[y : y + 5, x : x + 5] = k
    found = cluster_spatial(true_outputs(labels), unit=64.0)
    assert k == 625 == int(found.instances.max())
    assert match_instances(found.instances, labels, 0.99).true_positives == k


def test_earlier_instances_keep_their_pixels_and_rejected_ones_stay_free():
    # ten pixels in a row, all pointing to themselves, margin 2.5 px; seeds: 0.99 at 2, 0.9 at 6, 0.8 at 4
    seed = torch.full((1, 1, 10), 0.7)
    seed[0, 0, [2, 6, 4]] = torch.tensor([0.99, 0.9, 0.8])
    outputs = {"offset": torch.zeros(2, 1, 10), "seed": torch.logit(seed)}
    options = {"unit": 32.0, "margin": 2.5, "seed_threshold": 0.75}
    found = cluster_spatial(outputs, **options)
    # 2 takes 0..4; 6 proposes 4..8 and takes 5..8; 4 is no seed any more; 9 stays background
    assert found.instances.tolist() == [[1, 1, 1, 1, 1, 2, 2, 2, 2, 0]]
    assert found.scores.tolist() == pytest.approx([0.99, 0.9])
    assert found.centers.tolist() == [[2, 0], [6, 0]]
    strict = cluster_spatial(outputs, min_unclaimed=0.9, **options)
    # 6 is refused for its one claimed pixel; its pixels are no seeds now
    assert strict.instances.tolist() == [[1, 1, 1, 1, 1, 0, 0, 0, 0, 0]]
    seed[0, 0, 8] = 0.85
    outputs["seed"] = torch.logit(seed)
    # 8 lies in the refused proposal of 6 and is no seed; 9 is one, and takes what 6 had proposed
    seed[0, 0, 9] = 0.8
    outputs["seed"] = torch.logit(seed)
    later = cluster_spatial(outputs, min_unclaimed=0.9, **options)
    assert later.instances.tolist() == [[1, 1, 1, 1, 1, 0, 0, 2, 2, 2]]


def test_min_size_counts_what_an_instance_would_get():
    outputs = {"offset": torch.zeros(2, 1, 7), "seed": torch.full((1, 1, 7), 3.0)}
    outputs["seed"][0, 0, 3] = 4.0
    options = {"unit": 32.0, "margin": 1.5, "min_unclaimed": 0.0}
    assert cluster_spatial(outputs, **options).instances.tolist() == [[2, 2, 1, 1, 1, 3, 3]]
    found = cluster_spatial(outputs, min_size=3, **options)
    assert found.instances.tolist() == [[0, 0, 1, 1, 1, 0, 0]]


def test_classes_come_from_the_seed_maps():
    labels = torch.zeros(20, 30, dtype=torch.long)
    labels[2:8, 2:8], labels[10:18, 12:24] = 1, 2
    outputs = true_outputs(labels)
    outputs["seed"] = torch.full((3, 20, 30), -8.0)
    outputs["seed"][2][labels == 1] = 5.0
    outputs["seed"][0][labels == 2] = 6.0
    found = cluster_spatial(outputs, unit=64.0)
    assert found.labels.tolist() == [1, 3]  # the surer first
    assert found.labels[found.instances[4, 4] - 1] == 3


def test_is_the_same_on_every_run_and_with_equal_seeds():
    outputs = random_outputs(1)
    outputs["seed"] = torch.where(outputs["seed"] > 0, 2.0, -2.0)
    first = cluster_spatial(outputs, unit=16.0)
    for _ in range(3):
        assert torch.equal(cluster_spatial(outputs, unit=16.0).instances, first.instances)


@pytest.mark.parametrize("size", [(1, 1), (5, 7)])
def test_nothing_there(size):
    outputs = {
        "offset": torch.zeros(2, *size),
        "sigma": torch.ones(1, *size),
        "seed": torch.full((1, *size), -9.0),
    }
    found = cluster_spatial(outputs)
    assert found.instances.shape == size and found.instances.abs().max() == 0
    assert len(found.scores) == len(found.labels) == 0 and found.centers.shape == (0, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed_threshold": 1.5}, "seed_threshold is 1.5"),
        ({"pixel_threshold": 0.0}, "pixel_threshold is 0.0"),
        ({"min_size": 0}, "min_size is 0"),
        ({"unit": -1.0}, "unit is -1.0"),
        ({"margin": 0.0}, "margin is 0.0"),
    ],
)
def test_refuses_options(options, words):
    with pytest.raises(ValueError, match=words):
        cluster_spatial(random_outputs(0), **options)


def test_refuses_wrong_outputs():
    outputs = random_outputs(0)
    with pytest.raises(KeyError, match="lacks sigma"):
        cluster_spatial({"offset": outputs["offset"], "seed": outputs["seed"]})
    with pytest.raises(ValueError, match=r"offset has shape \(1, 20, 24\)"):
        cluster_spatial({**outputs, "offset": outputs["offset"][:1]})
    with pytest.raises(ValueError, match=r"seed has shape \(20, 24\)"):
        cluster_spatial({**outputs, "seed": outputs["seed"][0]})
