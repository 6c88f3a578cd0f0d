"""Our RetinaNet is torchvision's, learns by numbers worked by hand, and bears awkward targets."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from lessons_lib.data import Shapes
from lessons_lib.detection import RetinaNet, focal_loss
from lessons_lib.detection.boxes import box_iou
from lessons_lib.detection.nms import nms_plain
from lessons_lib.detection.one_stage_recipes import BloodCellsRetinaNet, ShapesRetinaNet
from lessons_lib.detection.retina_head import RetinaHead
from lessons_lib.detection.retinanet import RetinaSettings, three_sizes
from lessons_lib.detection.targets import targets_of
from lessons_lib.training import collate
from tests.detection.test_faster_rcnn import pictures, randomise, targets
from tests.detection.test_small_detector import AWKWARD, target


@pytest.fixture(scope="module", params=["resnet18", "resnet50"])
def theirs(request: pytest.FixtureRequest) -> Iterator[nn.Module]:
    frozen = {"norm_layer": torchvision.ops.FrozenBatchNorm2d}
    backbone = torchvision.models.detection.backbone_utils.resnet_fpn_backbone(
        backbone_name=request.param,
        weights=None,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=torchvision.ops.feature_pyramid_network.LastLevelP6P7(256, 256),
        **(frozen if request.param == "resnet50" else {}),
    )
    torch.manual_seed(0)
    model = torchvision.models.detection.RetinaNet(
        backbone, 12, min_size=128, max_size=180, score_thresh=0.0, detections_per_img=800
    )
    randomise(model)
    speak_up(model)
    yield model.eval()


def speak_up(model: nn.Module, seed: int = 1) -> None:
    """Heads whose answers differ; no anchor is the background, whose logit ours does not report."""
    generator = torch.Generator().manual_seed(seed)
    head = model.head
    with torch.no_grad():
        for subnet in (head.classification_head, head.regression_head):
            for layer in subnet.conv.modules():
                if isinstance(layer, nn.Conv2d):
                    layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.02)
        logits, moves = head.classification_head.cls_logits, head.regression_head.bbox_reg
        logits.weight.copy_(torch.randn(logits.weight.shape, generator=generator) * 0.02)
        logits.bias.copy_(torch.randn(logits.bias.shape, generator=generator) - 2)
        logits.bias.view(-1, head.classification_head.num_classes)[:, 0] = -200
        moves.weight.copy_(torch.randn(moves.weight.shape, generator=generator) * 0.01)


def test_the_same_detections(theirs: nn.Module) -> None:
    ours = RetinaNet.from_torchvision(theirs)
    images = pictures()
    with torch.inference_mode():
        expected, found = theirs(images), ours(images)
    labels = torch.cat([e["labels"] for e in expected])
    assert len(labels) >= 20 and len(labels.unique()) >= 5, "too little to compare"
    scores = torch.cat([e["scores"] for e in expected])
    assert len(scores.unique()) > len(labels) // 2 and float(scores.std()) > 0.02
    for one, other in zip(expected, found, strict=True):
        assert one.keys() == other.keys()
        torch.testing.assert_close(other["labels"], one["labels"])
        torch.testing.assert_close(other["boxes"], one["boxes"], atol=1e-4, rtol=0)
        torch.testing.assert_close(other["scores"], one["scores"], atol=1e-4, rtol=0)


def test_the_same_losses_and_gradients(theirs: nn.Module) -> None:
    ours = RetinaNet.from_torchvision(theirs)
    images, results = pictures(1)[:3], []
    for model in (theirs, ours):
        model.train()
        model.zero_grad()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            losses = model(images, targets()[:3])
        sum(losses.values()).backward()
        norms = {
            name.replace("fpn.", ""): float(p.grad.norm())
            for name, p in model.named_parameters()
            if p.grad is not None and any(k in name for k in ("bbox_reg", "cls_", "p6", "layer2"))
        }
        results.append(({k: float(v.detach()) for k, v in losses.items()}, norms))
    theirs.eval()
    (expected, expected_norms), (found, norms) = results
    renamed = {"class": "classification", "box": "bbox_regression"}
    assert min(expected.values()) > 0.01
    assert found == pytest.approx({k: expected[v] for k, v in renamed.items()}, rel=1e-4)
    assert norms == pytest.approx(expected_norms, rel=1e-3)


def test_published_names_load_old_and_new() -> None:
    """The published file has ``conv.0``, ``conv.2``, …; newer models have ``conv.0.0``, ``conv.1.0``, …"""
    theirs = torchvision.models.detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=7
    )
    state = theirs.state_dict()
    ours = RetinaNet.resnet_fpn(7)
    ours.load_state_dict(state)
    third = ours.head.regression_head.conv[4].weight
    assert torch.equal(third, state["head.regression_head.conv.2.0.weight"])
    old = {}
    for name, value in state.items():
        name = name.replace("blocks.0.0.", "blocks.0.").replace("blocks.1.0.", "blocks.1.")
        name = name.replace("blocks.2.0.", "blocks.2.")
        for k in (3, 2, 1, 0):
            name = name.replace(f"_head.conv.{k}.0.", f"_head.conv.{2 * k}.")
        old[name] = value
    assert "head.classification_head.conv.6.weight" in old
    assert "backbone.fpn.inner_blocks.0.weight" in old
    ours = RetinaNet.resnet_fpn(7)
    ours.load_state_dict(old)
    third = ours.head.regression_head.conv[4].weight
    assert torch.equal(third, state["head.regression_head.conv.2.0.weight"])
    with pytest.raises(RuntimeError, match="Missing key"):
        ours.load_state_dict({k: v for k, v in state.items() if "bbox_reg" not in k})


def test_other_models_are_refused() -> None:
    build = torchvision.models.detection
    with torch.device("meta"):
        newer = build.retinanet_resnet50_fpn_v2(weights=None, weights_backbone=None)
        other = build.retinanet_resnet50_fpn(weights=None, weights_backbone=None)
        other.head.regression_head._loss_type = "giou"
    with pytest.raises(ValueError, match="another pyramid; it must make P6 and P7 from P5"):
        RetinaNet.from_torchvision(newer)
    with pytest.raises(ValueError, match="box loss 'giou'; it must be 'l1'"):
        RetinaNet.from_torchvision(other)


def test_the_published_size() -> None:
    """torchvision says so of its own: 34,014,999 parameters."""
    with torch.device("meta"):
        model = RetinaNet.resnet_fpn(91, frozen_norm=True)
    assert sum(p.numel() for p in model.parameters()) == 34_014_999


def test_anchors_of_three_sizes() -> None:
    assert three_sizes((32.0, 64.0)) == [[32, 40, 50], [64, 80, 101]]  # 40.3, 50.8; 80.6, 101.6


def small(seed: int = 0, **options: Any) -> RetinaNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return RetinaNet.small(6, channels=(8, 8, 16, 16), width=8, **options)


def test_a_fresh_head_says_the_prior() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = RetinaHead(16, 9, 6, prior=0.02)
        logits, moves = head(torch.randn(2, 16, 5, 7))
    assert logits.shape == (2, 5 * 7 * 9, 6) and moves.shape == (2, 5 * 7 * 9, 4)
    assert float(logits.detach().sigmoid().mean()) == pytest.approx(0.02, rel=0.02)
    assert float(moves.detach().abs().max()) < 1e-3
    with pytest.raises(ValueError, match="prior is 1; it must be between 0 and 1"):
        RetinaHead(16, 9, 6, prior=1)


def test_answers_stand_where_their_anchors_stand() -> None:
    """The answer of row 1, column 2, anchor 4 of a 3 × 5 map comes (1 · 5 + 2) · 9 + 4th."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        head = RetinaHead(4, 9, 3)
    features = torch.zeros(1, 4, 3, 5)
    for subnet in (head.classification_head, head.regression_head):
        last = getattr(subnet, subnet.answer)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.arange(len(last.bias)))
    logits, moves = head(features)
    assert logits[0, (1 * 5 + 2) * 9 + 4].tolist() == [12, 13, 14]
    assert moves[0, (1 * 5 + 2) * 9 + 4].tolist() == [16, 17, 18, 19]


