"""The mask branch in parts: targets, loss, pasting, label maps; by hand, against torchvision and loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import (
    maskrcnn_loss,
    paste_masks_in_image,
    project_masks_on_boxes,
)

from lessons_lib.data import Shapes, Sticks
from lessons_lib.data.rle import decode_rle, encode_rle
from lessons_lib.detection import MaskRCNN, average_precision, coco_form, mask_head, roi_pool
from lessons_lib.detection.instance_targets import InstanceTargets, merge_masks, split_instances
from lessons_lib.detection.mask_head import (
    MaskBranch,
    MaskHead,
    mask_loss,
    mask_probabilities,
    mask_targets,
    paste_masks,
)
from lessons_lib.detection.mask_recipes import filled_boxes, run_lengths
from lessons_lib.detection.pyramid import PyramidRoIAlign, PyramidRoIPool, assign_levels
from lessons_lib.detection.targets import check_rows, resize_keypoints, resize_masks


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_boxes(count: int, size: tuple[int, int], seed: int) -> Tensor:
    corners = torch.rand(count, 2, 2, generator=generator(seed)) * torch.tensor(size[::-1])
    return torch.cat([corners.amin(1), corners.amax(1)], 1)


# Targets


def test_targets_by_hand() -> None:
    """The left half of 8 × 8 px, cut into 4 cells. RoIAlign takes two points a cell and axis, and a
    pixel's value at its upper left corner: x = 0.5 lies between pixels 0 and 1. Only x = 3.5 lies between
    the last pixel of the object and the first beside it: (1 + 0.5) / 2 = 0.75."""
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :, :4] = True
    found = mask_targets(
        [mask], [torch.tensor([[0.0, 0, 8, 8]])], [torch.zeros(1, dtype=torch.int64)], 4
    )
    assert found.tolist() == [[[1, 0.75, 0, 0]] * 4]


def test_targets_of_several_pictures_are_torchvisions() -> None:
    masks = [
        torch.rand(n, *s, generator=generator(n)) > 0.4 for n, s in [(3, (40, 60)), (2, (31, 25))]
    ]
    boxes = [random_boxes(7, (40, 60), 1), random_boxes(4, (31, 25), 2)]
    objects = [torch.tensor([0, 1, 2, 2, 1, 0, 0]), torch.tensor([1, 0, 0, 1])]
    found = mask_targets(masks, boxes, objects, 28)
    each = [
        project_masks_on_boxes(m, b, o, 28) for m, b, o in zip(masks, boxes, objects, strict=True)
    ]
    torch.testing.assert_close(found, torch.cat(each), atol=0, rtol=0)
    assert 0.2 < float(found.mean()) < 0.8


def test_no_objects_no_targets() -> None:
    nothing = torch.zeros(0, 9, 9, dtype=torch.bool)
    found = mask_targets([nothing], [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)], 28)
    assert found.shape == (0, 28, 28)


# Loss and probabilities


def test_loss_by_hand() -> None:
    logits = torch.zeros(1, 3, 1, 2)
    logits[0, 1], logits[0, 2] = math.log(2.0), math.log(4.0)
    labels, wanted = torch.tensor([2]), torch.tensor([[[1.0, 0.25]]])
    # sigmoid(log 4) = 4 / 5; the first cell is the object's, of the second a quarter
    first, second = -math.log(4 / 5), -(0.25 * math.log(4 / 5) + 0.75 * math.log(1 / 5))
    assert float(mask_loss(logits, labels, wanted)) == pytest.approx((first + second) / 2)
    # softmax of (0, log 2, log 4) = (1, 2, 4) / 7; the background is class 0
    first, second = -math.log(4 / 7), -(0.25 * math.log(4 / 7) + 0.75 * math.log(1 / 7))
    assert float(mask_loss(logits, labels, wanted, "softmax")) == pytest.approx(
        (first + second) / 2
    )
    assert mask_probabilities(logits, labels).flatten().tolist() == pytest.approx([4 / 5] * 2)
    soft = mask_probabilities(logits, labels, "softmax")
    assert soft.flatten().tolist() == pytest.approx([4 / 7] * 2)


@pytest.mark.parametrize(("kind", "competing"), [("sigmoid", False), ("softmax", True)])
def test_only_the_softmax_makes_classes_compete(kind: Any, competing: bool) -> None:
    logits = torch.randn(3, 5, 4, 4, generator=generator()).requires_grad_()
    wanted = (torch.rand(3, 4, 4, generator=generator()) > 0.5).float()
    labels = torch.tensor([1, 3, 3])
    mask_loss(logits, labels, wanted, kind).backward()
    assert logits.grad is not None
    touched = logits.grad.abs().sum((2, 3)) > 0
    own = torch.zeros(3, 5, dtype=torch.bool)
    own[torch.arange(3), labels] = True
    assert bool(touched[own].all()) and bool(touched[~own].all()) == competing
    assert bool(touched[~own].any()) == competing


def test_loss_is_torchvisions() -> None:
    masks = [torch.rand(2, 30, 30, generator=generator(k)) > 0.5 for k in range(2)]
    boxes = [random_boxes(5, (30, 30), k) for k in (3, 4)]
    objects = [torch.tensor([0, 1, 1, 0, 1]), torch.tensor([1, 1, 0, 0, 0])]
    labels = [torch.tensor([2, 4]), torch.tensor([1, 3])]
    logits = torch.randn(10, 5, 28, 28, generator=generator(5))
    expected = maskrcnn_loss(logits, boxes, masks, labels, objects)
    of_each = torch.cat([own[index] for own, index in zip(labels, objects, strict=True)])
    found = mask_loss(logits, of_each, mask_targets(masks, boxes, objects, 28))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["sigmoid", "softmax"])
def test_no_object_is_no_loss(kind: Any) -> None:
    logits = torch.zeros(0, 3, 28, 28, requires_grad=True)
    loss = mask_loss(logits, torch.zeros(0, dtype=torch.int64), torch.zeros(0, 28, 28), kind)
    loss.backward()
    assert float(loss.detach()) == 0


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match="loss is 'dice'; it must be one of sigmoid, softmax"):
        MaskBranch(PyramidRoIAlign(("c2",)), MaskHead(8, 2, 8), "dice")  # type: ignore[arg-type]


# Pasting


def test_pasting_by_hand() -> None:
    """2 × 2 ones with a border of zeros are 4 cells; the box of 4 px grows to 8 px, and covers, both ends
    included, 9. Pixel p lies at 4 (p + 1/2) / 9 - 1/2 cells: 0.17 cells for p = 1, 0.61 for p = 2; from
    there to the middle of cell 1 the border's 0 turns into 1."""
    pasted = paste_masks(torch.ones(1, 2, 2), torch.tensor([[2.0, 2, 6, 6]]), (10, 12), None)[0]
    line = torch.tensor([0, 1 / 6, 11 / 18, 1, 1, 1, 11 / 18, 1 / 6, 0])
    torch.testing.assert_close(pasted[:9, :9], line[:, None] * line)
    assert not pasted[9:].any() and not pasted[:, 9:].any()
    mask = paste_masks(torch.ones(1, 2, 2), torch.tensor([[2.0, 2, 6, 6]]), (10, 12))[0]
    # of the products more than 1/2 are 1 · 1 (3 × 3) and 1 · 11/18 (4 × 3); 121/324 is less
    assert mask.dtype == torch.bool and int(mask.sum()) == 9 + 12
    assert torch.equal(mask, pasted > 0.5)


