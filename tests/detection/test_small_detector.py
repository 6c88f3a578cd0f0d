"""Targets that are awkward, pictures of any size, mixed precision, four-step training, recipes."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from lessons_lib.data import Shapes
from lessons_lib.detection import FasterRCNN
from lessons_lib.detection.augment import BoxCrops, ScaledBoxes, crop, mirror, rescale
from lessons_lib.detection.boxes import box_iou
from lessons_lib.detection.four_step import FourStepFasterRCNN
from lessons_lib.detection.public_recipes import VOCFasterRCNN, load_vgg16
from lessons_lib.detection.recipes import ShapesFasterRCNN, clustered_anchors
from lessons_lib.detection.roi_heads import box_losses
from lessons_lib.detection.targets import targets_of
from lessons_lib.training import collate, fit
from tests.data.test_voc_boxes import boxed_kit


def small(seed: int = 0, **options: Any) -> FasterRCNN:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return FasterRCNN.small(6, channels=(8, 8, 16, 16), width=8, head_width=16, **options)


def target(boxes: list[list[float]], labels: list[int], **more: Tensor) -> dict[str, Tensor]:
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        **more,
    }


AWKWARD = {
    "no boxes": target([], []),
    "a box of zero size": target([[10.0, 10, 40, 40], [20, 20, 20, 20]], [1, 2]),
    "nothing but zero size": target([[20.0, 20, 20, 20]], [2]),
    "partly outside": target([[-30.0, -30, 20, 20], [50, 50, 200, 200]], [1, 2]),
    "wholly outside": target([[300.0, 300, 400, 400]], [3]),
    "a crowd": target(
        [[0.0, 0, 60, 60], [5, 5, 25, 25]], [1, 1], crowd=torch.tensor([True, False])
    ),
    "the whole picture": target([[0.0, 0, 64, 64]], [5]),
    "smaller than a pixel": target([[10.2, 10.2, 10.4, 10.4]], [1]),
    "twice the same": target([[8.0, 8, 30, 30], [8, 8, 30, 30]], [1, 2]),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_losses_and_gradients_stay_finite(name: str) -> None:
    model = small().train()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    losses = model(images, [AWKWARD[name], AWKWARD["no boxes"]])
    assert losses.keys() == {"rpn_objectness", "rpn_box", "class", "box"}
    sum(losses.values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), key


def test_a_crowd_is_not_learned() -> None:
    boxes, labels = [[0.0, 0, 60, 60], [5, 5, 25, 25]], [1, 1]
    crowd = torch.tensor([True, False])
    losses = []
    for one in (target(boxes, labels, crowd=crowd), target(boxes[1:], labels[1:])):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            losses.append(small().train()(torch.ones(1, 3, 64, 64), [one]))
    assert losses[0].keys() == losses[1].keys()
    for name, value in losses[0].items():
        assert float(value.detach()) == pytest.approx(float(losses[1][name].detach()))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (None, "targets is None; in training mode every picture needs"),
        ([target([], [])], "targets are 1; there are 2 images"),
        ([target([[1.0, 1, 9, 9]], [6]), target([], [])], r"labels are 6..6; they must be in 1..5"),
        ([target([[1.0, 1, 9, 9]], [0]), target([], [])], "for 0 is the background"),
    ],
)
def test_targets_that_do_not_fit(targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small().train()(torch.rand(2, 3, 64, 64), targets)


def test_a_picture_alone_or_in_a_batch_of_other_sizes_gives_the_same() -> None:
    """Padding must not change what is found: it only borders on the picture's last cells."""
    model = small().eval()
    images = [torch.rand(3, *size) for size in [(64, 96), (33, 47), (128, 64), (7, 5)]]
    with torch.inference_mode():
        together = model(images)
        alone = [model([image])[0] for image in images]
    for image, found, single in zip(images, together, alone, strict=True):
        height, width = image.shape[1:]
        assert found["boxes"].shape[1] == 4 and found["labels"].dtype == torch.int64
        assert bool((found["boxes"] >= 0).all())
        assert bool((found["boxes"] <= torch.tensor([width, height] * 2)).all())
        assert bool((found["scores"].diff() <= 0).all())
        if height % 32 == 0 and width % 32 == 0:
            torch.testing.assert_close(single["scores"][:5], found["scores"][:5], atol=1e-3, rtol=0)


