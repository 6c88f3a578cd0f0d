"""YOLOv3: loss by hand and against a plain loop over three scales, the neck, the paper's network."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lessons_lib.detection import YOLOv3, yolo_v3_loss
from lessons_lib.detection.yolo_v3 import COCO_ANCHORS, YOLONeck, scores_v3
from tests.detection.yolo_oracles import iou_of, random_targets, target


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def cross(p: float, t: float) -> float:
    """Cross-entropy of a probability and a target that may lie between 0 and 1."""
    return -t * math.log(p) - (1 - t) * math.log(1 - p)


def test_loss_by_hand() -> None:
    """Two scales of one cell and one anchor each; the object fits the second, coarse one."""
    raw = [torch.zeros(1, 1, 1, 1, 7), torch.zeros(1, 1, 1, 1, 7)]
    raw[1][0, 0, 0, 0, 4:] = torch.tensor([math.log(4), math.log(3), 0.0])
    one = target([[0.0, 0, 16, 8]], [1])  # centre (8, 4) in a cell of 16 x 16 px
    anchors = [torch.tensor([[2.0, 2]]), torch.tensor([[16.0, 16]])]
    terms = yolo_v3_loss(raw, [one], anchors, [(16, 16)] * 2)
    # σ(0) = 0.5 in x and y, to be 0.5 and 0.25: each cross-entropy is log 2; th is to be log 0.5
    # the object covers half of the picture: its place weighs 2 - 1/2
    place = 2 * math.log(2) + math.log(2) ** 2 / 2
    assert float(terms["box"]) == pytest.approx(1.5 * place)
    assert float(terms["object"]) == pytest.approx(-math.log(0.8))  # σ(log 4) = 4 / 5
    assert float(terms["no_object"]) == pytest.approx(-math.log(0.5))  # the fine anchor
    # classes: σ(log 3) = 3/4 is to be 1, σ(0) = 1/2 is to be 0
    assert float(terms["class"]) == pytest.approx(-math.log(3 / 4) - math.log(1 / 2))


def test_the_step_of_a_place_is_prediction_minus_truth() -> None:
    """The paper's section 2.1, for tx, ty, tw, th, with σ(t) for the first two, and the weight."""
    raw = torch.randn(1, 2, 2, 1, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    one = target([[3.0, 20, 9, 30]], [1])  # centre (6, 25): row 1, column 0 of cells of 16 px
    yolo_v3_loss([raw], [one], [torch.tensor([[8.0, 8]])], [(16, 16)])["box"].backward()
    assert raw.grad is not None
    tx, ty, tw, th = raw[0, 1, 0, 0, :4].tolist()
    expected = [sigmoid(tx) - 6 / 16, sigmoid(ty) - (25 / 16 - 1)]
    expected += [tw - math.log(6 / 8), th - math.log(10 / 8)]
    weight = 2 - 6 * 10 / 32**2
    expected = [weight * e for e in expected]
    assert raw.grad[0, 1, 0, 0, :4].tolist() == pytest.approx(expected, abs=1e-5)
    raw.grad[0, 1, 0, 0] = 0
    assert bool((raw.grad == 0).all())


def test_a_good_box_that_is_not_the_best_anchor_is_ignored() -> None:
    """Both anchors predict boxes near the object; only the best shape learns, at any threshold."""
    raw = torch.zeros(1, 1, 1, 2, 7)
    anchors = torch.tensor([[16.0, 16], [16, 12]])  # IoU with the object 1 and 3/4
    one = target([[0.0, 0, 16, 16]], [1])
    for ignore, term in [(0.8, math.log(2)), (0.7, 0.0)]:
        terms = yolo_v3_loss([raw], [one], [anchors], [(16, 16)], ignore=ignore)
        assert float(terms["no_object"]) == pytest.approx(term)
        assert float(terms["object"]) == pytest.approx(math.log(2))


def plain_loss(
    raw: list[Tensor],
    truth: list[list[float]],
    labels: list[int],
    anchors: list[list[list[float]]],
    cells: list[int],
) -> list[float]:
    flat = [(s, a) for s, level in enumerate(anchors) for a in range(len(level))]
    owner: dict[tuple[int, int, int, int], int] = {}
    for k, (x1, y1, x2, y2) in enumerate(truth):
        fits = [iou_of([0, 0, *anchors[s][a]], [0, 0, x2 - x1, y2 - y1]) for s, a in flat]
        s, a = flat[fits.index(max(fits))]
        i = min(raw[s].shape[0] - 1, int((y1 + y2) / 2 / cells[s]))
        j = min(raw[s].shape[1] - 1, int((x1 + x2) / 2 / cells[s]))
        owner.setdefault((s, i, j, a), k)
    box = obj = no = cls = 0.0
    for s, level in enumerate(raw):
        for i in range(level.shape[0]):
            for j in range(level.shape[1]):
                for a, (pw, ph) in enumerate(anchors[s]):
                    tx, ty, tw, th, to, *scores = level[i, j, a].double().tolist()
                    x, y = (sigmoid(tx) + j) * cells[s], (sigmoid(ty) + i) * cells[s]
                    w, h = pw * math.exp(tw), ph * math.exp(th)
                    own = [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
                    if (s, i, j, a) not in owner:
                        if max(iou_of(own, t) for t in truth) <= 0.5:
                            no += cross(sigmoid(to), 0)
                        continue
                    k = owner[s, i, j, a]
                    x1, y1, x2, y2 = truth[k]
                    place = cross(sigmoid(tx), (x1 + x2) / 2 / cells[s] - j)
                    place += cross(sigmoid(ty), (y1 + y2) / 2 / cells[s] - i)
                    place += (tw - math.log((x2 - x1) / pw)) ** 2 / 2
                    place += (th - math.log((y2 - y1) / ph)) ** 2 / 2
                    box += place * (2 - (x2 - x1) * (y2 - y1) / 64**2)
                    obj += cross(sigmoid(to), 1)
                    cls += sum(
                        cross(sigmoid(score), float(c == labels[k] - 1))
                        for c, score in enumerate(scores)
                    )
    return [box, obj, no, cls]


@pytest.mark.parametrize("seed", range(5))
def test_loss_is_that_of_a_plain_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    anchors = [[[6.0, 6], [10, 5]], [[20, 12], [12, 24]], [[40, 40], [60, 30]]]
    cells = [8, 16, 32]
    raw = [torch.randn(1, 64 // c, 64 // c, 2, 5 + 4, generator=generator) for c in cells]
    (one,) = random_targets(1, 64, 64, 4, generator, most=12)
    given = [torch.tensor(level) for level in anchors]
    terms = yolo_v3_loss(raw, [one], given, [(c, c) for c in cells])
    truth = one["boxes"].tolist()
    expected = plain_loss([r[0] for r in raw], truth, one["labels"].tolist(), anchors, cells)
    found = [float(terms[name]) for name in ("box", "object", "no_object", "class")]
    assert found == pytest.approx(expected, rel=1e-3)


def test_scores_by_hand() -> None:
    """Classes do not exclude each other: their scores may add up to more than 1."""
    raw = torch.tensor([0.0, 0, 0, 0, math.log(9), math.log(3), math.log(3)])
    assert scores_v3(raw).tolist() == pytest.approx([0.9 * 0.75] * 2)


def test_the_neck_lets_coarse_maps_help_fine_ones_and_not_the_other_way() -> None:
    neck = YOLONeck({"c3": 4, "c4": 6}, (2, 3), 1, 5).eval()
    maps = {"c3": torch.rand(1, 4, 8, 12), "c4": torch.rand(1, 6, 4, 6)}
    fine, coarse = neck(maps)
    assert fine.shape == (1, 5, 8, 12) and coarse.shape == (1, 5, 4, 6)
    moved = neck({**maps, "c4": maps["c4"] + 1})
    assert not torch.allclose(moved[0], fine) and not torch.allclose(moved[1], coarse)
    moved = neck({**maps, "c3": maps["c3"] + 1})
    assert not torch.allclose(moved[0], fine) and torch.equal(moved[1], coarse)


def test_the_papers_network() -> None:
    """61,949,149 parameters for COCO's 80 classes, derived here from table 1 and section 2.3.

    With the running statistics of 26,304 normalised channels that makes 62,001,757 numbers, the size
    of the released ``yolov3.weights``: 248,007,048 bytes with a header of 20.
    """
    layers = [(3, 32, 3)]
    for channels, blocks in [(64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)]:
        half = channels // 2
        layers += [(half, channels, 3)] + [(channels, half, 1), (half, channels, 3)] * blocks
    assert len(layers) == 52
    outputs = 3 * (4 + 1 + 80)
    last = 0
    for width, before in [(512, 1024), (256, 512 + 256), (128, 256 + 128)]:
        layers += [(before, width, 1)] + [(width, 2 * width, 3), (2 * width, width, 1)] * 2
        layers += [(width, 2 * width, 3)]
        last += 2 * width * outputs + outputs
    layers += [(512, 256, 1), (256, 128, 1)]
    normalised = sum(o for _, o, _ in layers)
    learned = sum(i * o * k * k + 2 * o for i, o, k in layers) + last
    with torch.device("meta"):
        model = YOLOv3.paper()
    assert sum(p.numel() for p in model.parameters()) == learned == 61_949_149
    found = sum(v.numel() for n, v in model.state_dict().items() if "num_batches" not in n)
    assert normalised == 26_304
    assert found == learned + 2 * normalised == (248_007_048 - 20) // 4
    levels = model.predict(torch.empty(1, 3, 416, 416, device="meta"))
    assert [tuple(m.shape[1:]) for m in levels] == [(n, n, 3, 85) for n in (52, 26, 13)]
    # as many boxes as the paper's section 2.3 would have for a picture of 416 px
    assert sum(m.shape[1] * m.shape[2] * 3 for m in levels) == 10_647
    assert [len(level) for level in COCO_ANCHORS] == [3, 3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "num_classes is 1; it must be at least 2"),
        ({"num_classes": 3, "anchors": [[(4, 4)]] * 2}, "3 maps need as many each, at least 1"),
        (
            {"num_classes": 3, "anchors": [[(4, 4)], [(8, 8)], [(8, 8), (9, 9)]]},
            r"anchors has \[1, 1, 2\] shapes a map",
        ),
    ],
)
def test_what_cannot_be_built(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        YOLOv3.small(**options)
