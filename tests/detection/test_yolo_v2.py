"""YOLOv2: direct location and loss by hand and against plain loops, the passthrough, the papers' networks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib.detection import YOLOv2, yolo_v2_loss
from lessons_lib.detection.yolo_grid import (
    cells_of,
    decode_grid,
    encode_grid,
    first_of_each,
    nearest_shape,
    paired_iou,
)
from lessons_lib.detection.yolo_v2 import VOC_ANCHORS, scores_v2
from tests.detection.yolo_oracles import iou_of, random_targets, target


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_direct_location_by_hand() -> None:
    moves = torch.zeros(1, 3, 4, 2, 4)
    moves[0, 2, 1, 1] = torch.tensor([0.0, math.log(3), math.log(2), -math.log(4)])
    box = decode_grid(moves, torch.tensor([[9.0, 9], [10, 40]]), (16, 8))[0, 2, 1, 1]
    # cell row 2, column 1, 16 px high, 8 px wide: bx = (σ(0) + 1) * 8 = 12, by = (0.75 + 2) * 16 = 44
    # bw = 10 * 2 = 20, bh = 40 / 4 = 10
    torch.testing.assert_close(box, torch.tensor([2.0, 39, 22, 49]))


def test_a_centre_cannot_leave_its_cell_and_scales_do_not_overflow() -> None:
    moves = torch.full((1, 1, 1, 1, 4), 1000.0)
    box = decode_grid(moves, torch.tensor([[1.0, 1]]), (16, 16))
    assert bool(torch.isfinite(box).all())
    centre = (box[..., :2] + box[..., 2:]) / 2
    torch.testing.assert_close(centre, torch.full_like(centre, 16.0))


def test_encoding_is_the_way_back() -> None:
    generator = torch.Generator().manual_seed(0)
    anchors = torch.tensor([[20.0, 30], [60, 20]])
    moves = torch.randn(1, 5, 6, 2, 4, generator=generator)
    boxes = decode_grid(moves, anchors, (16, 8)).view(-1, 4)
    cells = cells_of(boxes, 5, 6, (16, 8))
    expected = torch.cartesian_prod(torch.arange(5), torch.arange(6)).repeat_interleave(2, 0)
    assert torch.equal(cells, expected)
    said = encode_grid(boxes, cells, anchors.repeat(30, 1), (16, 8))
    wanted = torch.cat([moves[..., :2].sigmoid(), moves[..., 2:]], -1).view(-1, 4)
    torch.testing.assert_close(said, wanted, atol=1e-4, rtol=1e-4)


def test_cells_at_the_borders() -> None:
    boxes = torch.tensor([[0.0, 0, 0.5, 0.5], [99, 59, 101, 61], [15, 15, 17, 17]])
    # a centre at (100, 60), the lower right corner of the picture; one on the border of two cells
    assert cells_of(boxes, 6, 10, (10, 10)).tolist() == [[0, 0], [5, 9], [1, 1]]


def test_first_of_each() -> None:
    assert first_of_each(torch.tensor([7, 3, 7, 7, 1, 3])).tolist() == [0, 1, 4]
    assert first_of_each(torch.zeros(0).long()).tolist() == []


def test_paired_iou_and_nearest_shape_are_plain_arithmetic() -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (
        random_targets(1, 50, 50, 1, generator, most=200)[0]["boxes"][:20] for _ in range(2)
    )
    count = min(len(first), len(second))
    found = paired_iou(first[:count], second[:count])
    pairs = zip(first[:count].tolist(), second[:count].tolist(), strict=True)
    assert found.tolist() == pytest.approx([iou_of(a, b) for a, b in pairs], abs=1e-5)
    assert paired_iou(torch.zeros(1, 4), torch.zeros(1, 4)).tolist() == [0]
    anchors = torch.tensor([[10.0, 10], [30, 10], [10, 30]])
    shapes = [[0.0, 0, *a] for a in anchors.tolist()]
    for box, chosen in zip(first, nearest_shape(first, anchors), strict=True):
        x1, y1, x2, y2 = box.tolist()
        overlaps = [iou_of([0, 0, x2 - x1, y2 - y1], shape) for shape in shapes]
        assert overlaps[int(chosen)] == pytest.approx(max(overlaps))
    assert nearest_shape(first[:0], anchors).shape == (0,)


def test_loss_by_hand() -> None:
    """One cell, two anchors, two classes; the object fits the second anchor."""
    raw = torch.zeros(1, 1, 1, 2, 7)
    raw[0, 0, 0, 1, 5:] = torch.tensor([0.0, math.log(3)])
    one = target([[0.0, 0, 16, 8]], [2])  # centre (8, 4) in a cell of 16 x 16 px
    terms = yolo_v2_loss(raw, [one], torch.tensor([[2.0, 2], [16, 16]]), (16, 16))
    # place: σ(0) = 0.5 for both, to be 0.5 and 0.25; tw to be log 1, th log 0.5
    assert float(terms["box"]) == pytest.approx(0.25**2 + math.log(2) ** 2)
    # the predicted box is the anchor in the middle: 0..16 both ways; IoU 8 / 16
    assert float(terms["object"]) == pytest.approx(5 * (0.5 - 0.5) ** 2)
    # the first anchor, 2 x 2 px around (8, 8), overlaps by 2 / 130: it learns 0 from σ(0)
    assert float(terms["no_object"]) == pytest.approx(0.5**2)
    assert float(terms["class"]) == pytest.approx(-math.log(3 / 4))


def test_a_good_box_without_an_object_of_its_own_is_left_alone() -> None:
    raw = torch.zeros(1, 1, 2, 1, 7)
    raw[0, 0, 1, 0, 0] = -20.0  # the right cell's box is centred on the border between the cells
    one = target([[2.0, 0, 18, 16]], [1])  # centre (10, 8): the left cell's; IoU with the right's
    anchors = torch.tensor([[16.0, 16]])  # box 8..24: 10 / 22 = 0.4545
    for ignore, term in [(0.5, 0.25), (0.4, 0.0)]:
        terms = yolo_v2_loss(raw, [one], anchors, (16, 16), ignore=ignore)
        assert float(terms["no_object"]) == pytest.approx(term)


def plain_loss(
    raw: Tensor, truth: list[list[float]], labels: list[int], anchors: list[list[float]], cell: int
) -> list[float]:
    rows, columns, count = raw.shape[:3]
    owner: dict[tuple[int, int, int], int] = {}
    for k, (x1, y1, x2, y2) in enumerate(truth):
        i = min(rows - 1, int((y1 + y2) / 2 / cell))
        j = min(columns - 1, int((x1 + x2) / 2 / cell))
        fits = [iou_of([0, 0, *a], [0, 0, x2 - x1, y2 - y1]) for a in anchors]
        owner.setdefault((i, j, fits.index(max(fits))), k)
    box = obj = no = cls = 0.0
    for i in range(rows):
        for j in range(columns):
            for a in range(count):
                tx, ty, tw, th, to, *scores = raw[i, j, a].double().tolist()
                x, y = (sigmoid(tx) + j) * cell, (sigmoid(ty) + i) * cell
                w, h = anchors[a][0] * math.exp(tw), anchors[a][1] * math.exp(th)
                own = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
                if (i, j, a) not in owner:
                    if max(iou_of(own, t) for t in truth) <= 0.6:
                        no += sigmoid(to) ** 2
                    continue
                k = owner[i, j, a]
                x1, y1, x2, y2 = truth[k]
                box += (sigmoid(tx) - ((x1 + x2) / 2 / cell - j)) ** 2
                box += (sigmoid(ty) - ((y1 + y2) / 2 / cell - i)) ** 2
                box += (tw - math.log((x2 - x1) / anchors[a][0])) ** 2
                box += (th - math.log((y2 - y1) / anchors[a][1])) ** 2
                obj += (sigmoid(to) - iou_of(own, truth[k])) ** 2
                cls += math.log(sum(math.exp(s) for s in scores)) - scores[labels[k] - 1]
    return [box, 5 * obj, no, cls]


@pytest.mark.parametrize("seed", range(5))
def test_loss_is_that_of_a_plain_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    anchors = [[12.0, 12], [30, 14], [40, 60]]
    raw = torch.randn(1, 4, 5, 3, 5 + 4, generator=generator)
    (one,) = random_targets(1, 64, 64, 4, generator, most=12)
    terms = yolo_v2_loss(raw, [one], torch.tensor(anchors), (16, 16))
    expected = plain_loss(raw[0], one["boxes"].tolist(), one["labels"].tolist(), anchors, 16)
    found = [float(terms[name]) for name in ("box", "object", "no_object", "class")]
    assert found == pytest.approx(expected, rel=1e-3)


def test_scores_by_hand() -> None:
    raw = torch.tensor([0.0, 0, 0, 0, math.log(3), 0, 0])
    assert scores_v2(raw).tolist() == pytest.approx([0.75 * 0.5, 0.75 * 0.5])


def test_the_passthrough_lays_neighbours_side_by_side() -> None:
    fine = torch.arange(16.0).view(1, 1, 4, 4)
    coarse = F.pixel_unshuffle(fine, 2)
    assert coarse.shape == (1, 4, 2, 2)
    assert coarse[0, :, 0, 0].tolist() == [0, 1, 4, 5]


@pytest.mark.parametrize(("num_classes", "numbers"), [(21, 50_676_061), (81, 50_983_561)])
def test_the_papers_network(num_classes: int, numbers: int) -> None:
    """All numbers of a release, running statistics included, layer by layer from the paper's table 6.

    For COCO that is the size of the released ``yolov2.weights``, 203,934,260 bytes with a header of 16.
    """
    layers = [(3, 32, 3), (32, 64, 3), (64, 128, 3), (128, 64, 1), (64, 128, 3), (128, 256, 3)]
    layers += [(256, 128, 1), (128, 256, 3), (256, 512, 3)] + [(512, 256, 1), (256, 512, 3)] * 2
    layers += [(512, 1024, 3)] + [(1024, 512, 1), (512, 1024, 3)] * 2
    layers += [(1024, 1024, 3)] * 2 + [(512, 64, 1), (4 * 64 + 1024, 1024, 3)]
    outputs = 5 * (4 + num_classes)
    expected = sum(i * o * k * k + 4 * o for i, o, k in layers) + 1024 * outputs + outputs
    with torch.device("meta"):
        model = YOLOv2.paper(num_classes)
    found = sum(v.numel() for n, v in model.state_dict().items() if "num_batches" not in n)
    assert found == expected == numbers
    # 416 / 32 cells, as the paper has it; five anchors
    assert model.predict(torch.empty(1, 3, 416, 416, device="meta")).shape[1:4] == (13, 13, 5)
    assert len(VOC_ANCHORS) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "num_classes is 1; it must be at least 2"),
        ({"num_classes": 3, "anchors": []}, "anchors is empty; a cell needs at least one"),
    ],
)
def test_what_cannot_be_built(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        YOLOv2.small(**options)
