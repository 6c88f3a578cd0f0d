"""YOLO's grid: decoding, loss and scores by hand, against plain loops, and on awkward input."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from lessons_lib.detection import PictureScaler, YOLOv1, yolo_v1_loss
from lessons_lib.detection.darknet import YOLOv1Convolutions
from lessons_lib.detection.yolo_v1 import decode_v1, scores_v1, split_v1
from tests.detection.yolo_oracles import iou_of, random_targets, target


def test_the_parts_of_a_cell() -> None:
    raw = torch.arange(13.0).expand(1, 1, 1, 13)
    places, confidence, classes = split_v1(raw, 2)
    assert places[0, 0, 0].tolist() == [[0, 1, 2, 3], [5, 6, 7, 8]]
    assert confidence[0, 0, 0].tolist() == [4, 9]
    assert classes[0, 0, 0].tolist() == [10, 11, 12]


def test_decoding_by_hand() -> None:
    places = torch.zeros(1, 2, 4, 1, 4)
    # row 1, column 2 of a grid of 2 x 4 on 100 x 80 px (height 100, width 80): cells of 50 x 20 px
    places[0, 1, 2, 0] = torch.tensor([0.5, 0.2, 0.5, -0.4])
    box = decode_v1(places, (100, 80))[0, 1, 2, 0]
    # centre x = (2 + 0.5) / 4 * 80 = 50, y = (1 + 0.2) / 2 * 100 = 60
    # width 0.5² * 80 = 20, height (-0.4)² * 100 = 16: the sign does not matter
    torch.testing.assert_close(box, torch.tensor([40.0, 52, 60, 68]))


def test_loss_by_hand() -> None:
    """One object in one of four cells; two predictors, of which the second fits better."""
    raw = torch.zeros(1, 2, 2, 2 * 5 + 3)
    # the object: centre (30, 70), 40 x 20 px, class 2 of 3, in a picture of 100 x 100 px: row 1, column 0
    one = target([[10.0, 60, 50, 80]], [2])
    raw[0, 1, 0] = torch.tensor(
        [
            *[0.6, 0.4, 0.2, 0.2, 0.3],  # the right centre, 4 x 4 px
            *[0.6, 0.4, 0.5, math.sqrt(0.2), 0.7],  # the right centre, 25 x 20 px
            *[0.1, 0.8, 0.2],
        ]
    )
    raw[0, 0, 1, 4] = 0.5  # an empty cell's first confidence
    terms = yolo_v1_loss(raw, [one], (100, 100))
    # IoU of the second: 25 * 20 / (40 * 20) = 0.625; of the first: 16 / 800
    # its place should be x = 30 / 50 = 0.6, y = 70 / 50 - 1 = 0.4, roots of 0.4 and 0.2
    assert float(terms["box"]) == pytest.approx(5 * (math.sqrt(0.4) - 0.5) ** 2, rel=1e-5)
    assert float(terms["object"]) == pytest.approx((0.7 - 0.625) ** 2, rel=1e-4)
    assert float(terms["no_object"]) == pytest.approx(0.5 * (0.3**2 + 0.5**2), rel=1e-5)
    assert float(terms["class"]) == pytest.approx(0.1**2 + 0.2**2 + 0.2**2, rel=1e-5)


def test_terms_are_means_over_pictures() -> None:
    generator = torch.Generator().manual_seed(0)
    raw = torch.rand(2, 3, 3, 13, generator=generator)
    targets = random_targets(2, 60, 60, 3, generator)
    both = yolo_v1_loss(raw, targets, (60, 60))
    alone = [yolo_v1_loss(raw[k : k + 1], targets[k : k + 1], (60, 60)) for k in range(2)]
    for name, value in both.items():
        assert float(value) == pytest.approx(sum(float(a[name]) for a in alone) / 2, rel=1e-5)


def plain_loss(raw: Tensor, truth: list[list[float]], labels: list[int], size: int) -> list[float]:
    """Equation 3, cell by cell; of objects in one cell the first counts."""
    side, classes = raw.shape[0], raw.shape[2] - 10
    box = obj = no = cls = 0.0
    owner: dict[tuple[int, int], int] = {}
    for k, (x1, y1, x2, y2) in enumerate(truth):
        cell = (
            min(side - 1, int((y1 + y2) / 2 / size * side)),
            min(side - 1, int((x1 + x2) / 2 / size * side)),
        )
        owner.setdefault(cell, k)
    for i in range(side):
        for j in range(side):
            cell = raw[i, j].double().tolist()
            predictors = [cell[:5], cell[5:10]]
            if (i, j) not in owner:
                no += sum(p[4] ** 2 for p in predictors)
                continue
            k = owner[i, j]
            x1, y1, x2, y2 = truth[k]
            wanted = [
                (x1 + x2) / 2 / size * side - j,
                (y1 + y2) / 2 / size * side - i,
                math.sqrt((x2 - x1) / size),
                math.sqrt((y2 - y1) / size),
            ]
            overlaps, errors = [], []
            for p in predictors:
                cx, cy = (j + p[0]) / side * size, (i + p[1]) / side * size
                w, h = p[2] ** 2 * size, p[3] ** 2 * size
                overlaps.append(iou_of([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], truth[k]))
                errors.append(sum((a - b) ** 2 for a, b in zip(p, wanted, strict=False)))
            # best IoU, or the nearest where none overlaps
            fitness = overlaps if max(overlaps) > 0 else [-e for e in errors]
            best = fitness.index(max(fitness))
            box += errors[best]
            obj += (predictors[best][4] - overlaps[best]) ** 2
            no += predictors[1 - best][4] ** 2
            cls += sum((cell[10 + c] - (c == labels[k] - 1)) ** 2 for c in range(classes))
    return [5 * box, obj, 0.5 * no, cls]


@pytest.mark.parametrize("seed", range(6))
def test_loss_is_that_of_a_plain_loop(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(1, 4, 4, 13, generator=generator) * (0.01 if seed == 5 else 0.6)
    (one,) = random_targets(1, 90, 90, 3, generator, most=9)  # 9 objects in 16 cells meet
    terms = yolo_v1_loss(raw, [one], (90, 90))
    expected = plain_loss(raw[0], one["boxes"].tolist(), one["labels"].tolist(), 90)
    found = [float(terms[name]) for name in ("box", "object", "no_object", "class")]
    assert found == pytest.approx(expected, rel=1e-4)


def test_of_two_centres_in_a_cell_the_first_is_learned() -> None:
    raw = torch.rand(1, 2, 2, 13, generator=torch.Generator().manual_seed(1))
    boxes, labels = [[5.0, 5, 25, 25], [8.0, 8, 30, 30]], [1, 3]
    both = yolo_v1_loss(raw, [target(boxes, labels)], (80, 80))
    first = yolo_v1_loss(raw, [target(boxes[:1], labels[:1])], (80, 80))
    for name in both:
        assert float(both[name]) == float(first[name])


def test_the_nearest_predictor_learns_where_none_overlaps() -> None:
    raw = torch.zeros(1, 1, 1, 13)
    raw[..., 5:9] = 0.3  # the second predictor is nearer to the object, the first is empty
    raw[..., 5], raw[..., 6] = 0.0, 0.0
    far = target([[80.0, 80, 100, 100]], [1])
    raw.requires_grad_()
    yolo_v1_loss(raw, [far], (100, 100))["box"].backward()
    assert raw.grad is not None
    assert bool((raw.grad[0, 0, 0, :4] == 0).all())
    assert bool((raw.grad[0, 0, 0, 5:9] != 0).all())


def test_scores_by_hand_and_below_zero() -> None:
    confidence = torch.tensor([0.5, -0.5]).view(1, 1, 1, 2)
    classes = torch.tensor([0.8, -0.4]).view(1, 1, 1, 2)
    scores = scores_v1(confidence, classes)[0, 0, 0]
    torch.testing.assert_close(scores, torch.tensor([[0.4, 0], [0, 0]]))


def test_only_a_shared_head_says_the_same_everywhere() -> None:
    """On a map that is alike everywhere, inner cells of the shared head agree; dense layers do not."""
    features = torch.rand(1, 64, 1, 1).expand(1, 64, 10, 10)
    for shared in (True, False):
        model = YOLOv1.small(6, size=160, shared=shared).eval()
        cells = model.dense(model.reduce(features)).view(1, 5, 5, 15)[0, 1:4, 1:4]
        assert torch.allclose(cells, cells[:1, :1].expand_as(cells), atol=1e-5) == shared


def test_the_papers_network() -> None:
    """Layer by layer from figure 3: weights and a bias of each convolution and dense layer."""
    stages = [(3, 64, 7), (64, 192, 3), (192, 128, 1), (128, 256, 3), (256, 256, 1), (256, 512, 3)]
    stages += [(512, 256, 1), (256, 512, 3)] * 4 + [(512, 512, 1), (512, 1024, 3)]
    stages += [(1024, 512, 1), (512, 1024, 3)] * 2 + [(1024, 1024, 3)] * 4
    assert len(stages) == 24
    convolutions = sum(i * o * k * k + o for i, o, k in stages)
    dense = (7 * 7 * 1024 * 4096 + 4096) + (4096 * 7 * 7 * 30 + 7 * 7 * 30)
    with torch.device("meta"):
        model = YOLOv1.paper()
    assert sum(p.numel() for p in model.parameters()) == convolutions + dense
    assert model.predict(torch.empty(1, 3, 448, 448, device="meta")).shape == (1, 7, 7, 30)
    assert sum(isinstance(m, torch.nn.Conv2d) for m in YOLOv1Convolutions().modules()) == 24


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "num_classes is 1; it must be at least 2"),
        ({"scaler": PictureScaler()}, "scaler has no fixed size; the dense layers need one"),
    ],
)
def test_what_cannot_be_built(options: dict[str, Any], message: str) -> None:
    given = {"num_classes": 6, "scaler": PictureScaler(fixed=(64, 64))} | options
    with pytest.raises(ValueError, match=message):
        YOLOv1(YOLOv1Convolutions(), "c6", (1, 1), **given)
