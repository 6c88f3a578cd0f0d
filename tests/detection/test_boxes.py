"""Boxes, NMS, coder, matching and sampling, against torchvision and by hand."""

from __future__ import annotations

import pytest
import torch
import torchvision.ops as ops
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.models.detection import _utils as theirs

from lessons_lib.detection import (
    BoxCoder,
    batched_nms,
    box_area,
    box_iou,
    clip_boxes,
    convert_boxes,
    generalized_box_iou,
    match_boxes,
    nms,
    nms_plain,
    sample_balanced,
)
from lessons_lib.detection.targets import clean_target


def random_boxes(count: int, seed: int = 0, side: float = 100) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corners = side * torch.rand(count, 2, 2, generator=generator)
    return torch.cat([corners.amin(1), corners.amax(1)], 1)


FORMATS = ("xyxy", "xywh", "cxcywh")


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_conversion_is_torchvisions(source: str, target: str) -> None:
    boxes = ops.box_convert(random_boxes(50).double(), "xyxy", source)
    before = boxes.clone()
    expected = ops.box_convert(boxes, source, target)
    torch.testing.assert_close(convert_boxes(boxes, source, target), expected)
    assert torch.equal(boxes, before)
    assert convert_boxes(boxes.view(5, 10, 4), source, target).shape == (5, 10, 4)


def test_conversion_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="source is 'yxyx'; it must be one of xyxy"):
        convert_boxes(torch.zeros(1, 4), "yxyx", "xyxy")
    with pytest.raises(ValueError, match=r"shape \(4, 3\); its last axis must have 4"):
        convert_boxes(torch.zeros(4, 3), "xyxy", "xywh")
    with pytest.raises(ValueError, match=r"torch.int64; it must be floating point"):
        convert_boxes(torch.zeros(1, 4, dtype=torch.int64), "xyxy", "cxcywh")


@pytest.mark.parametrize(("first", "second"), [(20, 30), (0, 5), (5, 0), (0, 0), (1, 1)])
def test_overlaps_are_torchvisions(first: int, second: int) -> None:
    a, b = random_boxes(first, 1), random_boxes(second, 2)
    torch.testing.assert_close(box_iou(a, b), ops.box_iou(a, b))
    torch.testing.assert_close(generalized_box_iou(a, b), ops.generalized_box_iou(a, b))
    torch.testing.assert_close(box_area(a), ops.box_area(a))


def test_overlaps_by_hand() -> None:
    a = torch.tensor([[0.0, 0, 2, 2]])
    b = torch.tensor([[1.0, 1, 3, 3], [2, 0, 4, 2], [6, 0, 8, 2], [0, 0, 2, 2]])
    torch.testing.assert_close(box_iou(a, b), torch.tensor([[1 / 7, 0, 0, 1]]))
    # hulls of 9, 8, 16, 4: shares that no box fills 2/9, 0, 8/16, 0
    expected = torch.tensor([[1 / 7 - 2 / 9, 0, -0.5, 1]])
    torch.testing.assert_close(generalized_box_iou(a, b), expected)


def test_empty_and_turned_boxes_have_no_overlap() -> None:
    a = torch.tensor([[3.0, 3, 3, 3], [5, 5, 1, 1], [0, 0, 4, 0]])
    assert box_area(a).tolist() == [0, 0, 0]
    assert torch.equal(box_iou(a, a), torch.zeros(3, 3))
    assert bool(torch.isfinite(generalized_box_iou(a, a)).all())
    with pytest.raises(ValueError, match=r"first has the shape \(4,\); it must be \(N, 4\)"):
        box_iou(torch.zeros(4), a)


