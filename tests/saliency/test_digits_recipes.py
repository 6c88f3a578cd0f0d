"""The recipes of chapter 14: their terms, their measures, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lessons_lib.recipes import get_recipe
from lessons_lib.saliency import DiagonalGaussian
from lessons_lib.saliency.digits_recipes import answer_errors, noise_of
from lessons_lib.training import collate, fit
from lessons_lib.training.evaluate import evaluate_model


def batch_of(recipe: object, options: dict, count: int = 5) -> dict:
    data = recipe.validation_data(options)  # type: ignore[attr-defined]
    return collate([data[i] for i in range(count)])


def test_answer_errors_by_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    samples, target = rng.random((6, 1, 8, 8)), rng.random((1, 8, 8))
    where = np.zeros((1, 8, 8))
    where[:, 2:5, 1:7] = 1
    found = answer_errors(*(torch.from_numpy(v) for v in (samples, target, where)))

    def apart(a: np.ndarray, b: np.ndarray) -> float:
        total = [(a[0, y, x] - b[0, y, x]) ** 2 for y in range(2, 5) for x in range(1, 7)]
        return float(np.sqrt(np.mean(total)))

    errors = [apart(s, target) for s in samples]
    pairs = [apart(samples[i], samples[j]) for i in range(6) for j in range(i)]
    assert found == pytest.approx(
        {
            "error": np.mean(errors),
            "best_of_6": min(errors),
            "mean_error": apart(samples.mean(0), target),
            "diversity": np.mean(pairs),
        }
    )


def test_noise_is_that_of_the_picture() -> None:
    assert torch.equal(noise_of("digits-7", 2), noise_of("digits-7", 2))
    assert not torch.equal(noise_of("digits-7", 2), noise_of("digits-8", 2))
    many = torch.stack([noise_of(f"digits-{i}", 3) for i in range(400)])
    assert many.shape == (400, 16, 3)
    assert many.mean().abs() < 0.03 and (many.std() - 1).abs() < 0.03


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_terms_of_the_vae(beta: float) -> None:
    recipe = get_recipe("digits-vae")
    options = {**recipe.preset("quick").options, "beta": beta, "anneal": 0}
    model, batch = recipe.model(options), batch_of(recipe, options)
    torch.manual_seed(0)
    terms = recipe.training_terms(model, batch, options)
    torch.manual_seed(0)
    out = model(batch["image"])
    error = (out["logits"].sigmoid() - batch["image"]).square().sum((1, 2, 3)) / (2 * 0.2**2)
    constant = 64 * np.log(0.2 * np.sqrt(2 * np.pi))
    assert terms["reconstruction"].item() == pytest.approx(error.mean().item() + constant, rel=1e-5)
    v = out["log_variance"]
    kl = 0.5 * (v.exp() + out["mean"] ** 2 - 1 - v).sum(1).mean()
    assert terms["kl"].item() == pytest.approx(beta * kl.item(), rel=1e-5)


def test_annealing_weighs_the_kl_term() -> None:
    recipe = get_recipe("digits-cvae")
    options = {**recipe.preset("quick").options, "anneal": 3}
    model, batch = recipe.model(options), batch_of(recipe, options)
    model.train()
    shares = [recipe.training_terms(model, batch, options)["kl"].item() for _ in range(5)]
    whole = shares[3]
    assert shares == pytest.approx([0, whole / 3, 2 * whole / 3, whole, whole], rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_terms_of_the_cvae_count_hidden_pixels(share: float) -> None:
    recipe = get_recipe("digits-cvae")
    options = {**recipe.preset("quick").options, "from_prior": share}
    model, batch = recipe.model(options), batch_of(recipe, options)
    torch.manual_seed(0)
    terms = recipe.training_terms(model, batch, options)
    torch.manual_seed(0)
    out = model(batch["image"], batch["target"])
    prior = model.prior(batch["image"])
    code = prior.mean + prior.deviation * torch.randn(5, 2)

    def nats(logits: torch.Tensor) -> float:
        off = (logits.sigmoid() - batch["target"])[:, :, 4:]
        error = off.square().sum((1, 2, 3)) / (2 * 0.2**2)
        return error.mean().item() + 32 * np.log(0.2 * np.sqrt(2 * np.pi))

    right = (1 - share) * nats(out["logits"])
    assert terms["reconstruction"].item() == pytest.approx(right, rel=1e-4, abs=1e-6)
    posterior = DiagonalGaussian(out["mean"], out["log_variance"])
    divergence = posterior.kl(prior).mean().item()
    assert terms["kl"].item() == pytest.approx((1 - share) * divergence, rel=1e-4, abs=1e-7)
    if share:
        guessed = nats(model.decode(batch["image"], code))
        assert terms["from_prior"].item() == pytest.approx(share * guessed, rel=1e-4)
    else:
        assert "from_prior" not in terms


@pytest.mark.parametrize("kind", ["cvae", "deterministic"])
def test_predictions_keep_what_is_visible_and_need_no_truth(kind: str) -> None:
    recipe = get_recipe("digits-cvae")
    options = {**recipe.preset("quick").options, "kind": kind}
    model, batch = recipe.model(options).eval(), batch_of(recipe, options)
    with torch.inference_mode():
        found = recipe.infer(model, batch, options)
        unseen = {k: v for k, v in batch.items() if k != "target"}
        blind = recipe.infer(model, unseen, options)
    for i, (one, other) in enumerate(zip(found, blind, strict=True)):
        assert one["samples"].shape == (16, 1, 8, 8)
        assert torch.equal(one["samples"], other["samples"])
        shown = batch["target"][i, 0, :4].expand(16, 4, 8)
        assert torch.equal(one["samples"][:, 0, :4], shown)
        spread = float(one["samples"][:, 0, 4:].std(0).max())
        assert (spread == 0) == (kind == "deterministic")
    third = {"image": batch["image"][2:3], "id": batch["id"][2:3]}
    alone = recipe.infer(model, third, options)
    torch.testing.assert_close(alone[0]["samples"], found[2]["samples"])


@pytest.mark.parametrize("kind", ["vae", "ae"])
def test_the_vae_learns_and_its_elbo_adds_up(kind: str) -> None:
    recipe = get_recipe("digits-vae")
    run = fit(recipe, "live", steps=500, kind=kind, progress=False)
    assert run.metrics["error"] < 0.29  # the mean digit: 0.3
    assert run.metrics["closeness"] == pytest.approx(1 - run.metrics["error"])
    assert ("elbo" in run.metrics) == (kind == "vae")
    if kind == "vae":
        assert run.metrics["kl"] > 0.3
        again = evaluate_model(recipe, run.model, run.preset.options)
        assert again == run.metrics  # its noise comes with the pictures


def test_the_cvae_learns_to_differ() -> None:
    run = fit(get_recipe("digits-cvae"), "live", steps=300, progress=False)
    assert run.metrics["best_of_16"] < 0.22 < run.metrics["error"]
    assert run.metrics["diversity"] > 0.08
    assert run.metrics["best_of_16"] < run.metrics["mean_error"] < run.metrics["error"]
    alone = fit(get_recipe("digits-cvae"), "live", steps=20, kind="deterministic", progress=False)
    assert alone.metrics["diversity"] == 0
    assert alone.metrics["best_of_16"] == pytest.approx(alone.metrics["error"])


@pytest.mark.parametrize(("name", "wrong"), [("digits-vae", "gan"), ("digits-cvae", "vae")])
def test_an_unknown_kind_is_named(name: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=f"kind is '{wrong}'; it must be one of"):
        fit(get_recipe(name), "live", kind=wrong, progress=False)


def test_data_of_the_presets() -> None:
    recipe = get_recipe("digits-cvae")
    quick, full = (recipe.preset(name).options for name in ("quick", "full"))
    assert len(recipe.training_data(quick, 9000, 0)) == 1352
    moved = recipe.training_data(full, 9000, 5)
    assert (len(moved), moved.seed, moved.digits.max_shift, moved.hidden) == (9000, 5, 1, "any")  # type: ignore[attr-defined]