AWKWARD_BOXES = [
    [0.0, 0, 60, 40],
    [5.5, 3.5, 5.6, 3.7],
    [0, 0, 0.4, 0.4],
    [59.2, 39.1, 60, 40],
    [-4, -9, 70, 50],
    [10, 5, 10, 30],
    [30.2, 10.7, 31.9, 39.9],
    [0, 12, 60, 13],
]


def test_pasting_is_torchvisions() -> None:
    boxes = torch.cat([torch.tensor(AWKWARD_BOXES), random_boxes(40, (40, 60), 0)])
    masks = torch.rand(len(boxes), 28, 28, generator=generator(1))
    masks[-1] = 0
    expected = paste_masks_in_image(masks[:, None], boxes, (40, 60))[:, 0]
    found = paste_masks(masks, boxes, (40, 60), None)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    clear = (expected - 0.5).abs() > 1e-5
    assert torch.equal(paste_masks(masks, boxes, (40, 60))[clear], (expected > 0.5)[clear])


def test_pasting_some_at_a_time_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes, masks = random_boxes(9, (40, 60), 0), torch.rand(9, 28, 28, generator=generator(1))
    whole = paste_masks(masks, boxes, (40, 60), None)
    for most in (1, 3 * 40 * 60, 9 * 40 * 60):
        monkeypatch.setattr(mask_head, "CHUNK", most)
        torch.testing.assert_close(paste_masks(masks, boxes, (40, 60), None), whole)