def test_clipping() -> None:
    boxes = torch.tensor([[-5.0, -5, 50, 50], [30, 2, 90, 9], [200, 200, 300, 300]])
    torch.testing.assert_close(
        clip_boxes(boxes, (20, 40)), ops.clip_boxes_to_image(boxes, (20, 40))
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60), st.integers(0, 1000), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
def test_both_nms_agree_ties_included(count: int, seed: int, threshold: float) -> None:
    """Scores and corners on coarse grids, so that ties of score and of IoU with the threshold are common."""
    boxes = random_boxes(count, seed, 8).round()
    scores = torch.randint(0, 4, (count,), generator=torch.Generator().manual_seed(seed)) / 4
    kept = nms(boxes, scores, threshold)
    assert torch.equal(nms_plain(boxes, scores, threshold), kept)
    assert torch.equal(kept, ops.nms(boxes, scores, threshold))


def test_nms_keeps_the_best_score_not_the_best_overlap() -> None:
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [30, 0, 40, 10]])
    assert nms(boxes, torch.tensor([0.6, 0.9, 0.1]), 0.5).tolist() == [1, 2]
    # an IoU that equals the threshold survives
    pair = torch.tensor([[0.0, 0, 10, 10], [0, 5, 10, 10]])
    assert nms(pair, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]
    assert nms_plain(pair, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]


def test_nms_of_labels_leaves_others_alone() -> None:
    boxes, scores = random_boxes(80, 3), torch.rand(80)
    labels = torch.arange(80) % 3
    kept = batched_nms(boxes, scores, labels, 0.4)
    alone = [(labels == k).nonzero()[:, 0] for k in range(3)]
    separately = torch.cat([rows[nms(boxes[rows], scores[rows], 0.4)] for rows in alone])
    assert sorted(kept.tolist()) == sorted(separately.tolist())
    assert bool((scores[kept].diff() <= 0).all())


def test_nms_says_what_is_wrong() -> None:
    boxes, scores = random_boxes(3), torch.rand(3)
    with pytest.raises(ValueError, match=r"threshold is 1.5; an IoU is in \[0, 1\]"):
        nms(boxes, scores, 1.5)
    with pytest.raises(ValueError, match=r"boxes has the shape \(3, 4\) and scores \(2,\)"):
        nms_plain(boxes, scores[:2], 0.5)
    with pytest.raises(ValueError, match="labels has the shape"):
        batched_nms(boxes, scores, torch.zeros(2), 0.5)


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_coder_is_torchvisions_and_goes_back(weights: tuple[float, float, float, float]) -> None:
    ours, other = BoxCoder(weights), theirs.BoxCoder(weights)
    truth, boxes = random_boxes(40, 4).double(), random_boxes(40, 5).double()
    deltas = ours.encode(truth, boxes)
    torch.testing.assert_close(deltas, other.encode_single(truth, boxes))
    torch.testing.assert_close(ours.decode(deltas, boxes)[:, 0], truth)
    many = 3 * torch.randn(40, 12, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(ours.decode(many, boxes), other.decode(many, [boxes]))


def test_coder_by_hand() -> None:
    boxes, truth = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 25, 20]])
    # centre moves by 10 of a width of 10; the width doubles
    expected = torch.tensor([[1.0, 0, float(torch.tensor(2.0).log()), 0]])
    torch.testing.assert_close(BoxCoder((1, 1, 1, 1)).encode(truth, boxes), expected)
    far = BoxCoder((1, 1, 1, 1)).decode(torch.full((1, 4), 1000.0), boxes)
    assert bool(torch.isfinite(far).all())


@pytest.mark.parametrize("keep_best", [False, True])
def test_matching_is_torchvisions(keep_best: bool) -> None:
    matcher = theirs.Matcher(0.5, 0.3, allow_low_quality_matches=keep_best)
    for seed in range(20):
        # every object is touched by some box, for there the two rules are one
        truth, boxes = random_boxes(6, seed), random_boxes(200, seed + 100).round()
        iou = box_iou(truth, boxes)
        assert bool((iou.amax(1) > 0).all())
        assert torch.equal(match_boxes(iou, 0.5, 0.3, keep_best=keep_best), matcher(iou))


