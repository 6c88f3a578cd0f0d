import math

import numpy as np
import pytest
import torch

from lessons_lib.saliency import (
    best_of_n,
    consensus,
    diversity,
    generalized_energy_distance,
    hidden_labels,
    hide_patches,
    hide_salient,
    mask_distances,
)


def random_masks(seed, count, size=6, share=0.5):
    drawn = np.random.default_rng(seed).random((count, size, size)) < share
    return torch.from_numpy(drawn)


def plain_distance(a, b):
    union = int((a | b).sum())
    return 1 - int((a & b).sum()) / union if union else 0.0


@pytest.mark.parametrize("seed", range(20))
def test_energy_distance_is_the_sum_over_pairs(seed):
    rng = np.random.default_rng(seed)
    samples = random_masks(seed, int(rng.integers(1, 7)), share=rng.uniform(0, 0.6))
    truths = random_masks(seed + 100, int(rng.integers(1, 5)), share=rng.uniform(0, 0.6))
    shares = (
        rng.dirichlet(np.ones(len(truths))) if seed % 2 else np.full(len(truths), 1 / len(truths))
    )
    across = sum(
        w * plain_distance(s, t) for s in samples for w, t in zip(shares, truths, strict=True)
    ) / len(samples)
    within = sum(plain_distance(s, t) for s in samples for t in samples) / len(samples) ** 2
    among = sum(
        v * w * plain_distance(s, t)
        for v, s in zip(shares, truths, strict=True)
        for w, t in zip(shares, truths, strict=True)
    )
    found = generalized_energy_distance(samples, truths, shares if seed % 2 else None)
    assert found == pytest.approx(2 * across - within - among, abs=1e-5)


def test_energy_distance_of_the_same_distribution_is_zero():
    truths = random_masks(1, 4)
    shares = (0.5, 0.25, 0.125, 0.125)
    samples = truths[[0, 0, 0, 0, 1, 1, 2, 3]]
    assert generalized_energy_distance(samples, truths, shares) == pytest.approx(0, abs=1e-6)
    assert generalized_energy_distance(truths[[0]], truths[[0]]) == pytest.approx(0, abs=1e-6)
    assert generalized_energy_distance(truths[[0, 0]], truths, shares) > 0.05


def test_energy_distance_of_one_answer_and_two_truths_by_hand():
    # disjoint truths, half each; the answer is one of them: 2 * 1/2 - 0 - 2 * 1/4 = 1/2
    truths = torch.zeros(2, 2, 2, dtype=torch.bool)
    truths[0, 0], truths[1, 1] = True, True
    assert generalized_energy_distance(truths[:1], truths) == pytest.approx(0.5)
    # their union: IoU 1/2 with both: 2 * 1/2 - 0 - 1/2 = 1/2 as well; nobody chose it
    union = truths.any(0, keepdim=True)
    assert generalized_energy_distance(union, truths) == pytest.approx(0.5)
    assert best_of_n(union, truths) == pytest.approx(0.5)
    assert best_of_n(truths, truths) == pytest.approx(1)


def test_empty_masks_are_alike():
    empty, full = torch.zeros(1, 3, 3, dtype=torch.bool), torch.ones(1, 3, 3, dtype=torch.bool)
    assert mask_distances(empty, torch.cat([empty, full])).tolist() == [[0, 1]]


def test_best_of_n_is_a_loop():
    samples, truths = random_masks(5, 6), random_masks(6, 3)
    each = [max(1 - plain_distance(s, t) for s in samples) for t in truths]
    assert best_of_n(samples, truths) == pytest.approx(np.mean(each))
    weighted = best_of_n(samples, truths, (0.7, 0.2, 0.1))
    assert weighted == pytest.approx(np.dot(each, (0.7, 0.2, 0.1)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": torch.zeros(2, 6, 6)}, "samples is torch.float32"),
        ({"annotations": torch.zeros(0, 6, 6, dtype=torch.bool)}, r"shape \(0, 6, 6\)"),
        ({"annotations": torch.zeros(2, 6, 5, dtype=torch.bool)}, "must have one size"),
        ({"shares": (0.5, 0.2)}, r"shares is \(0.5, 0.2\)"),
        ({"shares": (1.0,)}, r"shares is \(1.0,\)"),
    ],
)
def test_what_makes_no_distance(change, words):
    given = {"samples": random_masks(1, 2), "annotations": random_masks(2, 2), "shares": None}
    with pytest.raises(ValueError, match=words):
        generalized_energy_distance(**{**given, **change})


def plain_consensus(samples):
    """The paper's sentences, pixel by pixel, with a mean for its sum."""
    count, height, width = samples.shape
    votes = np.stack([(s >= min(1.0, 2 * s.mean())) & (s > 0) for s in samples])
    binary, gray = np.zeros((height, width), bool), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            yes = int(votes[:, y, x].sum())
            binary[y, x] = yes > count - yes
            agreeing = [
                s[y, x] for s, v in zip(samples, votes[:, y, x], strict=True) if v == binary[y, x]
            ]
            gray[y, x] = len(agreeing) / count * (np.mean(agreeing) if agreeing else 0)
    return binary, gray


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_consensus_is_the_vote_pixel_by_pixel(count):
    samples = np.random.default_rng(count).random((count, 7, 5)) ** 3
    found = consensus(torch.from_numpy(samples))
    binary, gray = plain_consensus(samples)
    assert np.array_equal(found.binary.numpy(), binary)
    np.testing.assert_allclose(found.saliency.numpy(), gray, atol=1e-6)
    assert found.saliency.min() >= 0 and found.saliency.max() <= 1