def test_nothing_to_paste() -> None:
    for threshold, kind in ((0.5, torch.bool), (None, torch.float32)):
        found = paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), (7, 9), threshold)
        assert found.shape == (0, 7, 9) and found.dtype == kind


# The head, the pools


def test_shapes_of_the_head() -> None:
    head = MaskHead(8, 5, 6, depth=2)
    assert head(torch.zeros(3, 8, 14, 14)).shape == (3, 5, 28, 28)
    assert head(torch.zeros(0, 8, 14, 14)).shape == (0, 5, 28, 28)
    # two convolutions, 8 to 6 and 6 to 6; the doubling; a mask a class
    layers = 6 * (9 * 8 + 1) + 6 * (9 * 6 + 1) + 6 * (4 * 6) + 6 + 5 * (6 + 1)
    assert sum(p.numel() for p in head.parameters()) == layers


def test_pooling_from_the_level_of_each_box() -> None:
    maps = {
        "c3": torch.randn(2, 4, 32, 32, generator=generator(0)),
        "c4": torch.randn(2, 4, 16, 16, generator=generator(1)),
    }
    boxes = [random_boxes(6, (128, 128), 1), random_boxes(5, (128, 128), 2)]
    found = PyramidRoIPool(("c3", "c4"), 7, canonical_size=48, canonical_level=3)(
        maps, boxes, (128, 128)
    )
    rows = torch.cat([torch.nn.functional.pad(b, (1, 0), value=k) for k, b in enumerate(boxes)])
    level = assign_levels(rows[:, 1:], 2, 3, canonical_size=48, canonical_level=3)
    assert set(level.tolist()) == {2, 3}
    for row, own, pooled in zip(rows, level.tolist(), found, strict=True):
        features = maps["c3" if own == 2 else "c4"]
        torch.testing.assert_close(pooled, roi_pool(features, row[None], 7, 1 / 2**own)[0])


# Targets in other sizes, label maps, run lengths


def test_masks_and_keypoints_are_scaled() -> None:
    mask = torch.tensor([[[True, False], [False, True]]])
    twice = resize_masks(mask, (4, 6))
    assert twice[0].int().tolist() == [[1, 1, 1, 0, 0, 0]] * 2 + [[0, 0, 0, 1, 1, 1]] * 2
    assert resize_masks(mask, (2, 2)) is mask
    assert resize_masks(mask[:0], (4, 6)).shape == (0, 4, 6)
    points = torch.tensor([[[2.0, 3.0, 2.0]]])
    assert resize_keypoints(points, (10, 20), (20, 60)).tolist() == [[[6, 6, 2]]]