LINE = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 18], [0, 0, 10, 24], [40, 40, 50, 50]])
"""Their IoU with the first: 1, 10/18 = 0.56, 10/24 = 0.42, 0: two positives, one ignored, one background."""


def test_the_loss_by_hand() -> None:
    model = small(settings=RetinaSettings(gamma=2.0, alpha=0.25))
    targets_ = [target([[0.0, 0, 10, 10]], [3]), target([], [])]
    assert model.match(LINE, targets_).tolist() == [[0, 0, -2, -1], [-1, -1, -1, -1]]
    logits = torch.zeros(2, 4, 6)  # undecided: 0.25 ln 2 each, weighted 0.25 for yes, 0.75 for no
    logits[:, 2] = 50.0  # wholly wrong, but ignored in the first picture ...
    logits[1, 2] = -50.0  # ... and right in the second
    moves = torch.zeros(2, 4, 4)
    moves[0, 0] = torch.tensor([0.5, 0, 0, -0.25])
    moves[0, 3] = 9.0  # background's moves do not count
    losses = model.loss(logits, moves, LINE, targets_)
    no, yes = 0.75 * 0.25 * math.log(2), 0.25 * 0.25 * math.log(2)
    first = (2 * (yes + 5 * no) + 6 * no) / 2  # two positives, one background, over two positives
    second = 3 * 6 * no / 1  # nothing there: divided by one
    assert float(losses["class"]) == pytest.approx((first + second) / 2)
    # the first anchor is off by 0.75; from the second, 18 high, its object's centre is 4 up, and
    # its height 10/18: 4/18 and ln 1.8; all over two positives and two pictures
    second_box = 4 / 18 + math.log(1.8)
    assert float(losses["box"]) == pytest.approx((0.75 + second_box) / 2 / 2)