def test_matching_by_hand() -> None:
    iou = torch.tensor([[0.8, 0.4, 0.1, 0.0], [0.3, 0.2, 0.0, 0.35]])
    assert match_boxes(iou, 0.5, 0.3).tolist() == [0, -2, -1, -2]
    assert match_boxes(iou, 0.5, 0.3, keep_best=True).tolist() == [0, -2, -1, 1]
    assert match_boxes(torch.zeros(0, 3), 0.5, 0.3, keep_best=True).tolist() == [-1, -1, -1]
    assert match_boxes(torch.zeros(2, 0), 0.5, 0.3, keep_best=True).tolist() == []
    # no box touches the object: it gets none
    assert match_boxes(torch.zeros(1, 3), 0.5, 0.3, keep_best=True).tolist() == [-1, -1, -1]
    with pytest.raises(ValueError, match=r"low is 0.5; it must not exceed high = 0.3"):
        match_boxes(iou, 0.3, 0.5)


def test_sampling_draws_what_torchvision_draws() -> None:
    matches = torch.randint(-2, 3, (500,), generator=torch.Generator().manual_seed(1))
    labels = torch.where(matches >= 0, 1, torch.where(matches == -1, 0, -1))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        positive, negative = sample_balanced(matches, 64, 0.25)
        torch.manual_seed(3)
        masks = theirs.BalancedPositiveNegativeSampler(64, 0.25)([labels])
    assert sorted(positive.tolist()) == masks[0][0].nonzero()[:, 0].tolist()
    assert sorted(negative.tolist()) == masks[1][0].nonzero()[:, 0].tolist()
    assert len(positive) == 16 and len(negative) == 48


def test_sampling_fills_up_and_can_be_repeated() -> None:
    matches = torch.tensor([0, -1, -1, -2, -1])
    positive, negative = sample_balanced(matches, 4, 0.5)
    assert positive.tolist() == [0] and sorted(negative.tolist()) == [1, 2, 4]
    first, second = (
        sample_balanced(torch.full((99,), -1), 9, 0.5, torch.Generator().manual_seed(2))[1]
        for _ in range(2)
    )
    assert torch.equal(first, second)
    with pytest.raises(ValueError, match=r"positive_share is 2; it must be in \[0, 1\]"):
        sample_balanced(matches, 4, 2)


def test_targets_are_cleaned() -> None:
    target = {
        "boxes": torch.tensor(
            [[5.0, 5, 20, 20], [7, 7, 7, 7], [50, 50, 60, 60], [-5, -5, 4, 4], [1, 1, 9, 9]]
        ),
        "labels": torch.tensor([1, 2, 1, 2, 1]),
        "crowd": torch.tensor([False, False, False, False, True]),
        "masks": torch.arange(5)[:, None, None].expand(-1, 30, 30),
    }
    clean = clean_target(target, (30, 30), 3)
    assert clean["boxes"].tolist() == [[5, 5, 20, 20], [0, 0, 4, 4]]
    assert clean["labels"].tolist() == [1, 2] and clean["masks"][:, 0, 0].tolist() == [0, 3]
    assert "crowd" not in clean
    empty = clean_target({"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}, (9, 9), 3)
    assert len(empty["boxes"]) == 0


@pytest.mark.parametrize(
    ("boxes", "labels", "message"),
    [
        ([[0.0, 0, 1, 1]], [0], "labels are 0..0; they must be in 1..2, for 0 is the background"),
        ([[0.0, 0, 1, 1]], [3], "labels are 3..3"),
        ([[0.0, 0, float("nan"), 1]], [1], "boxes has entries that are not finite"),
        ([[0.0, 0, 1, 1]], [1, 2], r"\(1, 4\) and labels \(2,\)"),
    ],
)
def test_targets_that_cannot_be_learned(boxes: list, labels: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        clean_target({"boxes": torch.tensor(boxes), "labels": torch.tensor(labels)}, (9, 9), 3)
