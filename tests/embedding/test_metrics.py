import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import contingency_table

from lessons_lib.embedding import (
    aggregated_jaccard,
    count_difference,
    match_instances,
    mean_dsb_score,
    overlap,
    symmetric_best_dice,
)
from tests.embedding.oracles import (
    aggregated_jaccard_loop,
    instance_masks,
    iou,
    symmetric_best_dice_loop,
)

EMPTY = np.zeros((6, 7), int)
SOME = np.zeros((6, 7), int)
SOME[1:3, 1:4] = 5


def label_map(seed, count, share, height=9, width=8):
    """Blocky random labels with gaps in their ids; the second of a pair is a spoiled copy."""
    rng = np.random.default_rng(seed)
    ids = rng.choice(60_000, size=max(count, 1), replace=False) + 1
    coarse = rng.choice(ids, (3, 4)) * (rng.random((3, 4)) < share)
    truth = np.kron(coarse, np.ones((3, 2), int))[:height, :width] * (count > 0)
    predicted = truth.copy()
    holes = rng.random(truth.shape) < rng.choice([0.0, 0.1, 0.4])
    predicted[holes] = rng.choice([0, 7, *ids], truth.shape)[holes]
    return predicted, truth


pairs = given(
    seed=st.integers(0, 2**32), count=st.integers(0, 5), share=st.sampled_from([0.0, 0.5, 1.0])
)


@settings(max_examples=150, deadline=None, derandomize=True)
@pairs
def test_equal_the_definitions(seed, count, share):
    for predicted, truth in (label_map(seed, count, share), label_map(seed, count, share)[::-1]):
        assert symmetric_best_dice(predicted, truth) == pytest.approx(
            symmetric_best_dice_loop(predicted, truth), abs=1e-12
        )
        assert aggregated_jaccard(predicted, truth) == pytest.approx(
            aggregated_jaccard_loop(predicted, truth), abs=1e-12
        )
        p, t = instance_masks(predicted), instance_masks(truth)
        assert count_difference(predicted, truth) == len(p) - len(t)
        for threshold in (0.5, 0.75):
            matching = match_instances(predicted, truth, threshold)
            hits = [iou(a, b) for a in p for b in t if iou(a, b) > threshold]
            tp, fp, fn = len(hits), len(p) - len(hits), len(t) - len(hits)
            counts = (
                matching.true_positives,
                matching.false_positives,
                matching.false_negatives,
            )
            assert counts == (tp, fp, fn)
            if p and t:
                assert matching.precision == pytest.approx(tp / len(p))
                assert matching.recall == pytest.approx(tp / len(t))
                assert matching.dsb_score == pytest.approx(tp / (tp + fp + fn))
                assert matching.f1 == pytest.approx(2 * tp / (len(p) + len(t)))
                assert matching.panoptic_quality == pytest.approx(
                    sum(hits) / (tp + fp / 2 + fn / 2)
                )


@settings(max_examples=60, deadline=None, derandomize=True)
@pairs
def test_overlap_equals_scikit_images_table(seed, count, share):
    predicted, truth = label_map(seed, count, share)
    table = overlap(predicted, truth)
    oracle = contingency_table(predicted, truth).tocsr()  # rows: first argument
    for i, a in enumerate(table.predicted_ids):
        for j, b in enumerate(table.true_ids):
            assert table.shared[i, j] == oracle[a, b]
    assert table.predicted_area.sum() == (predicted > 0).sum()


def test_panoptic_quality_equals_torchmetrics():
    from torchmetrics.functional.detection import panoptic_quality

    for seed in range(20):
        predicted, truth = label_map(seed, 5, 0.7)

        def panoptic(labels):  # (category, instance): things of category 1, stuff 0
            ids = torch.from_numpy(labels)
            return torch.stack([(ids > 0).long(), ids], dim=-1)[None]

        if not (truth > 0).any():
            continue
        oracle = panoptic_quality(
            panoptic(predicted),
            panoptic(truth),
            things={1},
            stuffs={0},
            return_per_class=True,
        )
        ours = match_instances(predicted, truth).panoptic_quality
        assert ours == pytest.approx(float(oracle[0, 0]), abs=1e-6)


def test_below_one_half_the_assignment_is_one_to_one():
    truth = np.array([[1, 1, 1, 2, 2, 2]])
    predicted = np.array([[0, 3, 3, 3, 3, 0]])
    matching = match_instances(predicted, truth, 0.3)
    assert (matching.true_positives, matching.false_positives, matching.false_negatives) == (
        1,
        0,
        1,
    )
    # 7 overlaps both, 8 only the first: two pairs are possible, though the best IoU is (7, 1)
    truth = np.array([[1] * 10 + [2] * 4])
    predicted = np.array([[8] * 4 + [7] * 8 + [0] * 2])
    matching = match_instances(predicted, truth, 0.1)
    assert {pair[:2] for pair in matching.pairs} == {(8, 1), (7, 2)}


def test_an_iou_of_exactly_the_threshold_does_not_count():
    truth = np.array([[1, 1, 0]])
    assert match_instances(np.array([[1, 0, 0]]), truth, 0.5).true_positives == 0
    assert match_instances(np.array([[1, 0, 0]]), truth, 0.49).true_positives == 1


@pytest.mark.parametrize(
    ("predicted", "truth", "score", "difference"),
    [(EMPTY, EMPTY, 1, 0), (EMPTY, SOME, 0, -1), (SOME, EMPTY, 0, 1), (SOME, SOME, 1, 0)],
)
def test_degenerate(predicted, truth, score, difference):
    matching = match_instances(predicted, truth)
    for value in (
        matching.precision,
        matching.recall,
        matching.f1,
        matching.dsb_score,
        matching.panoptic_quality,
        mean_dsb_score(predicted, truth),
        symmetric_best_dice(predicted, truth),
        aggregated_jaccard(predicted, truth),
    ):
        assert value == score
    assert count_difference(predicted, truth) == difference


def test_worked_by_hand():
    truth = np.array([[1, 1, 1, 1, 2, 2]])
    predicted = np.array([[1, 1, 1, 0, 0, 3]])
    assert symmetric_best_dice(predicted, truth) == pytest.approx((6 / 7 + 2 / 3) / 2)
    assert aggregated_jaccard(predicted, truth) == pytest.approx(4 / 6)
    assert match_instances(predicted, truth).pairs == ((1, 1, 0.75),)
    # 0.75 exceeds 0.5, 0.55, …, 0.7: one of three instances' worth at each, else none
    assert mean_dsb_score(predicted, truth) == pytest.approx(5 / 10 * (1 / 3))


def test_tensors_and_arrays_alike():
    a, b = label_map(3, 4, 0.8)
    assert symmetric_best_dice(torch.from_numpy(a), b) == symmetric_best_dice(a, b)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: symmetric_best_dice(EMPTY, EMPTY[1:]), ValueError, "predicted has shape"),
        (lambda: overlap(EMPTY.astype(float), EMPTY), TypeError, "predicted is float64"),
        (lambda: overlap(EMPTY, EMPTY[None]), ValueError, "truth has shape"),
        (lambda: match_instances(EMPTY, EMPTY, 1.0), ValueError, "threshold is 1.0"),
        (lambda: mean_dsb_score(EMPTY, EMPTY, ()), ValueError, "thresholds is empty"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
