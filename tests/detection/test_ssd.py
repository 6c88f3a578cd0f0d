"""Our SSD is torchvision's, learns by numbers worked by hand, and bears awkward targets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from lessons_lib.data import Shapes
from lessons_lib.detection import SSD
from lessons_lib.detection.boxes import box_iou
from lessons_lib.detection.matching import BACKGROUND
from lessons_lib.detection.one_stage_recipes import ShapesSSD
from lessons_lib.detection.ssd import SSDSettings, hard_negatives
from lessons_lib.detection.ssd_boxes import DefaultBoxes, default_shapes, match_default_boxes
from lessons_lib.detection.targets import targets_of
from lessons_lib.training import collate
from tests.detection.test_faster_rcnn import pictures, targets
from tests.detection.test_small_detector import AWKWARD, target


def speak_up(model: nn.Module, seed: int = 0) -> None:
    """Weights that let a signal through thirteen layers without a normalisation, heads that differ."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "scale_weight" in name:
                value.copy_(15 + 5 * torch.rand(value.shape, generator=generator))
            elif value.ndim == 4:
                fan_in = value[0].numel()
                gain = {"classification": 0.25, "regression": 0.1}
                factor = next((g for k, g in gain.items() if k in name), math.sqrt(2))
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(noise * factor / math.sqrt(fan_in))
            elif "head" in name:
                value.copy_(torch.randn(value.shape, generator=generator) * 0.5)


@pytest.fixture(scope="module")
def theirs() -> Iterator[nn.Module]:
    model = torchvision.models.detection.ssd300_vgg16(
        weights=None,
        weights_backbone=None,
        num_classes=12,
        score_thresh=0.0,
        image_std=[0.229, 0.224, 0.225],  # values of 0..255 would drown fresh weights
    )
    speak_up(model)
    yield model.eval()


@pytest.fixture(scope="module")
def ours(theirs: nn.Module) -> SSD:
    return SSD.from_torchvision(theirs)


def test_the_same_detections(theirs: nn.Module, ours: SSD) -> None:
    images = pictures()[:2]
    with torch.inference_mode():
        expected, found = theirs(images), ours(images)
    labels = torch.cat([e["labels"] for e in expected])
    scores = torch.cat([e["scores"] for e in expected])
    assert len(labels) >= 20 and len(labels.unique()) >= 5, "too little to compare"
    assert len(scores.unique()) > len(labels) // 2 and float(scores.std()) > 0.01
    for one, other in zip(expected, found, strict=True):
        assert one.keys() == other.keys()
        torch.testing.assert_close(other["labels"], one["labels"])
        torch.testing.assert_close(other["boxes"], one["boxes"], atol=1e-4, rtol=0)
        torch.testing.assert_close(other["scores"], one["scores"], atol=1e-4, rtol=0)


def test_the_same_losses_and_gradients(theirs: nn.Module, ours: SSD) -> None:
    images, results = pictures(1)[:2], []
    for model in (theirs, ours):
        model.train()
        model.zero_grad()
        losses = model(images, targets()[:2])
        sum(losses.values()).backward()
        norms = {
            name: float(p.grad.norm())
            for name, p in model.named_parameters()
            if p.grad is not None and any(k in name for k in ("head", "extra.1", "scale_weight"))
        }
        results.append(({k: float(v.detach()) for k, v in losses.items()}, norms))
        model.eval()
    (expected, expected_norms), (found, norms) = results
    renamed = {"class": "classification", "box": "bbox_regression"}
    assert min(expected.values()) > 0.01
    assert found == pytest.approx({k: expected[v] for k, v in renamed.items()}, rel=1e-4)
    assert norms == pytest.approx(expected_norms, rel=1e-3)


def test_weights_have_their_place(theirs: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are torchvision's, and the published file is looked for where torchvision puts it."""
    with torch.device("meta"):
        ours = SSD.vgg16(12)
    ours.load_state_dict(theirs.state_dict(), assign=True)
    assert ours.state_dict().keys() == theirs.state_dict().keys()

    def refuse(*_: Any, **__: Any) -> dict[str, Tensor]:
        raise OSError("no network")

    weights = torchvision.models.detection.SSD300_VGG16_Weights.COCO_V1
    monkeypatch.setattr(type(weights), "get_state_dict", refuse)
    with torch.device("meta"), pytest.raises(RuntimeError, match=r"no network.*ssd300_vgg16_coco"):
        SSD.coco()


def test_other_models_are_refused() -> None:
    build = torchvision.models.detection
    with torch.device("meta"):
        lite = build.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None)
    with pytest.raises(ValueError, match="it must be that of ssd300_vgg16"):
        SSD.from_torchvision(lite)


