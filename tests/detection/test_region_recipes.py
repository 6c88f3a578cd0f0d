"""The recipes of chapter 7: data, stages, what is stored, and what the stored runs reached."""

from __future__ import annotations

import pytest
import torch

from lessons_lib.data import Shapes
from lessons_lib.recipes import get_recipe
from lessons_lib.training import fit, load_weights, read_ledger

NAMES = ("shapes-rcnn", "shapes-sppnet", "shapes-fast-rcnn")
LEAST = {"shapes-rcnn": 0.6, "shapes-sppnet": 0.65, "shapes-fast-rcnn": 0.75}
TINY = {"steps": 2, "batch_size": 2, "pictures": 12, "validation": 2, "most": 12}


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run(name: str) -> None:
    recipe = get_recipe(name)
    stages = {} if name == "shapes-fast-rcnn" else {"stage_pictures": 12}
    run = fit(recipe, "live", seed=0, progress=False, **TINY, **stages)
    assert 0 <= run.metrics["AP50"] <= 1
    if stages:
        assert bool(run.model.fitted), "the stages are fitted after the last step"
    again = fit(recipe, "live", seed=0, progress=False, **TINY, **stages)
    for key, value in run.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key]), key


def test_all_systems_see_the_same_pictures_and_proposals() -> None:
    options = {"pictures": 3, "most": 20, "validation": 2}
    sets = [get_recipe(name).training_data(options, 7, 5) for name in NAMES]
    for k in range(7):
        first, *others = (data[k] for data in sets)
        assert all(torch.equal(first["image"], other["image"]) for other in others)
        assert all(torch.equal(first["proposals"], other["proposals"]) for other in others)
    validation = get_recipe(NAMES[0]).validation_data(options)
    assert torch.equal(validation[1]["image"], Shapes(2, seed=1_000_000)[1]["image"])


def test_sppnet_has_rcnns_convolutions() -> None:
    spp, _ = load_weights(get_recipe("shapes-sppnet"))
    rcnn, _ = load_weights(get_recipe("shapes-rcnn"))
    found, wanted = (m.backbone.state_dict() for m in (spp, rcnn))
    assert all(torch.equal(value, wanted[key]) for key, value in found.items())


@pytest.mark.parametrize("name", NAMES)
def test_stored_runs_reached_what_they_should(name: str) -> None:
    entries = read_ledger(name, "quick")
    assert len(entries) >= 1
    for entry in entries:
        assert entry["metrics"]["AP50"] >= LEAST[name]
        assert entry["parameters"] <= 400_000 and entry["pictures"] == 200
    model, facts = load_weights(get_recipe(name))
    assert facts["preset"] == "quick"
    assert not hasattr(model, "fitted") or bool(model.fitted)
    scene = Shapes(1, size=144, seed=9)[0]
    with torch.inference_mode():
        (found,) = model([scene["image"]])
    right = found["labels"][found["scores"] > 0.5]
    assert set(right.tolist()) >= set(scene["labels"].tolist()), "another size, and no proposals"