def test_a_tensor_is_a_list_of_pictures() -> None:
    model = small().eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        for one, other in zip(model(images), model(list(images)), strict=True):
            assert torch.equal(one["boxes"], other["boxes"])


@pytest.mark.parametrize("training", [True, False])
def test_half_precision(training: bool) -> None:
    model = small().train(training)
    images = torch.rand(2, 3, 64, 64)
    targets = [target([[8.0, 8, 40, 40]], [1]), target([], [])]
    with torch.autocast("cpu", torch.bfloat16):
        result = model(images, targets) if training else model(images)
    if training:
        sum(result.values()).backward()
        assert all(value.dtype == torch.float32 for value in result.values())
        grads = [p.grad for p in model.parameters()]
        assert all(g is not None and bool(torch.isfinite(g).all()) for g in grads)
    else:
        assert all(one["boxes"].dtype == torch.float32 for one in result)


def test_box_losses_by_hand() -> None:
    logits, moves = torch.zeros(2, 3), torch.zeros(2, 12)
    wanted = torch.tensor([[1.0, 0, 0, 0], [9, 9, 9, 9]])
    losses = box_losses(logits, moves, torch.tensor([2, 0]), wanted)
    # smooth L1 with its turn at 1/9: 1 - 1/18, over two proposals; the background's move does not count
    assert float(losses["box"]) == pytest.approx((1 - 1 / 18) / 2)
    assert float(losses["class"]) == pytest.approx(math.log(3))
    nothing = box_losses(logits[:0], moves[:0], torch.zeros(0).long(), wanted[:0])
    assert [float(v) for v in nothing.values()] == [0, 0]


def test_it_learns_one_picture() -> None:
    sample = Shapes(1, size=64, radius=(10, 20), count=2, seed=3)[0]
    batch = collate([sample])
    model = small().train()
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(60):
            loss = sum(model(batch["image"], targets_of(batch)).values())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.inference_mode():
        (found,) = model.eval()(batch["image"])
    best = found["boxes"][: len(sample["boxes"])]
    assert bool((box_iou(sample["boxes"], best).amax(1) > 0.5).all())
    assert sorted(found["labels"][: len(best)].tolist()) == sorted(sample["labels"].tolist())


def test_four_steps_train_what_they_say() -> None:
    model = FourStepFasterRCNN(small(), small(1), part_steps=1).train()
    images, targets = torch.rand(1, 3, 64, 64), [target([[8.0, 8, 40, 40]], [1])]
    learned = []
    for _ in range(5):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        model.zero_grad()
        terms = model.train()(images, targets)
        sum(terms.values()).backward()
        parts = {
            ".".join(name.split(".")[:2])
            for name, p in model.named_parameters()
            if p.grad is not None
        }
        moved = {
            ".".join(name.split(".")[:2])
            for name, value in model.state_dict().items()
            if "running" in name and not torch.equal(value, before[name])
        }
        learned.append((sorted(terms), parts, moved))
    boxes, proposals = ["box", "class"], ["rpn_box", "rpn_objectness"]
    assert learned[0] == (proposals, {"first.backbone", "first.rpn"}, {"first.backbone"})
    assert learned[1] == (boxes, {"second.backbone", "second.roi_heads"}, {"second.backbone"})
    assert learned[2] == (proposals, {"second.rpn"}, set())
    assert learned[3] == learned[4] == (boxes, {"second.roi_heads"}, set())
    assert int(model.taken) == 5 and "taken" in model.state_dict()
    with torch.inference_mode():
        assert len(model.eval()(images)) == 1
    with pytest.raises(ValueError, match="part_steps is 0; it must be at least 1"):
        FourStepFasterRCNN(small(), small(), 0)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pyramid": False},
        {"anchors": "k-means"},
        {"anchors": "k-means", "pyramid": False},
        {"training": "four-step", "part_steps": 1},
    ],
    ids=["plain", "no-pyramid", "k-means", "k-means-no-pyramid", "four-step"],
)
def test_the_recipe_trains_and_scores(options: dict[str, Any]) -> None:
    run = fit(
        ShapesFasterRCNN(), "live", steps=4, batch_size=2, warmup=0, validation=4, progress=False,
        size=96, **options,
    )  # fmt: skip
    assert 0 <= run.metrics["AP50"] <= 1 and "AP50_circle" in run.metrics


