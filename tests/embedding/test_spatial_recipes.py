"""The recipes of chapter 12: they learn, what they predict is scored as COCO does, and files come out whole."""

import numpy as np
import pytest
import torch

from lessons_lib.data import instances_to_coco
from lessons_lib.detection import average_precision
from lessons_lib.embedding import instance_measures, margin_of, match_instances
from lessons_lib.embedding.spatial_recipes import SPATIAL
from lessons_lib.recipes import get_recipe
from lessons_lib.training import fit

SMALL = {"base_channels": 4, "depth": 2, "validation": 4}
SIZES = {"count": (3, 4), "radius": (6.0, 10.0), "size": 48}


def test_discs_learn_to_point_at_their_centres():
    recipe = get_recipe("discs-spatial")
    run = fit(recipe, "quick", progress=False, steps=60, warmup=5, **{**SMALL, **SIZES})
    first, last = run.history[0], run.history[-2]
    assert last["loss"] < 0.8 * first["loss"]
    assert run.metrics["foreground_iou"] > 0.5
    assert {"AP", "AP50", "dsb_50", "dsb_75", "dsb_mean", "pq", "aji", "sbd"} <= run.metrics.keys()


@pytest.mark.parametrize("sigma", ["fixed", "one", "two"])
@pytest.mark.parametrize("center", ["centroid", "learned"])
def test_every_ablation_takes_a_step(sigma, center):
    recipe = get_recipe("discs-spatial")
    settings = {**SMALL, **SIZES, "sigma": sigma, "center": center, "margin": 5.0}
    run = fit(recipe, "quick", progress=False, steps=2, **settings)
    outputs = run.model(torch.rand(1, 1, 48, 48))
    channels = {"fixed": 0, "one": 1, "two": 2}[sigma]
    assert outputs["sigma"].shape == (1, channels, 48, 48)
    assert all(np.isfinite(value) for value in run.metrics.values())


def test_the_first_margin_is_the_one_asked_for():
    recipe = get_recipe("sticks-spatial")
    for unit in (32.0, 1024.0):
        options = {**SPATIAL, **SMALL, "unit": unit, "margin": 7.0}
        sigma = recipe.model(options)(torch.rand(1, 1, 16, 16))["sigma"]
        torch.testing.assert_close(margin_of(sigma, unit), torch.full_like(sigma, 7.0))


def test_sticks_are_those_of_chapter_11():
    ours, theirs = get_recipe("sticks-spatial"), get_recipe("sticks-discriminative")
    for preset in ("live", "quick", "full"):
        a = ours.validation_data(ours.preset(preset).options)[1]
        b = theirs.validation_data(theirs.preset(preset).options)[1]
        assert torch.equal(a["image"], b["image"]) and torch.equal(a["instances"], b["instances"])


def test_scores_rank_the_instances():
    """A wrong instance of low score costs less precision than one of high score."""
    recipe = get_recipe("discs-spatial")
    truth = torch.zeros(40, 40, dtype=torch.long)
    truth[2:12, 2:12], truth[20:34, 20:34] = 1, 2
    found = truth.clone()
    found[36:39, 2:9] = 3
    values = {}
    for name, scores in [("low", [0.9, 0.8, 0.6]), ("high", [0.8, 0.7, 0.9])]:
        prediction = {
            "instances": found,
            "scores": torch.tensor(scores),
            "labels": torch.ones(3, dtype=torch.long),
        }
        row = recipe.measure(prediction, {"instances": truth}, {})
        values[name] = recipe.summarize([row, row])["AP50"]
        annotations = [{**a, "image_id": 1} for a in instances_to_coco(truth, 1)]
        known = {
            "images": [{"id": 1, "height": 40, "width": 40}],
            "categories": [{"id": 1}],
            "annotations": annotations,
        }
        mine = [{**a, "score": s} for a, s in zip(instances_to_coco(found, 1), scores, strict=True)]
        assert values[name] == pytest.approx(average_precision(known, mine, "masks")["AP50"])
    assert values["low"] == pytest.approx(1.0) and values["high"] < 0.9


def test_measures_of_a_pair():
    truth = torch.zeros(20, 20, dtype=torch.long)
    truth[2:8, 2:8], truth[10:18, 10:18] = 1, 2
    found = torch.zeros_like(truth)
    found[2:8, 2:8], found[10:18, 10:15] = 5, 9
    measures = instance_measures(found, truth)
    # 36 of 36 and 40 of 64 pixels: IoU 1 and 0.625
    assert measures["dsb_50"] == 1 and measures["dsb_75"] == pytest.approx(1 / 3)
    # both match at 0.5, 0.55 and 0.6, one at the seven thresholds above
    assert measures["dsb_mean"] == pytest.approx((3 * 1 + 7 / 3) / 10)
    assert measures["foreground_iou"] == pytest.approx(76 / 100)
    assert measures["pq"] == pytest.approx((1 + 0.625) / 2)
    assert measures["aji"] == pytest.approx(76 / 100)
    assert measures["absolute_dic"] == 0
    nothing = instance_measures(torch.zeros_like(truth), torch.zeros_like(truth))
    assert nothing["foreground_iou"] == nothing["dsb_50"] == 1


def test_a_recipe_of_classes_gives_each_instance_its_own():
    recipe = get_recipe("cityscapes-spatial")
    classes = len(recipe.classes) - 1
    offset = torch.zeros(1, 2, 16, 16)
    seed = torch.full((1, classes, 16, 16), -9.0)
    seed[0, 2, 2:6, 2:6], seed[0, 0, 9:14, 9:14] = 5.0, 4.0
    options = recipe.preset("paper").options
    outputs = {"offset": offset, "sigma": torch.full((1, 2, 16, 16), 0.16), "seed": seed}
    settings = {**options, "unit": 16.0, "min_size": 1, "seed_threshold": 0.5}
    (found,) = recipe.predict(outputs, settings)
    assert found["labels"].tolist() == [3, 1]
    assert found["semantic"][3, 3] == 3 and found["semantic"][10, 10] == 1
    truth = torch.zeros(16, 16, dtype=torch.long)
    truth[2:6, 2:6], truth[9:14, 9:14] = 1, 2
    assert match_instances(found["instances"], truth).true_positives == 2


def test_average_precision_is_that_of_the_classes():
    """Two things found where they are, one of them called by the other's name."""

    class Two(type(get_recipe("discs-spatial"))):
        classes = ("background", "disc", "ring")

    recipe = Two()
    truth = torch.zeros(30, 30, dtype=torch.long)
    truth[2:10, 2:10], truth[15:25, 15:25] = 1, 2
    semantic = truth.clone()
    values = []
    for labels in ([1, 2], [1, 1]):
        prediction = {
            "instances": truth,
            "scores": torch.tensor([0.9, 0.8]),
            "labels": torch.tensor(labels),
        }
        row = recipe.measure(prediction, {"instances": truth, "semantic": semantic}, {})
        values.append(recipe.summarize([row])["AP50"])
    assert values == pytest.approx([1.0, 0.5])
