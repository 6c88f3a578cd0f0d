import numpy as np
import pytest
import torch

from lessons_lib.data import RGBDScenes, nearness
from lessons_lib.recipes import get_recipe
from lessons_lib.saliency import f_measure
from lessons_lib.saliency.hidden_data import HiddenLabels, label_scenes
from lessons_lib.saliency.rgbd_measures import depth_measures, sample_measures, summarize_curves
from lessons_lib.training import evaluate, fit
from lessons_lib.training.evaluate import evaluate_model
from lessons_lib.training.recipe import collate

NAMES = ["rgbd-ucnet", "rgbd-deterministic", "rgbd-mcdropout", "rgbd-vae"]
FEW = {"steps": 3, "batch_size": 2, "warmup": 0, "size": 32, "channels": 8, "validation": 3}


def few(name, **settings):
    return fit(get_recipe(name), "live", progress=False, **{**FEW, "samples": 4, **settings})


@pytest.mark.parametrize("name", NAMES)
def test_systems_train_and_are_measured(name):
    run = few(name)
    assert all(np.isfinite(value) for value in run.metrics.values())
    assert run.metrics["neg_energy_distance"] == -run.metrics["energy_distance"]
    assert {"MAE", "S", "F_max", "F_mean", "E_max", "mean_MAE", "single_S", "depth_after"} <= set(
        run.metrics
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"variant": "released"},
        {"noise": "pixel"},
        {"latent_variant": "paper"},
        {"correct_depth": False},
        {"depth_target": "sensor"},
        {"depth_target": "true"},
        {"loss": "structure", "gsnn": 0.6},
        {"annotator": "size", "distinct": 2},
    ],
)
def test_options(settings):
    assert np.isfinite(few("rgbd-ucnet", **settings).metrics["energy_distance"])


@pytest.mark.parametrize("fusion", ["early", "late", "cross"])
def test_fusions_train_and_are_measured(fusion):
    run = fit(get_recipe(f"rgbd-fusion-{fusion}"), "live", progress=False, **FEW)
    assert 0 < run.metrics["MAE"] < 1 and 0 < run.metrics["S"] < 1


def test_a_deterministic_network_has_one_answer_and_the_others_do_not():
    for name in NAMES:
        recipe = get_recipe(name)
        options = {**recipe.preset("live").options, "samples": 3}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            model = recipe.model(options).eval()
        data = recipe.validation_data(options)
        batch = collate([data[0], data[1]])
        with torch.no_grad():
            found = recipe.infer(model, batch, options)
            again = recipe.infer(model, collate([data[1]]), options)
        assert found[0]["samples"].shape == (3, 1, 32, 32)
        alike = torch.equal(found[0]["samples"][0], found[0]["samples"][1])
        assert alike == (name == "rgbd-deterministic")
        if name != "rgbd-mcdropout":  # a picture's noise does not depend on its neighbours
            torch.testing.assert_close(
                found[1]["samples"], again[0]["samples"], rtol=1e-4, atol=1e-5
            )


def test_evaluation_leaves_the_random_state_alone():
    recipe = get_recipe("rgbd-mcdropout")
    options = {**recipe.preset("live").options, "samples": 2, "validation": 2}
    model = recipe.model(options)
    state = torch.random.get_rng_state()
    first, second = (evaluate_model(recipe, model, options) for _ in range(2))
    assert first == second and torch.equal(state, torch.random.get_rng_state())


def test_the_kl_term_comes_in_slowly():
    recipe = get_recipe("rgbd-ucnet")
    options = {**recipe.preset("live").options, "annealing_steps": 4}
    model = recipe.model(options).train()
    data = recipe.training_data(options, 2, 0)
    batch = collate([data[0], data[1]])
    terms = [recipe.training_terms(model, batch, options)["kl"].item() for _ in range(3)]
    assert terms[0] == 0 and 0 < terms[1] < terms[2]


def test_depth_target_true_is_the_rendered_depth():
    recipe = get_recipe("rgbd-ucnet")
    options = {**recipe.preset("live").options, "depth_target": "true"}
    model = recipe.model(options).train()
    scenes = RGBDScenes(2, size=32)
    batch = collate([scenes[0], scenes[1]])

    class Perfect(torch.nn.Module):
        def forward(self, image, depth):
            return nearness(batch["true_depth"])

    model.depth_net = Perfect()
    assert recipe.training_terms(model, batch, options)["depth"] == 0
    assert recipe.training_terms(model, batch, {**options, "depth_target": "sensor"})["depth"] > 0