def test_the_published_size() -> None:
    """torchvision says so of its own: 35,641,826 parameters; the paper counts 8732 default boxes."""
    with torch.device("meta"):
        model = SSD.vgg16(91)
    assert sum(p.numel() for p in model.parameters()) == 35_641_826
    maps = [torch.zeros(1, 1, side, side) for side in (38, 19, 10, 5, 3, 1)]
    assert sum(len(boxes) for boxes in model.boxes(maps, (300, 300))) == 8732


def test_default_boxes_by_hand() -> None:
    # s = 0.2, the next 0.8: squares of 0.2 and sqrt(0.16) = 0.4; ratio 4: 0.4 x 0.1 and upright
    shapes = default_shapes(0.2, 0.8, [4])
    assert [tuple(s) for s in shapes] == [
        pytest.approx(s) for s in [(0.2, 0.2), (0.4, 0.4), (0.4, 0.1), (0.1, 0.4)]
    ]
    boxes = DefaultBoxes((0.2, 0.8), [(4,)])([torch.zeros(1, 3, 2, 4)], (100, 200))[0]
    assert boxes.shape == (2 * 4 * 4, 4)
    # row 1, column 2: its centre is (2.5 / 4, 1.5 / 2) of 200 x 100 px: (125, 75)
    cell = (1 * 4 + 2) * 4
    assert boxes[cell].tolist() == pytest.approx([105, 65, 145, 85])
    assert boxes[cell + 2].tolist() == pytest.approx([85, 70, 165, 80])
    # a stride of 30 px makes 100 / 30 cells down, though the map has but 2
    boxes = DefaultBoxes((0.2, 0.8), [(4,)], [30])([torch.zeros(1, 3, 2, 4)], (100, 200))[0]
    assert boxes[cell].tolist() == pytest.approx([75 - 20, 45 - 10, 75 + 20, 45 + 10])
    # no side is longer than the picture's, though 0.9 sqrt(2) is
    boxes = DefaultBoxes((0.9, 1.0), [(2,)])([torch.zeros(1, 3, 1, 1)], (100, 100))[0]
    assert boxes[2].tolist() == pytest.approx(
        [0, 50 - 45 / math.sqrt(2), 100, 50 + 45 / math.sqrt(2)]
    )


