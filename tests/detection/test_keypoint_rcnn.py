"""Our Keypoint R-CNN is torchvision's; its targets, loss and decoding by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import (
    heatmaps_to_keypoints,
    keypointrcnn_loss,
    keypoints_to_heatmap,
)

from lessons_lib.detection import KeypointRCNN
from lessons_lib.detection.keypoint_head import (
    KeypointBranch,
    KeypointHead,
    decode_heatmaps,
    keypoint_loss,
    keypoint_targets,
)
from tests.detection.test_faster_rcnn import SIZES, pictures, randomise
from tests.detection.test_faster_rcnn import targets as box_targets
from tests.detection.test_mask_rcnn import RENAMED, balance_classes
from tests.detection.test_small_detector import AWKWARD, target

DETECTION = torchvision.models.detection


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# Targets, loss, decoding


def test_places_by_hand() -> None:
    """A box of 8 × 4 px in 4 × 4 places: a place is 2 px wide and 1 px high."""
    boxes = torch.tensor([[10.0, 20, 18, 24]])
    points = [
        [10.0, 20, 2],  # upper left corner: row 0, column 0
        [13.9, 22.5, 1],  # hidden counts: row 2, column 1
        [18, 24, 2],  # upon the last borders: row 3, column 3
        [12, 21, 0],  # not labelled
        [9.9, 22, 2],  # left of the box
        [14, 24.1, 2],  # below
    ]
    places, valid = keypoint_targets(torch.tensor([points]), boxes, 4)
    assert valid.tolist() == [[True, True, True, False, False, False]]
    assert places[0, :3].tolist() == [0, 2 * 4 + 1, 3 * 4 + 3]


def test_places_are_torchvisions() -> None:
    corners = 40 * torch.rand(60, 2, 2, generator=generator())
    boxes = torch.cat([corners.amin(1), corners.amax(1) + 1], 1)
    points = 40 * torch.rand(60, 5, 3, generator=generator(1))
    points[..., 2] = torch.randint(0, 3, (60, 5), generator=generator(2)).float()
    points[:20, 0, 0], points[20:40, 1, 1] = boxes[:20, 2], boxes[20:40, 3]
    places, valid = keypoint_targets(points, boxes, 56)
    expected, expected_valid = keypoints_to_heatmap(points, boxes, 56)
    assert torch.equal(places, expected) and torch.equal(valid.long(), expected_valid)
    assert 15 < int(valid.sum()) < 270


def test_loss_by_hand() -> None:
    logits = torch.zeros(1, 3, 2, 2)
    logits[0, 1, 1, 0] = math.log(5.0)
    places, valid = torch.tensor([[3, 2, 1]]), torch.tensor([[True, True, False]])
    # of 4 equal places one: log 4; exp(log 5) = 5 of 8: log 8/5; the third does not count
    expected = (math.log(4) + math.log(8 / 5)) / 2
    assert float(keypoint_loss(logits, places, valid)) == pytest.approx(expected)


@pytest.mark.parametrize("count", [0, 2])
def test_nothing_visible_is_no_loss(count: int) -> None:
    logits = torch.ones(count, 3, 4, 4, requires_grad=True)
    nothing = torch.zeros(count, 3, dtype=torch.int64)
    loss = keypoint_loss(logits, nothing, nothing.bool())
    loss.backward()
    assert float(loss.detach()) == 0 and logits.grad is not None and not logits.grad.any()


def test_loss_is_torchvisions() -> None:
    boxes = [torch.tensor([[0.0, 0, 30, 20], [5, 5, 25, 30]]), torch.tensor([[2.0, 3, 40, 30]])]
    truth = [40 * torch.rand(3, 4, 3, generator=generator(k)) for k in (1, 2)]
    objects = [torch.tensor([2, 0]), torch.tensor([1])]
    logits = torch.randn(3, 4, 56, 56, generator=generator(3))
    expected = keypointrcnn_loss(logits, boxes, truth, objects)
    points = torch.cat([t[k] for t, k in zip(truth, objects, strict=True)])
    found = keypoint_loss(logits, *keypoint_targets(points, torch.cat(boxes), 56))
    torch.testing.assert_close(found, expected)


def test_decoding_by_hand() -> None:
    """A box as large in pixels as its map in places: nothing is interpolated, the peak's middle is the point."""
    heatmaps = torch.zeros(1, 2, 8, 8)
    heatmaps[0, 0, 3, 6], heatmaps[0, 1, 0, 0] = 4, 2
    points, scores = decode_heatmaps(heatmaps, torch.tensor([[10.0, 20, 18, 28]]))
    assert points.tolist() == [[[16.5, 23.5, 1], [10.5, 20.5, 1]]]
    assert scores.tolist() == [[4, 2]]