def test_clustered_anchors_rise_with_the_levels() -> None:
    levels = clustered_anchors({}, 3).shapes
    areas = [w * h for level in levels for w, h in level]
    assert [len(level) for level in levels] == [3, 3, 3] and areas == sorted(areas)


def test_mirrors_and_crops_keep_boxes_on_their_things() -> None:
    """Boxes are compared with those of the moved masks."""
    scene = Shapes(1, seed=5, noise=0.0)[0]
    marked = scene["masks"].float().amax(0).expand(3, -1, -1)
    for axis in (1, 2):
        image, boxes = mirror(marked, scene["boxes"], axis)
        for box in boxes.long().tolist():
            assert float(image[0, box[1] : box[3], box[0] : box[2]].mean()) > 0.1
        again, back = mirror(image, boxes, axis)
        assert torch.equal(again, marked) and torch.equal(back, scene["boxes"])
    part, boxes, keep = crop(marked, scene["boxes"], 40, 30, 60, 0.3)
    assert part.shape == (3, 60, 60) and len(boxes) == int(keep.sum())
    assert bool((boxes >= 0).all()) and bool((boxes <= 60).all())
    image, boxes = rescale(marked, scene["boxes"], 0.5)
    assert image.shape == (3, 64, 64)
    torch.testing.assert_close(boxes, scene["boxes"] / 2)


def test_crops_depend_on_seed_and_index_only() -> None:
    scenes = Shapes(3, size=96)
    crops = BoxCrops(scenes, 64, 12, seed=4, scale=(0.8, 1.2), mirror="xy", contrast=0.1)
    again = BoxCrops(scenes, 64, 5, seed=4, scale=(0.8, 1.2), mirror="xy", contrast=0.1)
    assert torch.equal(crops[4]["image"], again[4]["image"])
    assert {crops[k]["id"].split("#")[0] for k in range(3)} == {
        s["id"] for s in map(scenes.__getitem__, range(3))
    }
    assert not torch.equal(crops[0]["image"], BoxCrops(scenes, 64, 5, seed=5)[0]["image"])
    for sample in map(crops.__getitem__, range(12)):
        assert sample["image"].shape == (3, 64, 64) and sample["image"].dtype == torch.float32
        assert len(sample["boxes"]) == len(sample["labels"])
    whole = BoxCrops(ScaledBoxes(scenes, 0.5), None, 3)
    assert whole[0]["image"].shape == (3, 48, 48)
    with pytest.raises(ValueError, match="dataset is empty"):
        BoxCrops(Shapes(0), 64, 5)


def test_vgg16_has_the_published_layers() -> None:
    with torch.device("meta"):
        model = FasterRCNN.vgg16(21)
        state = {k: torch.empty_like(v) for k, v in imagenet_state().items()}
    load_vgg16(model, state)
    fixed = {n for n, p in model.named_parameters() if not p.requires_grad}
    assert fixed == {f"backbone.features.{k}.{w}" for k in (0, 2, 5, 7) for w in ("weight", "bias")}
    assert model.rpn.anchors.count == 9
    assert VOCFasterRCNN().preset("paper").learning_rate_at(60_000) == pytest.approx(1e-4)


