"""The recipes of Part II: what they measure, and that each can take a step without its data set."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.data import ContextScenes, Shapes
from lessons_lib.data.imagenet import ImageNetScaled, imagenet_scaled
from lessons_lib.recipes import RECIPES, get_recipe
from lessons_lib.semantic import ConfusionMatrix
from lessons_lib.semantic.public_recipes import PretrainedRecipe, pspnet_presets
from lessons_lib.semantic.recipes import (
    SeparatedNuclei,
    foreground_pieces,
    merged_nuclei,
)
from lessons_lib.training import fit

PUBLIC = ["voc-fcn8s", "voc-pspnet", "cityscapes-pspnet", "camvid-pspnet", "nyuv2-pspnet"]


def perfect(sample: dict[str, Any]) -> dict[str, Tensor]:
    return {"semantic": sample["semantic"]}


def test_measures_are_of_all_pixels_together() -> None:
    recipe = get_recipe("shapes-fcn8s")
    generator = torch.Generator().manual_seed(0)
    confusion, rows = ConfusionMatrix(6), []
    for i in range(4):
        truth = Shapes(4, seed=3)[i]["semantic"]
        chance = torch.rand(truth.shape, generator=generator)
        wrong = torch.randint(0, 6, truth.shape, generator=generator)
        predicted = torch.where(chance < 0.3, wrong, truth)
        confusion.update(predicted, truth)
        rows.append(recipe.measure({"semantic": predicted}, {"semantic": truth}, {}))
    assert torch.equal(recipe.confusion(rows).matrix, confusion.matrix)
    metrics = recipe.summarize(rows)
    assert metrics["mean_iou"] == pytest.approx(confusion.mean_iou)
    assert metrics["iou_rod"] == pytest.approx(float(confusion.iou[5]))
    assert metrics["frequency_weighted_iou"] == pytest.approx(confusion.frequency_weighted_iou)


def test_absent_classes_have_no_entry() -> None:
    recipe = get_recipe("shapes-unet")
    blank = {"semantic": torch.zeros(8, 8, dtype=torch.int64)}
    metrics = recipe.summarize([recipe.measure(blank, blank, {})])
    assert metrics["mean_iou"] == 1 and "iou_rod" not in metrics
    assert all(np.isfinite(value) for value in metrics.values())


def test_ambiguous_iou_is_that_of_boats_and_cars() -> None:
    recipe = get_recipe("context-pspnet")
    rows = []
    for i in range(6):
        sample = ContextScenes(6)[i]
        swapped = sample["semantic"].clone()
        swapped[sample["semantic"] == 3] = 4
        rows.append(recipe.measure({"semantic": swapped}, sample, {}))
    metrics = recipe.summarize(rows)
    assert metrics["iou_boat"] == 0 and 0 < metrics["iou_car"] < 1
    assert metrics["ambiguous_iou"] == pytest.approx(metrics["iou_car"] / 2)


def test_pieces_and_merged_nuclei() -> None:
    truth = torch.zeros(10, 20, dtype=torch.int64)
    truth[1:5, 1:5], truth[1:5, 5:9], truth[1:5, 12:16], truth[7:9, 1:3] = 1, 2, 3, 4
    union = foreground_pieces((truth > 0).long(), 1)
    assert int(union.max()) == 3 and merged_nuclei(union, truth) == 1
    assert merged_nuclei(truth, truth) == 0
    assert int(foreground_pieces((truth > 0).long(), 5).max()) == 2, "the small one is dropped"
    everything = torch.ones(10, 20, dtype=torch.int64)
    assert merged_nuclei(everything, truth) == 3
    assert merged_nuclei(torch.zeros_like(truth), truth) == 0


class Pair(Dataset):
    """Two nuclei that touch, in colour."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        instances = torch.zeros(24, 24, dtype=torch.int64)
        instances[4:12, 4:12], instances[4:12, 12:20] = 1, 2
        image = 0.1 + 0.6 * (instances > 0).float().expand(3, 24, 24)
        return {"image": image, "instances": instances, "kind": "fluorescence-small", "id": "a"}


def test_nuclei_are_kept_apart_and_the_gap_weighs_most() -> None:
    sample = SeparatedNuclei(Pair(), w0=10.0)[0]  # type: ignore[arg-type]
    assert sample["image"].shape == (1, 24, 24)
    assert sample["semantic"][8].tolist() == [0] * 4 + [1] * 7 + [0, 0] + [1] * 7 + [0] * 4
    gap = sample["weight"][8, 11:13]
    assert torch.equal(gap, sample["weight"].max().expand(2)) and float(gap[0]) > 8
    assert "weight" not in SeparatedNuclei(Pair())[0]  # type: ignore[arg-type]


def test_the_weight_map_changes_the_loss() -> None:
    recipe = get_recipe("nuclei-unet")
    sample = SeparatedNuclei(Pair(), w0=10.0)[0]  # type: ignore[arg-type]
    batch = {name: sample[name][None] for name in ("image", "semantic", "weight")}
    outputs = {"semantic": torch.zeros(1, 2, 24, 24)}
    weighted = recipe.loss(outputs, batch, {})["semantic"]
    torch.testing.assert_close(weighted, np.log(2) * sample["weight"].mean())
    del batch["weight"]
    torch.testing.assert_close(
        recipe.loss(outputs, batch, {})["semantic"], torch.tensor(np.log(2)).float()
    )