def test_default_boxes_are_torchvisions() -> None:
    theirs = torchvision.models.detection.anchor_utils.DefaultBoxGenerator(
        [[2], [2, 3], []], scales=[0.1, 0.4, 0.8, 1.1], steps=[8, 16, 60]
    )
    maps = [torch.zeros(1, 1, *s) for s in [(12, 15), (6, 8), (2, 2)]]
    images = torchvision.models.detection.image_list.ImageList(
        torch.zeros(1, 3, 96, 120), [(96, 120)]
    )
    ours = DefaultBoxes(theirs.scales, theirs.aspect_ratios, theirs.steps)
    torch.testing.assert_close(torch.cat(ours(maps, (96, 120))), theirs(images, maps)[0])
    theirs.steps, ours.strides = None, None
    torch.testing.assert_close(torch.cat(ours(maps, (96, 120))), theirs(images, maps)[0])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DefaultBoxes((0.1,), [()]), "there are 1 scales for 1 maps; there must be one"),
        (lambda: DefaultBoxes((0.1, 0.2), [()], (8, 16)), "there are 2 strides for 1 maps"),
        (lambda: DefaultBoxes((0.1, 0.2), [()])([], (9, 9)), "there are 0 maps"),
        (lambda: SSD.small(1), "num_classes is 1; it must be at least 2"),
        (lambda: SSD.small(3, settings=SSDSettings(negative_ratio=-1)), "negative_ratio is -1"),
    ],
)
def test_settings_that_do_not_fit(build: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_matching_by_hand() -> None:
    iou = torch.tensor(
        [
            [0.6, 0.5, 0.2, 0.3, 0.0],  # the first object has box 0 and, by 0.5, box 1
            [0.1, 0.4, 0.3, 0.35, 0.0],  # the second is best with box 1, and takes it
            [0.0, 0.1, 0.2, 0.45, 0.0],  # the third has box 3, though by less than a half
            [0.0, 0.0, 0.0, 0.0, 0.0],  # the fourth touches nothing
        ]
    )
    assert match_default_boxes(iou).tolist() == [0, 1, BACKGROUND, 2, BACKGROUND]
    # two objects whose best box is the same: the later one has it
    same = torch.tensor([[0.9, 0.2], [0.6, 0.1]])
    assert match_default_boxes(same).tolist() == [1, BACKGROUND]
    assert match_default_boxes(torch.zeros(0, 3)).tolist() == [BACKGROUND] * 3
    assert match_default_boxes(torch.zeros(2, 0)).tolist() == []


def test_matching_is_torchvisions() -> None:
    theirs = torchvision.models.detection._utils.SSDMatcher(0.5)
    generator = torch.Generator().manual_seed(2)
    corner = 50 * torch.rand(60, 2, generator=generator)
    boxes = torch.cat([corner, corner + 5 + 25 * torch.rand(60, 2, generator=generator)], 1)
    for count in (1, 4, 9):
        iou = box_iou(boxes[:count] + 2, boxes)
        assert torch.equal(match_default_boxes(iou), theirs(iou))


def test_hard_negatives_by_hand() -> None:
    losses = torch.tensor([[5.0, 1, 4, 3, 2, 9], [5, 1, 4, 3, 2, 9], [5, 1, 4, 3, 2, 9]])
    positive = torch.tensor([[0, 1, 0, 0, 0, 0], [0] * 6, [1, 1, 1, 1, 0, 0]]).bool()
    chosen = hard_negatives(losses, positive, 3)
    assert chosen.tolist() == [
        [True, False, True, False, False, True],  # one positive: the three largest of the others
        [False] * 6,  # none: none
        [False, False, False, False, True, True],  # twelve are wanted, two there are
    ]
    assert hard_negatives(losses, positive, 0.5).tolist()[0] == [False] * 5 + [True]
    assert not hard_negatives(losses, positive, 0).any()


DEFAULTS = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 18], [0, 0, 10, 24], [40, 40, 50, 50]])
"""Their IoU with the first: 1, 10/18 = 0.56, 10/24 = 0.42, 0: two positives, two of background."""


def test_the_loss_by_hand() -> None:
    model = small(settings=SSDSettings(negative_ratio=0.5))
    logits = torch.zeros(2, 4, 6)  # all six alike: ln 6 each
    logits[0, 2, 1] = 3.0  # of the two background boxes the harder one: it says class 1
    logits[1, 2, 1] = 9.0  # a picture without objects has no negatives, however hard
    moves = torch.zeros(2, 4, 4)
    moves[0, 0] = torch.tensor([0.5, 0, 0, -3])
    moves[0, 3] = 9.0  # background's moves do not count
    losses = model.loss(logits, moves, DEFAULTS, [target([[0.0, 0, 10, 10]], [3]), target([], [])])
    hard = math.log(5 + math.exp(3))  # minus the logit of the background, 0
    assert float(losses["class"]) == pytest.approx((2 * math.log(6) + hard) / 2)
    # the first is off by 0.5 and 3: 0.5² / 2 and 3 - 1/2; the second wants -4/18 · 10 and
    # ln(10/18) · 5, both above 1: less a half each
    first, second = 0.125 + 2.5, 40 / 18 - 0.5 + 5 * math.log(1.8) - 0.5
    assert float(losses["box"]) == pytest.approx((first + second) / 2)


