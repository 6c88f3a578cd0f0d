"""The recipes of chapter 10: data, measures, what is stored, and what the stored runs reached."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from lessons_lib.data import CocoInstances, PennFudan, Shapes
from lessons_lib.detection import FasterRCNN, MaskRCNN
from lessons_lib.detection import mask_public_recipes as public
from lessons_lib.detection.instance_targets import MirroredMasks
from lessons_lib.detection.mask_recipes import SticksMaskRCNN
from lessons_lib.recipes import get_recipe
from lessons_lib.training import fit, load_weights, read_ledger
from tests.data.nuclei_trees import blobs, merged_tree, stained
from tests.data.test_coco_instances import tree as coco_tree
from tests.data.test_penn_fudan import tree as people_tree

TINY = {"channels": (16, 16, 16, 16), "width": 16, "head_width": 16, "mask_width": 16}
SHORT = {"steps": 2, "batch_size": 2, "warmup": 0, "progress": False}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"align": False},
        {"mask_loss": "softmax"},
        {"mask_aligned": False},
        {"mask_branch": False},
    ],
    ids=["plain", "roi-pool", "softmax", "half-pixel", "no-mask"],
)
def test_the_ablations_train_and_are_scored(options: dict[str, Any]) -> None:
    recipe = get_recipe("shapes-mask-rcnn")
    run = fit(recipe, "live", validation=2, **SHORT, **TINY, **options)
    assert {"AP50", "mask_AP50", "AP50_star", "mask_AP50_star"} <= run.metrics.keys()
    assert all(0 <= value <= 1 for value in run.metrics.values())
    assert isinstance(run.model, MaskRCNN) == options.get("mask_branch", True)
    assert isinstance(run.model, FasterRCNN)


def perfect(sample: dict[str, Any]) -> dict[str, Any]:
    found = {name: sample[name] for name in ("boxes", "labels", "masks")}
    return {**found, "scores": torch.linspace(1, 0.9, len(sample["labels"]))}


def test_masks_are_scored_beside_boxes() -> None:
    """Masks shifted by 6 px still have perfect boxes, and the other way round."""
    recipe = get_recipe("shapes-mask-rcnn")
    scenes = [Shapes(3, seed=8)[k] for k in range(3)]
    rows = [recipe.measure(perfect(s), s, {}) for s in scenes]
    assert recipe.summarize(rows)["AP"] == recipe.summarize(rows)["mask_AP"] == pytest.approx(1)
    rows = [recipe.measure({**perfect(s), "masks": s["masks"].roll(6, 2)}, s, {}) for s in scenes]
    numbers = recipe.summarize(rows)
    assert numbers["AP"] == pytest.approx(1) and numbers["mask_AP"] < 0.7
    rows = [recipe.measure({**perfect(s), "boxes": s["boxes"] + 6}, s, {}) for s in scenes]
    numbers = recipe.summarize(rows)
    assert numbers["mask_AP"] == pytest.approx(1) and numbers["AP"] < 0.7


def test_without_a_mask_branch_the_box_is_the_mask() -> None:
    class Fixed(nn.Module):
        def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
            boxes = torch.tensor([[2.0, 3, 8, 5]])
            return [{"boxes": boxes, "labels": torch.ones(1).long(), "scores": torch.ones(1)}]

    batch = {"image": torch.zeros(1, 3, 10, 12)}
    (found,) = get_recipe("shapes-mask-rcnn").infer(Fixed(), batch, {})
    expected = torch.zeros(1, 10, 12, dtype=torch.bool)
    expected[0, 3:5, 2:8] = True
    assert torch.equal(found["masks"], expected)


def test_sticks_are_those_of_chapter_11() -> None:
    ours, theirs = get_recipe("sticks-mask-rcnn"), get_recipe("sticks-discriminative")
    mine, other = (r.validation_data(r.preset("quick").options) for r in (ours, theirs))
    assert len(mine) == len(other) == 100  # type: ignore[arg-type]
    for number in (0, 57):
        assert torch.equal(mine[number]["instances"], other[number]["instances"])
        assert torch.equal(mine[number]["image"][1], other[number]["image"][0])


def test_sticks_train_and_are_measured_as_a_label_map() -> None:
    recipe = SticksMaskRCNN()
    options = recipe.preset("quick").options
    run = fit(recipe, "quick", validation=2, checkpoint_every=0, **SHORT, **TINY)
    assert {
        "AP50",
        "mask_AP50",
        "sbd",
        "absolute_dic",
        "pq",
        "foreground_iou",
    } <= run.metrics.keys()
    sample = recipe.sticks(options, 1, 5)[0]
    (exact,) = recipe.infer(Says(perfect(sample)), {"image": sample["image"][None]}, options)
    numbers = recipe.summarize([recipe.measure(exact, sample, options)])
    assert numbers["sbd"] == numbers["mask_AP"] == numbers["pq"] == pytest.approx(1)
    assert numbers["absolute_dic"] == 0 and numbers["foreground_iou"] == 1
    unsure = {**perfect(sample), "scores": torch.tensor([0.9] * 6 + [0.4] * 2)}
    (part,) = recipe.infer(Says(unsure), {"image": sample["image"][None]}, options)
    assert recipe.measure(part, sample, options)["absolute_dic"] == 2


class Says(nn.Module):
    """Finds what it was told."""

    def __init__(self, found: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self.found = found

    def forward(self, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        return [self.found]


def test_nuclei_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {f"n{k}": blobs(k) if k % 3 else stained(k) for k in range(12)}
    merged_tree(tmp_path / "dsb2018", pictures)
    monkeypatch.setenv("LESSONS_DATA", str(tmp_path))
    recipe, theirs = get_recipe("nuclei-mask-rcnn"), get_recipe("nuclei-discriminative")
    options = recipe.preset("quick").options
    mine, other = recipe.validation_data(options), theirs.validation_data(options)
    assert len(mine) == len(other) > 0  # type: ignore[arg-type]
    assert torch.equal(mine[0]["image"][2], other[0]["image"][0])
    crops = recipe.training_data({**options, "size": 48}, 5, 3)
    again = theirs.training_data({**options, "size": 48}, 5, 3)
    assert torch.equal(crops[4]["image"][0], again[4]["image"][0])
    for k in range(5):
        assert torch.equal(crops[k]["masks"].any(0), again[k]["instances"] > 0)
    run = fit(recipe, "quick", size=48, checkpoint_every=0, **SHORT, **TINY)
    assert {"dsb_50", "dsb_mean", "sbd", "aji", "mask_AP50", "absolute_dic"} <= run.metrics.keys()
    left = recipe.validation_data({**options, "leave_out": "stained"})
    assert {left[k]["kind"] for k in range(len(left))} == {"stained"}  # type: ignore[arg-type]
    image = recipe.prepare(torch.rand(3, 20, 30), options)
    assert image.shape == (3, 20, 30)


# Fine-tuning and COCO, on small trees in the true layout


def random_coco() -> MaskRCNN:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return public.without_epsilon(MaskRCNN.resnet_fpn(91, frozen_norm=True))


def test_people_are_learned_from_cocos_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people_tree(tmp_path / "penn_fudan" / "PennFudanPed")
    monkeypatch.setenv("LESSONS_DATA", str(tmp_path))
    source = random_coco()
    monkeypatch.setattr(MaskRCNN, "coco", classmethod(lambda cls: source))
    recipe = get_recipe("pennfudan-mask-rcnn")
    options = {**recipe.preset("full").options, "shorter": 48}
    model: Any = recipe.model(options)
    recipe.initialize(model, options)
    state = model.state_dict()
    old = source.state_dict()
    new = [k for k, v in old.items() if v.shape != state[k].shape or not torch.equal(v, state[k])]
    assert {name.split(".")[1] for name in new} == {"box_predictor", "branch"}
    assert {name.split(".")[3] for name in new if "branch" in name} == {
        "conv5_mask",
        "mask_fcn_logits",
    }
    fixed = {n.split(".")[2] for n, p in model.named_parameters() if not p.requires_grad}
    assert fixed == {"conv1", "layer1"}
    norms = [m for m in model.modules() if isinstance(m, torchvision.ops.FrozenBatchNorm2d)]
    assert len(norms) == 53 and all(m.eps == 0 for m in norms)
    run = fit(recipe, "full", shorter=48, steps=1, workers=0, warmup=0, progress=False)
    assert "mask_AP" in run.metrics
    trained = run.model.state_dict()
    assert torch.equal(trained["backbone.body.conv1.weight"], state["backbone.body.conv1.weight"])


def test_weights_that_do_not_fit_are_refused() -> None:
    model, source = MaskRCNN.small(2, **TINY), MaskRCNN.small(2, **TINY)
    source.rpn.extra = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"source does not fit the model: rpn\.extra\.weight"):
        public.take_trunk(model, source)


def test_coco_is_trained_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "val"):
        (tmp_path / "coco").mkdir(exist_ok=True)
        coco_tree(tmp_path / "coco", split)
    monkeypatch.setenv("LESSONS_DATA", str(tmp_path))
    body = torchvision.models.resnet50(weights=None).state_dict()
    monkeypatch.setattr(public, "imagenet_weights", lambda name: body)
    recipe = get_recipe("coco-mask-rcnn")
    names: Any = recipe.classes  # type: ignore[attr-defined]
    assert len(names) == 91 and names[13] == "stop sign" and names[12] == "unused 12"
    assert names[:2] == CocoInstances(tmp_path / "coco").classes[:2]
    run = fit(
        recipe, "paper", shorter=48, steps=1, batch_size=1, workers=0, warmup=0, progress=False
    )
    assert "mask_AP" in run.metrics and "AP50_stop sign" in run.metrics
    sample = CocoInstances(tmp_path / "coco")[1]
    things = ~sample["crowd"]
    exact = {n: sample[n][things] for n in ("boxes", "labels", "masks")}
    row = recipe.measure({**exact, "scores": torch.ones(int(things.sum()))}, sample, {})
    assert recipe.summarize([row])["mask_AP"] == pytest.approx(1)
    preset = recipe.preset("paper")
    rates = [preset.learning_rate_at(round(e * preset.steps / 26)) for e in (15.9, 16.1, 22.1)]
    assert rates == pytest.approx([0.02, 0.002, 0.0002])


def test_whole_pictures_mirrored_at_random(tmp_path: Path) -> None:
    people = PennFudan(people_tree(tmp_path), split="all")
    items = MirroredMasks(people, 40, seed=3)
    assert torch.equal(items[17]["image"], MirroredMasks(people, 18, seed=3)[17]["image"])
    assert {items[k]["id"].split("#")[0] for k in range(12)} == set(people.ids)
    turned = 0
    for k in range(40):
        item, name = items[k], items[k]["id"].split("#")[0]
        original = people[people.ids.index(name)]
        flipped = not torch.equal(item["image"], original["image"])
        turned += flipped
        masks = original["masks"].flip(2) if flipped else original["masks"]
        assert torch.equal(item["masks"], masks)
        assert torch.equal(
            item["image"], original["image"].flip(2) if flipped else original["image"]
        )
        for mask, (x1, y1, x2, y2) in zip(item["masks"], item["boxes"].int().tolist(), strict=True):
            y, x = np.nonzero(mask.numpy())
            assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == [x1, y1, x2, y2]
    assert 10 < turned < 30
    with pytest.raises(ValueError, match="dataset is empty"):
        MirroredMasks(Shapes(0), 3)


# What is stored


@pytest.mark.parametrize(
    ("name", "measure", "least"),
    [("shapes-mask-rcnn", "mask_AP50", 0.85), ("sticks-mask-rcnn", "mask_AP50", 0.8)],
)
def test_stored_runs_reached_what_they_should(name: str, measure: str, least: float) -> None:
    entries = [e for e in read_ledger(name, "quick") if "variant" not in e]
    assert entries
    for entry in entries:
        assert entry["metrics"][measure] >= least
        assert entry["parameters"] <= 400_000
    recipe = get_recipe(name)
    model, facts = load_weights(recipe)
    sample = recipe.validation_data(facts["options"])[0]
    with torch.inference_mode():
        (found,) = recipe.infer(model, {"image": sample["image"][None]}, facts["options"])
    row = recipe.measure(found, sample, facts["options"])
    assert recipe.summarize([row])["mask_AP50"] > 0.7