def test_auxiliary_loss_has_its_weight() -> None:
    recipe = get_recipe("context-pspnet")
    scores = torch.zeros(1, 5, 8, 8)
    batch = {"semantic": torch.zeros(1, 8, 8, dtype=torch.int64)}
    terms = recipe.loss({"semantic": scores, "auxiliary": scores}, batch, {"auxiliary": 0.4})
    assert float(terms["auxiliary"]) == pytest.approx(0.4 * float(terms["semantic"]))


@pytest.mark.parametrize("name", ["shapes-fcn8s", "shapes-unet", "context-pspnet"])
def test_live_presets_begin_to_learn(name: str) -> None:
    run = fit(get_recipe(name), "live", progress=False, steps=4, validation=2)
    assert all(np.isfinite(value) for value in run.metrics.values())


class Photographs(Dataset):
    """Stand-ins of a data set's pictures, of different sizes, with ignored pixels."""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict[str, Any]:
        rng = np.random.default_rng(index)
        height, width = 60 + 10 * index, 80
        semantic = torch.from_numpy(rng.integers(0, self.classes, (height, width)))
        semantic[:5] = 255
        image = torch.from_numpy(rng.random((3, height, width)).astype(np.float32))
        return {"image": image, "semantic": semantic, "id": f"p{index}"}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_recipes_take_a_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that stand in for the data set, and a network that does for the large one."""
    recipe = RECIPES[name]
    assert isinstance(recipe, PretrainedRecipe)
    auxiliary = 0.4 if "pspnet" in name else 0.0
    stand_in = get_recipe("context-pspnet").model({"bins": (1, 2), "auxiliary": auxiliary})
    stand_in.head[-1] = nn.Conv2d(64, len(recipe.classes), 1)
    if auxiliary:
        stand_in.auxiliary[-1] = nn.Conv2d(32, len(recipe.classes), 1)
    asked: list[str] = []

    def pictures(split: str) -> Photographs:
        asked.append(split)
        return Photographs(len(recipe.classes))

    monkeypatch.setattr(recipe, "pictures", pictures)
    monkeypatch.setattr(recipe, "model", lambda options: stand_in)
    for preset in recipe.presets:
        settings = {"steps": 1, "batch_size": 2, "crop": 64, "pretrained": False, "precision": "no"}
        run = fit(recipe, preset, progress=False, workers=0, **settings)
        assert run.metrics["mean_iou"] >= 0
    assert set(asked) <= {"train", "trainaug", "val"} and "val" in asked


@pytest.mark.parametrize("name", PUBLIC)
def test_public_recipes_build_their_network(name: str) -> None:
    recipe = RECIPES[name]
    with torch.device("meta"):
        for preset in recipe.presets.values():
            net = recipe.model(preset.options)
            outputs = net(torch.zeros(2, 3, 65, 97))
            assert outputs["semantic"].shape == (2, len(recipe.classes), 65, 97)
            groups = recipe.parameter_groups(net, preset.options)
            count = sum(len(group["params"]) for group in groups)
            assert count == sum(p.requires_grad for p in net.parameters())


def test_the_papers_settings() -> None:
    paper = get_recipe("voc-pspnet").preset("paper")
    assert (paper.learning_rate, paper.schedule, paper.batch_size) == (0.01, "poly", 16)
    assert (paper.steps, paper.weight_decay, paper.optimizer) == (30_000, 1e-4, "sgd")
    assert paper.options["auxiliary"] == 0.4 and paper.options["bins"] == (1, 2, 3, 6)
    assert paper.options["scale"] == (0.5, 2.0) and paper.options["rotate"] == 10
    assert get_recipe("cityscapes-pspnet").preset("paper").steps == 90_000
    assert pspnet_presets(713, 1, "train")["full"].options["crop"] == 473


def test_new_layers_learn_faster() -> None:
    recipe = get_recipe("voc-pspnet")
    net = get_recipe("context-pspnet").model({"bins": (1, 2), "auxiliary": 0.4})
    old, new = recipe.parameter_groups(net, {})
    assert new["factor"] == 10 and "factor" not in old
    assert len(old["params"]) == len(list(net.backbone.parameters()))
    _, biases = get_recipe("voc-fcn8s").parameter_groups(net, {})
    assert biases["factor"] == 2 and all(p.ndim == 1 for p in biases["params"])


def test_imagenet_scaling() -> None:
    image = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(3, 2, 2)
    torch.testing.assert_close(imagenet_scaled(image), torch.zeros(3, 2, 2))
    torch.testing.assert_close(imagenet_scaled(image + 0.229)[0], torch.ones(2, 2))
    scaled = ImageNetScaled(Photographs(3))
    assert len(scaled) == 3
    assert torch.equal(scaled[1]["image"], imagenet_scaled(Photographs(3)[1]["image"]))
