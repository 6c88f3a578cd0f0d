"""The recipe on UC-Net's own data: its settings, and two steps on a small tree in the true layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lessons_lib.data import RGBDSaliency, nearness
from lessons_lib.recipes import get_recipe
from lessons_lib.saliency import s_measure
from lessons_lib.saliency.paper_recipes import SquarePictures, metres
from lessons_lib.training import evaluate, fit
from lessons_lib.training.recipe import collate
from tests.data.test_rgbd_saliency import write

SMALL: dict[str, Any] = {
    "size": 64,
    "backbone": "small",
    "pretrained": False,
    "channels": 8,
    "samples": 2,
    "workers": 0,
}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """NJU2K with 3 + 2 pictures, NLPR with 2 + 1, of 32 x 24 px."""
    for name, numbers in (
        ("NJU2K_TRAIN", range(3)),
        ("NJU2K_TEST", range(3, 5)),
        ("NLPR_TRAIN", range(5, 7)),
        ("NLPR_TEST", range(7, 8)),
    ):
        near = RGBDSaliency.SETS[name.split("_")[0]].near
        write(tmp_path / "rgbd_saliency" / name, numbers, near=near)
    monkeypatch.setenv("LESSONS_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_two_steps_and_an_evaluation(preset: str, root: Path, tmp_path: Path) -> None:
    recipe = get_recipe("nju2k-ucnet")
    size = {"paper": 64, "released": 96}[preset]
    settings = {**SMALL, "size": size, "steps": 2, "batch_size": 2}
    run = fit(recipe, preset, progress=False, out=tmp_path / "run", **settings)
    losses = [row["loss"] for row in run.history if "loss" in row]
    assert losses and np.isfinite(losses).all()
    terms = {"saliency", "kl", "prior"} if preset == "released" else {"saliency", "kl"}
    assert any(terms <= row.keys() for row in run.history)
    wanted = {"MAE", "S", "F_max", "F_mean", "E_max", "E_mean", "single_S"}
    assert wanted <= run.metrics.keys() and recipe.score in run.metrics
    assert all(0 <= value <= 1 for value in run.metrics.values())
    again = evaluate(recipe, tmp_path / "run" / "last.safetensors")
    assert again["S"] == pytest.approx(run.metrics["S"], abs=1e-5)


def test_maps_come_back_at_the_pictures_own_size(root: Path) -> None:
    recipe = get_recipe("nju2k-ucnet")
    options = {**recipe.preset("paper").options, **SMALL}
    torch.manual_seed(0)
    model = recipe.model(options).eval()
    sample = RGBDSaliency("NJU2K", "test")[0]
    with torch.inference_mode():
        (prediction,) = recipe.infer(model, collate([sample]), options)
        (again,) = recipe.infer(model, collate([sample]), options)
    assert prediction["saliency"].shape == (1, 24, 32)
    assert prediction["samples"].shape == (2, 1, 24, 32)
    assert not torch.equal(prediction["samples"][0], prediction["samples"][1])
    assert torch.equal(prediction["samples"], again["samples"])
    row = recipe.measure(prediction, sample, options)
    own = float(s_measure(prediction["saliency"][0], sample["saliency"][0]))
    assert row["S"] == pytest.approx(own)


def test_training_pictures_are_squares_in_rounds(root: Path) -> None:
    recipe = get_recipe("nju2k-ucnet")
    data = recipe.training_data({**recipe.preset("paper").options, "size": 48}, 15, 0)
    assert isinstance(data, SquarePictures) and len(data) == 15
    ids = [data[i]["id"].split("#")[0] for i in range(15)]
    assert [len(set(ids[i : i + 5])) for i in (0, 5, 10)] == [5, 5, 5]
    assert {name.split("/")[0] for name in ids} == {"NJU2K", "NLPR"}
    sample = data[0]
    assert {k: tuple(v.shape) for k, v in sample.items() if k != "id"} == {
        "image": (3, 48, 48),
        "depth": (1, 48, 48),
        "saliency": (1, 48, 48),
    }
    assert set(sample["saliency"].unique().tolist()) == {0.0, 1.0}
    # the salient disc is the nearest thing in every picture of both sets, whichever way they store it
    for i in range(5):
        one = data[i]
        inside = one["saliency"] > 0
        assert one["depth"][inside].median() > one["depth"][~inside].median()


def test_relative_depth_survives_the_metres() -> None:
    near = torch.cat([torch.zeros(1), torch.linspace(1 / 255, 1, 255)])
    assert torch.allclose(nearness(metres(near)), near, atol=1e-6)


def test_settings_are_those_of_the_papers() -> None:
    recipe = get_recipe("nju2k-ucnet")
    paper, released = recipe.preset("paper"), recipe.preset("released")
    assert (paper.batch_size, paper.learning_rate, paper.options["size"]) == (6, 1e-4, 352)
    assert paper.steps * 6 // 2185 in (29, 30) and released.steps * 10 // 2185 in (99, 100)
    assert (released.batch_size, released.learning_rate) == (10, 5e-5)
    for preset, latent, backbone in ((paper, 8, "vgg16"), (released, 3, "resnet50")):
        assert (preset.options["latent"], preset.options["backbone"]) == (latent, backbone)
        assert preset.options["channels"] == 32
    assert recipe.data_set == "rgbd-saliency"