@pytest.mark.parametrize(
    ("entry", "names", "message"),
    [
        ({}, ("masks",), "a target has no masks; it has boxes"),
        ({"masks": torch.zeros(2, 9, 8)}, ("masks",), r"\(2, 9, 8\); it must be \(2, 8, 9\)"),
        ({"masks": torch.zeros(1, 8, 9)}, ("masks",), r"it must be \(2, 8, 9\)"),
        ({"keypoints": torch.zeros(2, 5, 2)}, ("keypoints",), r"it must be \(2, K, 3\)"),
        ({"keypoints": torch.zeros(1, 5, 3)}, ("keypoints",), r"it must be \(2, K, 3\)"),
    ],
)
def test_targets_that_do_not_fit(entry: Any, names: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_rows({"boxes": torch.zeros(2, 4), **entry}, (8, 9), names)


def test_the_best_mask_gets_the_pixel() -> None:
    masks = torch.zeros(4, 2, 5, dtype=torch.bool)
    masks[0, :, 1:3] = True
    masks[1, :, 2:5] = True  # column 2 is taken
    masks[2, 0, 1] = True  # wholly hidden
    masks[3, :, 0] = True  # not sure enough
    scores = torch.tensor([0.9, 0.8, 0.7, 0.4])
    assert merge_masks(masks, scores).tolist() == [[0, 1, 1, 2, 2]] * 2
    assert merge_masks(masks, scores, least=0.3).tolist() == [[4, 1, 1, 2, 2]] * 2
    assert merge_masks(masks, scores, min_area=5).tolist() == [[0] * 5] * 2
    assert merge_masks(masks[:0], scores[:0]).tolist() == [[0] * 5] * 2


def test_many_masks_merge_as_in_a_loop() -> None:
    masks = torch.rand(150, 12, 13, generator=generator()) > 0.97
    scores = torch.rand(150, generator=generator(1)).sort(descending=True)[0]
    expected = torch.zeros(12, 13, dtype=torch.int64)
    for number in reversed(range(150)):
        if scores[number] >= 0.5:
            expected[masks[number]] = number + 1
    assert torch.equal(merge_masks(masks, scores), expected)
    assert len(expected.unique()) > 40


def test_label_maps_become_masks_and_masks_label_maps() -> None:
    labels = torch.tensor([[0, 7, 7, 0], [2, 2, 7, 0], [2, 0, 0, 9]])
    boxes, masks = split_instances(labels)
    assert boxes.tolist() == [[0, 1, 2, 3], [1, 0, 3, 2], [3, 2, 4, 3]]
    assert masks.dtype == torch.bool and masks.sum((1, 2)).tolist() == [3, 3, 1]
    assert torch.equal(merge_masks(masks, torch.ones(3)) > 0, labels > 0)
    nothing = split_instances(torch.zeros(3, 4, dtype=torch.int64))
    assert nothing[0].shape == (0, 4) and nothing[1].shape == (0, 3, 4)


def test_sticks_with_boxes() -> None:
    scenes = Sticks(2, size=96, width=7, stick_length=(32, 40), min_visible=70, margin=12, seed=3)
    sample = InstanceTargets(scenes)[1]
    assert len(InstanceTargets(scenes)) == 2
    assert sample["image"].shape == (3, 96, 96) and torch.equal(
        sample["image"][2], scenes[1]["image"][0]
    )
    assert (
        sample["labels"].tolist() == [1] * 8
        and sample["masks"].sum() == (sample["instances"] > 0).sum()
    )
    for mask, (x1, y1, x2, y2) in zip(sample["masks"], sample["boxes"].int().tolist(), strict=True):
        y, x = mask.nonzero().T
        assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == [x1, y1, x2, y2]


def test_filled_boxes_by_hand() -> None:
    masks = filled_boxes(torch.tensor([[0.4, 0.6, 2.6, 2.4], [1, 1, 1, 3]]), (3, 4))
    # middles at 0.5, 1.5, 2.5: x from 0.4 to 2.6 takes three, y from 0.6 to 2.4 one
    assert masks[0].int().tolist() == [[0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    assert not masks[1].any()


def test_run_lengths_score_as_masks_do() -> None:
    scene = InstanceTargets(
        Sticks(1, size=96, width=7, stick_length=(32, 40), min_visible=70, margin=12)
    )[0]
    truth = {name: scene[name] for name in ("boxes", "labels", "masks")}
    shifted = scene["masks"].roll(2, 2)
    found = {**truth, "masks": shifted, "scores": torch.linspace(0.9, 0.2, len(shifted))}
    dense = average_precision(*coco_form([truth], [found]), "masks")
    packed = [{**one, "masks": run_lengths(one["masks"])} for one in (truth, found)]
    assert isinstance(packed[0]["masks"][0]["counts"], str)
    assert average_precision(*coco_form(packed[:1], packed[1:]), "masks") == dense
    assert 0 < dense["AP"] < 1
    assert np.array_equal(decode_rle(packed[1]["masks"][3]), shifted[3].numpy())
    assert encode_rle(shifted[3], compress=True) == packed[1]["masks"][3]
    nothing = {**{k: v[:0] for k, v in found.items()}, "masks": []}
    assert average_precision(*coco_form(packed[:1], [nothing]), "masks")["AP"] == 0


# Aligned: a pixel's value stands in its middle


def test_aligned_targets_by_hand() -> None:
    """The left 3 of 8 px, in 4 cells of 2 px, read at 0.5 and 1.5 px of each: in the pixels' middles, so
    that the second cell reads one pixel of the object and one beside it."""
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, :, :3] = True
    box, first = torch.tensor([[0.0, 0, 8, 8]]), torch.zeros(1, dtype=torch.int64)
    found = mask_targets([mask], [box], [first], 4, aligned=True)
    assert found.tolist() == [[[1, 0.5, 0, 0]] * 4]


def test_aligned_pasting_reads_where_each_pixel_is() -> None:
    wide = random_boxes(20, (50, 70), 8) + torch.tensor([-6.0, -6, 9, 9])
    corners = torch.rand(30, 2, generator=generator(7)) * 40
    small = torch.cat([corners, corners + torch.linspace(4, 12, 30)[:, None]], 1)
    for side, boxes in ((9, wide), (28, small)):
        check_pasted(torch.rand(len(boxes), side, side, generator=generator(9)), boxes)


def check_pasted(grids: Tensor, boxes: Tensor) -> None:
    """Each pixel is what torch reads of the grid where the pixel's middle lies."""
    found = paste_masks(grids, boxes, (50, 70), None, aligned=True)
    for grid, box, one in zip(grids, boxes, found, strict=True):
        x = (torch.arange(70) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
        y = (torch.arange(50) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
        place = torch.stack(torch.broadcast_tensors(x[None], y[:, None]), -1)
        expected = F.grid_sample(grid[None, None], place[None], align_corners=False)[0, 0]
        torch.testing.assert_close(one, expected, atol=1e-4, rtol=1e-4)


def test_aligned_masks_come_back_and_others_are_half_a_pixel_off() -> None:
    """What the network could reach at best: true masks, cut out and pasted back."""
    iou = {}
    for aligned in (False, True):
        values = []
        for index in range(5):
            scene = Shapes(5, seed=3)[index]
            every = torch.arange(len(scene["boxes"]))
            grids = mask_targets([scene["masks"]], [scene["boxes"]], [every], 28, aligned=aligned)
            again = paste_masks(grids, scene["boxes"], (128, 128), aligned=aligned)
            shared = (again & scene["masks"]).sum((1, 2))
            values += (shared / (again | scene["masks"]).sum((1, 2))).tolist()
        iou[aligned] = float(np.mean(values))
    assert iou[True] > 0.99 and 0.90 < iou[False] < 0.95


def test_the_branch_hands_its_alignment_on() -> None:
    pool, head = PyramidRoIAlign(("c2",)), MaskHead(8, 2, 8)
    assert MaskBranch(pool, head).aligned is False  # as torchvision
    model = MaskRCNN.small(3).eval()
    image = Shapes(1, seed=4)[0]["image"]
    with torch.inference_mode():
        one = model(image[None])[0]
        again = paste_masks(one["mask_probabilities"], one["boxes"], (128, 128), aligned=True)
    assert model.roi_heads.branch.aligned and torch.equal(one["masks"], again)