def test_measures_of_many_maps():
    truths = torch.zeros(3, 1, 8, 8)
    truths[0, 0, :3], truths[1, 0, 5:], truths[2, 0, 5:] = 1, 1, 1
    samples = truths[[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]]  # 9 and 11 of 20
    found = sample_measures(samples, truths)
    assert found["energy_distance"] == pytest.approx(0, abs=1e-6)
    assert found["best_of_n"] == pytest.approx(1)


def test_the_maximum_is_that_of_the_mean_curve():
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(4):
        map_, truth = (
            torch.from_numpy(rng.random((9, 9))),
            torch.from_numpy(rng.random((9, 9)) > 0.5),
        )
        rows.append({"F": f_measure(map_, truth).curve.numpy(), "MAE": 0.5})
    summary = summarize_curves(rows)
    mean = np.mean([row["F"] for row in rows], axis=0)
    assert summary == pytest.approx({"F_max": mean.max(), "F_mean": mean.mean(), "MAE": 0.5})
    assert summarize_curves([]) == {}


def test_depth_errors_count_holes_and_measured_pixels():
    true = torch.full((1, 2, 2), 2.5)
    sensed = torch.tensor([[[2.5, 0.0], [2.9, 2.5]]])  # a hole, and 0.1 of nearness off
    found = depth_measures(nearness(true), {"true_depth": true, "depth": sensed})
    assert found["depth_after"] == found["depth_after_measured"] == 0
    assert found["depth_before"] == pytest.approx((0.5 + 0.1) / 4)
    assert found["depth_before_measured"] == pytest.approx(0.1 / 3)


def test_hidden_labels_are_the_given_one_and_others():
    scenes = RGBDScenes(12, annotator="nearness", seed=31)
    labels = label_scenes(scenes)
    assert labels.shape == (12, 4, 1, 64, 64) and labels.dtype == torch.bool
    for i in range(12):
        assert torch.equal(labels[i, 0].float(), scenes[i]["saliency"])
    assert labels.flatten(2).any(2).all()  # none is empty
    elsewhere = [not (labels[i, 1] & labels[i, 0]).any() for i in range(12)]
    assert sum(elsewhere) >= 8  # hidden is hidden, unless nothing else was found
    data = HiddenLabels(scenes, 48, seed=1)
    assert len(data) == 48
    for i in (0, 5, 30):
        chosen = data[i]["saliency"] > 0
        assert any(torch.equal(chosen, one) for one in labels[i % 12])
        assert torch.equal(data[i]["image"], scenes[i % 12]["image"])
    drawn = {i: data[i]["saliency"].sum().item() for i in range(48)}
    assert len({drawn[i] for i in (3, 15, 27, 39)}) > 1
    with pytest.raises(IndexError, match="index is 48"):
        data[48]


def test_packaged_fusion_beats_the_trivial_answers():
    found = evaluate(get_recipe("rgbd-fusion-early"))
    assert found["MAE"] < 0.06 and found["S"] > 0.8


def test_the_drawn_label_does_not_depend_on_the_scene():
    """Both come from (seed, index); one stream for both would tie the label to the number of things."""
    scenes = RGBDScenes(120, size=64, annotator="nearness", seed=5)
    data = HiddenLabels(scenes, 120, seed=5)
    given = [torch.equal(data[i]["saliency"], scenes[i]["saliency"]) for i in range(120)]
    things = [int(scenes[i]["instances"].max()) for i in range(120)]
    shares = [np.mean([g for g, t in zip(given, things, strict=True) if t == n]) for n in (2, 3, 4)]
    assert max(shares) < 0.55  # a quarter each, and chance


def test_prior_draws_take_their_share_of_all_terms():
    recipe = get_recipe("rgbd-ucnet")
    options = {**recipe.preset("live").options, "annealing_steps": 0}
    model = recipe.model(options).train()
    data = recipe.training_data(options, 2, 0)
    batch = collate([data[0], data[1]])

    def kl(**changes):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return recipe.training_terms(model, batch, {**options, **changes})["kl"].item()

    assert kl(gsnn=0.6) == pytest.approx(0.4 * kl(gsnn=0.0), rel=1e-4)