def test_consensus_of_batches_and_of_extremes():
    samples = torch.from_numpy(np.random.default_rng(0).random((5, 3, 1, 4, 6)))
    found = consensus(samples)
    assert found.binary.shape == found.saliency.shape == (3, 1, 4, 6)
    torch.testing.assert_close(consensus(samples[:, 1]).saliency, found.saliency[1])
    assert consensus(torch.ones(3, 4, 4)).binary.all()
    # twice the mean of an all-black map is 0, and 0 >= 0; nothing is salient there all the same
    assert not consensus(torch.zeros(3, 4, 4)).binary.any()
    assert torch.equal(consensus(samples, 0.5).share, (samples >= 0.5).float().mean(0))


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (torch.zeros(4, 4), r"shape \(4, 4\)"),
        (torch.zeros(0, 4, 4), r"shape \(0, 4, 4\)"),
        (torch.full((2, 4, 4), 1.5), "1.5 to 1.5"),
        (torch.full((2, 4, 4), float("nan")), "nan"),
    ],
)
def test_consensus_of_nothing(samples, words):
    with pytest.raises(ValueError, match=words):
        consensus(samples)


def test_hidden_objects_have_the_colour_and_nothing_else_has_changed():
    image = torch.from_numpy(np.random.default_rng(0).random((2, 3, 5, 6)).astype(np.float32))
    mask = random_masks(0, 2, 6)[:, None, :5].float()
    hidden = hide_salient(image, mask, (0.1, 0.2, 0.3))
    chosen = mask[:, 0] > 0
    colour = torch.tensor([0.1, 0.2, 0.3])
    torch.testing.assert_close(
        hidden.permute(0, 2, 3, 1)[chosen], colour.expand(int(chosen.sum()), 3)
    )
    assert torch.equal(hidden.permute(0, 2, 3, 1)[~chosen], image.permute(0, 2, 3, 1)[~chosen])


def test_new_labels_are_what_is_found_after_hiding():
    """Three bright bars; the "model" finds the brightest thing that it sees."""
    image = torch.zeros(1, 3, 6, 6)
    bars = torch.zeros(3, 1, 1, 6, 6)
    for k, value in enumerate((0.9, 0.6, 0.3)):
        image[:, :, 2 * k] = value
        bars[k, ..., 2 * k, :] = 1

    def brightest(hidden_image, hidden):
        gray = hidden_image.mean(1, keepdim=True)
        assert (gray[hidden] == 0).all()
        return ((gray == gray.max()) & (gray > 0)).float()

    labels = hidden_labels(brightest, image, bars[0], (0.0, 0.0, 0.0), rounds=3)
    assert labels.shape == (1, 4, 1, 6, 6)
    for found, bar in zip(labels[0], (bars[0], bars[1], bars[2], bars[2]), strict=True):
        assert torch.equal(found, bar[0])  # nothing is left in the fourth round: the third again


def test_hide_and_seek_hides_cells_of_a_grid():
    image = torch.ones(400, 3, 20, 22)
    hidden = hide_patches(image, (0.0, 0.0, 0.0), np.random.default_rng(0))
    cells = hidden[:, 0, :, :]
    corners = cells[:, 0, 0]
    assert torch.equal(cells[:, 4, 5], corners)  # rows 0..4 and columns 0..5 are one cell
    assert 0.4 < float(corners.mean()) < 0.6
    assert 0.47 < float(hidden.mean()) < 0.53
    assert torch.equal(
        hide_patches(image, (0, 0, 0), np.random.default_rng(0), probability=0), image
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda i, m: hide_salient(i, m[..., :3], (0, 0, 0)), "of the same pictures"),
        (lambda i, m: hide_salient(i, m, (0, 0)), r"fill is \(0, 0\)"),
        (lambda i, m: hide_patches(i, (0, 0, 0), np.random.default_rng(0), grid=9), "grid is 9"),
        (
            lambda i, m: hide_patches(i, (0, 0, 0), np.random.default_rng(0), probability=2),
            "probability is 2",
        ),
    ],
)
def test_hiding_what_does_not_fit(call, words):
    with pytest.raises(ValueError, match=words):
        call(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": torch.zeros(2, 6, 6)}, "samples is torch.float32"),
        ({"samples": torch.zeros(0, 6, 6, dtype=torch.bool)}, r"shape \(0, 6, 6\)"),
        ({"annotations": torch.zeros(2, 4, 9, dtype=torch.bool)}, "must have one size"),
        ({"shares": (0.5, 0.2)}, r"shares is \(0.5, 0.2\)"),
        ({"shares": (0.5, float("nan"))}, r"shares is \(0.5, nan\)"),
    ],
)
@pytest.mark.parametrize("measure", [generalized_energy_distance, best_of_n])
def test_both_measures_check_the_same(measure, change, words):
    given = {"samples": random_masks(1, 2), "annotations": random_masks(2, 2), "shares": None}
    with pytest.raises(ValueError, match=words):
        measure(**{**given, **change})


@pytest.mark.parametrize("shares", [None, (0.5, 0.5)])
def test_weights_are_where_the_samples_are(shares):
    elsewhere = torch.zeros(2, 3, 3, dtype=torch.bool, device="meta")
    assert diversity._check(elsewhere, elsewhere, shares).device == elsewhere.device


def test_a_perfect_sampler_of_few_samples_is_not_at_zero():
    """As the docstring says: 0.5 / 16 too much for two disjoint truths of equal probability."""
    truths = torch.zeros(2, 2, 2, dtype=torch.bool)
    truths[0, 0], truths[1, 1] = True, True
    mean = sum(
        math.comb(16, k)
        / 2**16
        * generalized_energy_distance(truths[[0] * k + [1] * (16 - k)], truths)
        for k in range(17)
    )
    assert mean == pytest.approx(0.5 / 16, abs=1e-6) and round(mean, 3) == 0.031