def test_an_object_without_a_good_anchor_has_its_best() -> None:
    """The third of the line overlaps by 10/24 only, yet more than the fourth does: it learns."""
    found = small().match(LINE[2:], [target([[0.0, 0, 10, 10]], [3])])
    assert found.tolist() == [[0, -1]]


def test_the_loss_is_that_of_a_plain_loop() -> None:
    generator = torch.Generator().manual_seed(3)
    model = small(settings=RetinaSettings(gamma=1.5, alpha=0.4))
    corner = 60 * torch.rand(300, 2, generator=generator)
    anchors = torch.cat([corner, corner + 5 + 25 * torch.rand(300, 2, generator=generator)], 1)
    logits = 2 * torch.randn(2, 300, 6, generator=generator)
    moves = torch.randn(2, 300, 4, generator=generator)
    truths = [
        target([[5.0, 5, 30, 30], [40, 20, 60, 50]], [2, 5]),
        target([[15.0, 9, 38, 29]], [1]),
    ]
    losses = model.loss(logits, moves, anchors, truths)
    total = {"class": 0.0, "box": 0.0}
    for row, truth in enumerate(truths):
        iou = box_iou(truth["boxes"], anchors)
        best = iou.max(1).values
        classes, box, count = 0.0, 0.0, 0
        for k in range(300):
            overlap, own = iou[:, k].max(0)
            found = bool(overlap >= 0.5) or bool(((iou[:, k] == best) & (best > 0)).any())
            if not found and overlap >= 0.4:
                continue
            for c in range(6):
                p = float(logits[row, k, c].double().sigmoid())
                if found and c == int(truth["labels"][own]):
                    classes -= 0.4 * (1 - p) ** 1.5 * math.log(p)
                else:
                    classes -= 0.6 * p**1.5 * math.log(1 - p)
            if found:
                count += 1
                wanted = model.coder.encode(truth["boxes"][own][None], anchors[k][None])[0]
                box += float((moves[row, k] - wanted).abs().sum())
        assert count > 2
        total["class"] += classes / count / 2
        total["box"] += box / count / 2
    assert {k: float(v) for k, v in losses.items()} == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize(
    ("threshold", "candidates", "most"), [(0.8, 500, 500), (0.4, 8, 500), (0.4, 500, 12)]
)
def test_detections_are_those_of_a_plain_loop(threshold: float, candidates: int, most: int) -> None:
    """Each of the three limits is the one that cuts, in its turn."""
    settings = RetinaSettings(
        score_threshold=threshold, candidates=candidates, nms_threshold=0.4, detections=most
    )
    model = small(settings=settings).eval()
    generator = torch.Generator().manual_seed(4)
    levels = []
    for count in (200, 60, 3):
        corner = 90 * torch.rand(count, 2, generator=generator)
        anchors = torch.cat(
            [corner, corner + 10 + 30 * torch.rand(count, 2, generator=generator)], 1
        )
        logits = torch.randn(count, 6, generator=generator)
        levels.append((logits, 0.3 * torch.randn(count, 4, generator=generator), anchors))
    found = model._detections(*(list(part) for part in zip(*levels, strict=True)), (96, 110))
    boxes, labels, scores = [], [], []
    for logits, moves, anchors in levels:
        said = [
            (float(logits[k, c].sigmoid()), k, c) for k in range(len(logits)) for c in range(1, 6)
        ]
        for score, k, c in sorted((s for s in said if s[0] > threshold), reverse=True)[:candidates]:
            box = model.coder.decode(moves[k][None], anchors[k][None])[0, 0]
            limits = torch.tensor([110.0, 96, 110, 96])
            boxes.append(torch.minimum(box.clamp(min=0), limits))
            labels.append(c)
            scores.append(score)
    kept = []
    for c in range(1, 6):
        rows = [k for k, label in enumerate(labels) if label == c]
        own = torch.stack([boxes[k] for k in rows])
        stay = nms_plain(own, torch.tensor([scores[k] for k in rows]), 0.4)
        kept += [rows[int(k)] for k in stay]
    kept = sorted(kept, key=lambda k: -scores[k])[:most]
    assert len(kept) >= 10
    assert found["labels"].tolist() == [labels[k] for k in kept]
    torch.testing.assert_close(found["boxes"], torch.stack([boxes[k] for k in kept]))
    assert found["scores"].tolist() == pytest.approx([scores[k] for k in kept])