def test_decoding_is_torchvisions() -> None:
    corners = 90 * torch.rand(30, 2, 2, generator=generator())
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    boxes[0], boxes[1] = torch.tensor([3.0, 3, 3.2, 3.1]), torch.tensor([0.0, 0, 300, 7.5])
    heatmaps = torch.randn(30, 4, 56, 56, generator=generator(1))
    for found, expected in zip(
        decode_heatmaps(heatmaps, boxes), heatmaps_to_keypoints(heatmaps, boxes), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert decode_heatmaps(heatmaps[:0], boxes[:0])[0].shape == (0, 4, 3)


def test_shapes_of_the_head() -> None:
    head = KeypointHead(8, 5, 6, depth=3)
    assert head(torch.zeros(2, 8, 14, 14)).shape == (2, 5, 56, 56)
    assert head(torch.zeros(0, 8, 14, 14)).shape == (0, 5, 56, 56)
    layers = 6 * (9 * 8 + 1) + 2 * 6 * (9 * 6 + 1) + 5 * (16 * 6 + 1)
    assert sum(p.numel() for p in head.parameters()) == layers


# torchvision's model


@pytest.fixture(scope="module")
def theirs() -> nn.Module:
    torch.manual_seed(0)
    model = DETECTION.keypointrcnn_resnet50_fpn(
        weights=None,
        weights_backbone=None,
        num_classes=12,
        num_keypoints=5,
        min_size=128,
        max_size=180,
        box_score_thresh=0.0,
        box_nms_thresh=0.1,
        box_detections_per_img=8,
        box_batch_size_per_image=16,
        rpn_post_nms_top_n_test=200,
    )
    randomise(model)
    balance_classes(model.eval())
    return model


def test_the_same_detections_and_keypoints(theirs: nn.Module) -> None:
    ours = KeypointRCNN.from_torchvision(theirs)
    images = pictures()
    with torch.inference_mode():
        expected, found = theirs(images), ours(images)
    labels = torch.cat([e["labels"] for e in expected])
    assert len(labels) >= 20 and len(labels.unique()) >= 5, "too little to compare"
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(other["labels"], one["labels"])
        for name, renamed in [
            ("boxes", "boxes"),
            ("scores", "scores"),
            ("keypoints", "keypoints"),
            ("keypoint_scores", "keypoints_scores"),
        ]:
            torch.testing.assert_close(other[name], one[renamed], atol=1e-4, rtol=0)
        assert float(other["keypoint_scores"].std()) > 0


def targets() -> list[dict[str, Tensor]]:
    result = []
    for seed, (t, size) in enumerate(zip(box_targets(), SIZES, strict=True)):
        points = torch.rand(len(t["boxes"]), 5, 3, generator=generator(seed))
        points[..., 0] *= size[1]
        points[..., 1] *= size[0]
        points[..., 2] = (points[..., 2] > 0.2).float()
        result.append({**t, "keypoints": points})
    return result


def test_the_same_losses_and_gradients(theirs: nn.Module) -> None:
    ours = KeypointRCNN.from_torchvision(theirs)
    images = pictures(1)
    results = []
    for model in (theirs, ours):
        model.train()
        model.zero_grad()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            losses = model(images, targets())
        sum(losses.values()).backward()
        heads: Any = model.roi_heads
        last = heads.branch.head if model is ours else heads.keypoint_predictor
        layers = [last.kps_score_lowres.weight, model.rpn.head.cls_logits.weight]
        layers.append(model.backbone.body.layer4[0].conv1.weight)
        results.append(
            (
                {k: float(v.detach()) for k, v in losses.items()},
                torch.cat([p.grad.flatten() for p in layers]),
            )
        )
    theirs.eval()
    (expected, expected_grads), (found, grads) = results
    renamed = {**RENAMED, "keypoint": "loss_keypoint"}
    del renamed["mask"]
    assert found == pytest.approx({k: expected[v] for k, v in renamed.items()}, rel=1e-4)
    torch.testing.assert_close(grads, expected_grads, atol=1e-4, rtol=1e-3)


def test_published_names_load() -> None:
    with torch.device("meta"):
        model = DETECTION.keypointrcnn_resnet50_fpn(weights=None, weights_backbone=None)
        ours = KeypointRCNN.resnet_fpn()
    state = {k: torch.full_like(v, 0.5, device="cpu") for k, v in model.state_dict().items()}
    state["roi_heads.keypoint_head.6.weight"][0, 0] = 3.0
    ours.load_state_dict(state, assign=True)
    branch = ours.roi_heads.branch
    assert isinstance(branch, KeypointBranch)
    fourth = branch.head.convolutions[3]
    assert torch.equal(fourth.weight, state["roi_heads.keypoint_head.6.weight"])
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_state_dict({k: v for k, v in state.items() if "lowres" not in k})


def test_another_model_is_refused() -> None:
    with torch.device("meta"):
        model = DETECTION.maskrcnn_resnet50_fpn(weights=None, weights_backbone=None)
    with pytest.raises(ValueError, match="model is a MaskRCNN without a keypoint branch"):
        KeypointRCNN.from_torchvision(model)


# The small model


def small(seed: int = 0) -> KeypointRCNN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return KeypointRCNN.small(
            6, channels=(8, 8, 16, 16), width=8, head_width=16, keypoint_width=8, keypoints=4
        )


def with_points(one: dict[str, Tensor]) -> dict[str, Tensor]:
    boxes = one["boxes"]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    points = torch.cat([middles, torch.ones(len(boxes), 1)], 1)
    return {**one, "keypoints": points[:, None].expand(-1, 4, -1)}


@pytest.mark.parametrize("name", AWKWARD)
def test_losses_and_gradients_stay_finite(name: str) -> None:
    model = small().train()
    images = torch.rand(2, 3, 64, 64, generator=generator())
    losses = model(images, [with_points(AWKWARD[name]), with_points(AWKWARD["no boxes"])])
    assert losses.keys() == {"rpn_objectness", "rpn_box", "class", "box", "keypoint"}
    sum(losses.values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), key


def test_a_target_without_keypoints_is_refused() -> None:
    with pytest.raises(ValueError, match="a target has no keypoints"):
        small().train()(torch.rand(1, 3, 64, 64), [AWKWARD["no boxes"]])


def test_points_lie_in_their_boxes() -> None:
    images = [
        torch.rand(3, *size, generator=generator(k)) for k, size in enumerate([(64, 96), (33, 47)])
    ]
    with torch.inference_mode():
        found = small().eval()(images)
    assert sum(len(one["boxes"]) for one in found) > 20
    for one in found:
        points, boxes = one["keypoints"], one["boxes"][:, None]
        assert points.shape == (len(boxes), 4, 3) and bool((points[..., 2] == 1).all())
        assert one["keypoint_scores"].shape == (len(boxes), 4)
        # a box smaller than a pixel still takes the middle of one
        low, high = boxes[..., :2], torch.maximum(boxes[..., 2:], boxes[..., :2] + 1)
        assert bool(((points[..., :2] > low) & (points[..., :2] < high)).all())


@pytest.mark.parametrize("training", [True, False])
def test_half_precision(training: bool) -> None:
    model, images = small().train(training), torch.rand(2, 3, 64, 64)
    given = [with_points(target([[8.0, 8, 40, 40]], [1])), with_points(target([], []))]
    with torch.autocast("cpu", torch.bfloat16):
        result = model(images, given) if training else model(images)
    if training:
        sum(result.values()).backward()
        assert all(value.dtype == torch.float32 for value in result.values())
    else:
        assert all(one["keypoints"].dtype == torch.float32 for one in result)