def imagenet_state() -> dict[str, Tensor]:
    """Names and sizes of the published weights, which are a download."""
    return torchvision.models.vgg16(weights=None).state_dict()


class SmallVOC(VOCFasterRCNN):
    """The recipe with a network that a test can train."""

    def model(self, options: Any) -> FasterRCNN:
        return small_for(21)


def small_for(num_classes: int) -> FasterRCNN:
    return FasterRCNN.small(num_classes, channels=(8, 8, 16, 16), width=8, head_width=16)


def test_voc_trains_and_is_scored_by_both_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for year in ("2007", "2012"):
        boxed_kit(tmp_path / "voc", year)
    lists = tmp_path / "voc" / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main"
    (lists / "trainval.txt").write_text("2007_000032\n2008_000001\n")
    (lists / "test.txt").write_text("2007_000032\n2008_000001\n")
    twelve = tmp_path / "voc" / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main" / "trainval.txt"
    twelve.write_text("000005\n")
    monkeypatch.setenv("LESSONS_DATA", str(tmp_path))
    recipe = SmallVOC()
    samples = recipe.training_data({}, 6, 0)
    first = next(samples[k] for k in range(6) if samples[k]["id"].startswith("2007_000032"))
    assert first["crowd"].tolist() == [False, True]
    run = fit(recipe, "paper", steps=2, workers=0, pretrained=False, progress=False)
    assert {"AP50", "VOC2007"} <= run.metrics.keys()
    truths = [recipe.validation_data({})[k] for k in range(2)]
    perfect = [
        {"boxes": t["boxes"][~t["difficult"]], "labels": t["labels"][~t["difficult"]]}
        for t in truths
    ]
    rows = [
        recipe.measure({**found, "scores": torch.ones(len(found["labels"]))}, truth, {})
        for found, truth in zip(perfect, truths, strict=True)
    ]
    assert recipe.summarize(rows)["VOC2007"] == pytest.approx(1)


def test_no_proposal_at_all_is_no_detection() -> None:
    model = small().eval()
    model.rpn.settings = replace(model.rpn.settings, after_nms=(0, 0))
    with torch.inference_mode():
        found = model(torch.rand(2, 3, 64, 64))
    assert [len(one["boxes"]) for one in found] == [0, 0]
    assert found[0]["boxes"].shape == (0, 4) and found[0]["labels"].dtype == torch.int64
    losses = model.train()(torch.rand(1, 3, 64, 64), [AWKWARD["no boxes"]])
    assert float(losses["class"].detach()) == 0 and math.isfinite(float(losses["box"].detach()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mirror": "horizontal"}, "mirror is 'horizontal'; it must be '', 'x', 'y' or 'xy'"),
        ({"min_visible": 2}, "min_visible is 2"),
        ({"scale": (0, 1)}, "scale is"),
    ],
)
def test_crops_that_make_no_sense(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BoxCrops(Shapes(2), 64, 4, **options)


def test_empty_boxes_go_with_and_without_a_crop() -> None:
    sample = Shapes(1, seed=5)[0]
    outside = torch.tensor([[5.0, 5, 5, 9], [300, 300, 400, 400]])
    sample = {**sample, "boxes": torch.cat([sample["boxes"], outside])}
    sample["labels"] = torch.cat([sample["labels"], torch.tensor([1, 1])])
    for size in (None, 128):
        crop_of = BoxCrops([sample], size, 1, mirror="")[0]
        assert len(crop_of["boxes"]) == len(crop_of["labels"]) == len(sample["boxes"]) - 2


def test_labels_must_be_whole_numbers() -> None:
    wrong = {"boxes": torch.tensor([[1.0, 1, 9, 9]]), "labels": torch.tensor([1.0])}
    with pytest.raises(ValueError, match=r"labels is torch.float32; it must hold whole numbers"):
        small().train()(torch.rand(1, 3, 64, 64), [wrong])