def test_answers_are_what_the_loss_weighs() -> None:
    """Without the background's logits, the focal loss of all answers is that of the training."""
    model = small().train()
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    given = [target([[8.0, 8, 40, 40], [30, 30, 60, 50]], [2, 5])]
    logits, truth = model.answers(images, given)
    assert model.training and logits.shape == truth.shape and logits.shape[0] % 5 == 0
    matches = model.match(torch.cat(model.raw(images)[2]), given)
    assert int(truth.sum()) == int((matches >= 0).sum()) > 0
    assert len(truth) == 5 * int((matches != -2).sum())
    model.eval()
    pictures_ = model.scaler(images)
    said, moves, anchors = (torch.cat(part, -2) for part in model.raw(pictures_.tensor))
    said[..., 0] = -100  # the background's logit costs nothing
    loss = float(model.loss(said, moves, anchors, given)["class"].detach())
    assert float(focal_loss(logits, truth).sum()) / int(truth.sum()) == pytest.approx(
        loss, rel=1e-4
    )


def test_the_background_is_never_reported() -> None:
    model = small().eval()
    with torch.no_grad():
        model.head.classification_head.cls_logits.bias.view(9, 6)[:, 0] = 50
        assert len(model(torch.rand(1, 3, 64, 64))[0]["labels"]) == 0
        model.head.classification_head.cls_logits.bias.view(9, 6)[:, 4] = 50
        assert set(model(torch.rand(1, 3, 64, 64))[0]["labels"].tolist()) == {4}


@pytest.mark.parametrize("name", AWKWARD)
def test_losses_and_gradients_stay_finite(name: str) -> None:
    model = small().train()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    losses = model(images, [AWKWARD[name], AWKWARD["no boxes"]])
    assert losses.keys() == {"class", "box"}
    sum(losses.values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), key


def test_a_crowd_is_not_learned() -> None:
    crowd = target([[0.0, 0, 60, 60], [5, 5, 25, 25]], [1, 1], crowd=torch.tensor([True, False]))
    alone = target([[5.0, 5, 25, 25]], [1])
    losses = [small().train()(torch.ones(1, 3, 64, 64), [one]) for one in (crowd, alone)]
    for name, value in losses[0].items():
        assert float(value.detach()) == pytest.approx(float(losses[1][name].detach()))


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
    with pytest.raises(ValueError, match="num_classes is 1; it must be at least 2"):
        RetinaNet.small(1)


@pytest.mark.parametrize("training", [True, False])
def test_half_precision_and_pictures_of_other_sizes(training: bool) -> None:
    model = small(prior=0.3).train(training)
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
    model = small(sizes=(12.0, 24.0, 48.0)).train()
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


@pytest.mark.parametrize("recipe", [ShapesRetinaNet(), BloodCellsRetinaNet()])
def test_the_recipes_networks(recipe: Any) -> None:
    options = recipe.preset("quick").options
    model = recipe.model({**options, "gamma": 1.0, "alpha": 0.4})
    assert sum(p.numel() for p in model.parameters()) <= 400_000
    assert (model.settings.gamma, model.settings.alpha) == (1.0, 0.4)
    first = model.head.classification_head.cls_logits.bias
    assert float(first.detach().sigmoid().mean()) == pytest.approx(0.01, rel=1e-4)
    for preset in recipe.presets.values():
        assert {"gamma", "alpha", "prior"} <= preset.options.keys()


def test_coco_says_where_weights_belong(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> dict[str, Tensor]:
        raise OSError("no network")

    weights = torchvision.models.detection.RetinaNet_ResNet50_FPN_Weights.COCO_V1
    monkeypatch.setattr(type(weights), "get_state_dict", refuse)
    place = r"no network.*put https.*retinanet_resnet50_fpn_coco"
    with torch.device("meta"), pytest.raises(RuntimeError, match=place):
        RetinaNet.coco()


def test_whole_samples_may_be_given_as_targets() -> None:
    """A sample has a picture and maps beside its boxes; they are not rows of objects."""
    samples = [Shapes(2, size=96, radius=(12, 24), seed=5)[k] for k in range(2)]
    targets = [{"boxes": s["boxes"], "labels": s["labels"]} for s in samples]
    model = RetinaNet.small(6).train()
    images = [s["image"] for s in samples]
    assert model(images, samples) == model(images, targets)
    logits, right = model.answers(images, samples)
    assert model.training and logits.shape == right.shape and 0 < int(right.sum()) < len(right)