@pytest.mark.parametrize(
    ("threshold", "candidates", "most"), [(0.5, 60, 300), (0.1, 5, 300), (0.1, 60, 12)]
)
def test_detections_are_those_of_a_plain_loop(threshold: float, candidates: int, most: int) -> None:
    """Each of the three limits is the one that cuts, in its turn."""
    model = small(
        settings=SSDSettings(
            score_threshold=threshold,
            candidates=candidates,
            nms_threshold=0.3,
            detections=most,
        )
    )
    generator = torch.Generator().manual_seed(4)
    scores = (2 * torch.randn(150, 6, generator=generator)).softmax(1)
    corner = 90 * torch.rand(150, 2, generator=generator) - 5
    boxes = torch.cat([corner, corner + 10 + 30 * torch.rand(150, 2, generator=generator)], 1)
    found = model._detections(scores, boxes, (96, 110))
    rows = []
    for c in range(1, 6):
        best = [(float(s), k) for k, s in enumerate(scores[:, c]) if s > threshold]
        kept: list[Tensor] = []
        for score, k in sorted(best, reverse=True)[:candidates]:
            box = torch.minimum(boxes[k].clamp(min=0), torch.tensor([110.0, 96, 110, 96]))
            if all(float(box_iou(box[None], other[None])) <= 0.3 for other in kept):
                kept.append(box)
                rows.append((score, c, box))
    rows = sorted(rows, key=lambda row: -row[0])[:most]
    assert len(rows) >= 10
    assert found["labels"].tolist() == [label for _, label, _ in rows]
    assert found["scores"].tolist() == pytest.approx([score for score, _, _ in rows])
    torch.testing.assert_close(found["boxes"], torch.stack([box for _, _, box in rows]))


def small(seed: int = 0, **options: Any) -> SSD:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SSD.small(6, **{"channels": (8, 8, 16, 16), "size": (64, 64), **options})


@pytest.mark.parametrize("name", AWKWARD)
def test_losses_and_gradients_stay_finite(name: str) -> None:
    model = small().train()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    losses = model(images, [AWKWARD[name], AWKWARD["no boxes"]])
    assert losses.keys() == {"class", "box"}
    sum(losses.values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), key


@pytest.mark.parametrize(
    ("targets_", "message"),
    [
        (None, "targets is None; in training mode every picture needs"),
        ([target([], [])], "targets are 1; there are 2 images"),
        ([target([[1.0, 1, 9, 9]], [6]), target([], [])], r"labels are 6..6; they must be in 1..5"),
    ],
)
def test_targets_that_do_not_fit(targets_: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small().train()(torch.rand(2, 3, 64, 64), targets_)


@pytest.mark.parametrize("training", [True, False])
def test_half_precision_and_pictures_of_other_sizes(training: bool) -> None:
    model = small().train(training)
    images = [torch.rand(3, 64, 96), torch.rand(3, 33, 47)]
    given = [target([[8.0, 8, 40, 40]], [1]), target([], [])]
    with torch.autocast("cpu", torch.bfloat16):
        result = model(images, given) if training else model(images)
    if training:
        sum(result.values()).backward()
        assert all(value.dtype == torch.float32 for value in result.values())
        grads = [p.grad for p in model.parameters()]
        assert all(g is not None and bool(torch.isfinite(g).all()) for g in grads)
    else:
        for one, image in zip(result, images, strict=True):
            assert len(one["boxes"]) and one["boxes"].dtype == torch.float32
            height, width = image.shape[1:]
            assert bool((one["boxes"] <= torch.tensor([width, height] * 2) + 1e-4).all())
            assert bool((one["boxes"] >= 0).all()) and bool((one["scores"].diff() <= 0).all())


def test_it_learns_one_picture() -> None:
    sample = Shapes(1, size=64, radius=(10, 20), count=2, seed=3)[0]
    batch = collate([sample])
    model = small().train()
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    for _ in range(120):
        optimizer.zero_grad()
        sum(model(batch["image"], targets_of(batch)).values()).backward()
        optimizer.step()
    with torch.inference_mode():
        found = model.eval()(batch["image"])[0]
    best = [int(box_iou(box[None], found["boxes"])[0].argmax()) for box in sample["boxes"]]
    overlap = box_iou(sample["boxes"], found["boxes"]).max(1).values
    assert float(overlap.min()) > 0.7
    assert found["labels"][best].tolist() == sample["labels"].tolist()
    assert float(found["scores"][best].min()) > 0.5


def test_the_recipes_network() -> None:
    recipe = ShapesSSD()
    for name, preset in recipe.presets.items():
        model = recipe.model({**preset.options, "negative_ratio": 2.0})
        assert isinstance(model, SSD) and model.settings.negative_ratio == 2
        assert model.scaler.fixed == (preset.options["size"],) * 2
        if name != "full":
            assert sum(p.numel() for p in model.parameters()) <= 400_000
