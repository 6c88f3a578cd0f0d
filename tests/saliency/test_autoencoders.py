"""Likelihoods against torch.distributions; autoencoders and the CVAE alone: shapes, gradients, errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Binomial, Normal

from lessons_lib.saliency import CVAE, VAE, AutoEncoder, Completer, KLWarmup, log_likelihood


def pictures(seed: int = 0, count: int = 3) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 17, (count, 1, 8, 8)) / 16).float()


def normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))


def conditions(count: int = 3) -> Tensor:
    visible = torch.ones(count, 1, 8, 8)
    visible[:, :, 4:] = 0
    return torch.cat([pictures(1, count) * visible, visible], 1)


# ---- likelihoods


def test_binomial_counts_sixteen_inks() -> None:
    image, logits = pictures().double(), 3 * normal(0, 3, 1, 8, 8).double()
    right = Binomial(16, logits=logits).log_prob((16 * image).round()).sum((1, 2, 3))
    torch.testing.assert_close(log_likelihood(logits, image, "binomial"), right)


def test_bernoulli_is_a_probability_of_black_and_white() -> None:
    image, logits = (pictures() > 0.5).double(), 3 * normal(0, 3, 1, 8, 8).double()
    right = Bernoulli(logits=logits).log_prob(image).sum((1, 2, 3))
    torch.testing.assert_close(log_likelihood(logits, image, "bernoulli"), right)


@pytest.mark.parametrize("deviation", [0.05, 0.2, 1.0])
def test_gaussian(deviation: float) -> None:
    image, logits = pictures().double(), 3 * normal(0, 3, 1, 8, 8).double()
    right = Normal(logits.sigmoid(), deviation).log_prob(image).sum((1, 2, 3))
    found = log_likelihood(logits, image, "gaussian", deviation=deviation)
    torch.testing.assert_close(found, right)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "binomial"])
def test_one_answer_to_many_is_their_mean(likelihood: str) -> None:
    image = pictures(5, 9).double()
    logits = torch.zeros(1, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -log_likelihood(logits.expand_as(image), image, likelihood).mean()  # type: ignore[arg-type]
        value.backward()
        return value

    for _ in range(5):
        optimizer.step(loss)
    torch.testing.assert_close(logits.detach().sigmoid()[0], image.mean(0), atol=1e-3, rtol=0)


def test_only_some_pixels_count() -> None:
    image, logits = pictures(), normal(0, 3, 1, 8, 8)
    where = (normal(1, 3, 1, 8, 8) > 0).float()
    for likelihood in ("gaussian", "bernoulli", "binomial"):
        whole = log_likelihood(logits, image, likelihood, where=torch.ones_like(image))  # type: ignore[arg-type]
        torch.testing.assert_close(whole, log_likelihood(logits, image, likelihood))  # type: ignore[arg-type]
        part = log_likelihood(logits, image, likelihood, where=where)  # type: ignore[arg-type]
        changed = torch.where(where > 0, image, 1 - image)
        found = log_likelihood(logits, changed, likelihood, where=where)  # type: ignore[arg-type]
        torch.testing.assert_close(found, part)
        assert (part != whole).all()


def test_many_draws_at_once() -> None:
    image, logits = pictures(), normal(0, 4, 3, 1, 8, 8)
    found = log_likelihood(logits, image)
    assert found.shape == (4, 3)
    torch.testing.assert_close(found[2], log_likelihood(logits[2], image))


def test_a_likelihood_that_is_none() -> None:
    image = pictures()
    with pytest.raises(ValueError, match="likelihood is 'poisson'; it must be one of"):
        log_likelihood(image, image, "poisson")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="deviation is 0; it must be above 0"):
        log_likelihood(image, image, deviation=0)


# ---- autoencoders


@pytest.mark.parametrize("latent", [1, 2, 5])
def test_an_autoencoder_is_encoder_and_decoder(latent: int) -> None:
    model = AutoEncoder(latent, hidden=9)
    out = model(pictures())
    assert out["logits"].shape == (3, 1, 8, 8) and out["code"].shape == (3, latent)
    assert torch.equal(out["code"], model.encode(pictures()))
    assert torch.equal(out["logits"], model.decode(out["code"]))
    assert model.decode(torch.zeros(4, 2, latent)).shape == (4, 2, 1, 8, 8)


def test_a_vae_draws_what_it_decodes() -> None:
    model, noise = VAE(3, hidden=9), normal(2, 6, 4, 3)
    image = pictures(count=4)
    out = model(image, noise)
    posterior = model.encode(image)
    code = posterior.mean + torch.exp(posterior.log_variance / 2) * noise
    assert out["logits"].shape == (6, 4, 1, 8, 8)
    torch.testing.assert_close(out["logits"], model.decode(code))
    assert torch.equal(out["mean"], posterior.mean)
    assert torch.equal(out["log_variance"], posterior.log_variance)
    # with its own noise two passes differ
    assert not torch.equal(model(image)["logits"], model(image)["logits"])


def test_both_parts_of_the_loss_reach_the_encoder() -> None:
    model = VAE(2, hidden=9)
    for term in ("reconstruction", "kl"):
        model.zero_grad()
        out = model(pictures())
        posterior = model.encode(pictures())
        likelihood = log_likelihood(out["logits"], pictures())
        (posterior.kl() if term == "kl" else likelihood).mean().backward()
        gradient = model.encoder[0].weight.grad
        assert gradient is not None and gradient.abs().max() > 0, term


@pytest.mark.parametrize("network", [AutoEncoder, VAE])
def test_what_autoencoders_refuse(network: type) -> None:
    with pytest.raises(ValueError, match="latent is 0; it must be at least 1"):
        network(0)
    with pytest.raises(ValueError, match="hidden is 0; it must be at least 1"):
        network(2, 0)
    with pytest.raises(ValueError, match=r"image has shape \(2, 1, 9, 8\); it must be"):
        network()(torch.zeros(2, 1, 9, 8))
    with pytest.raises(ValueError, match=r"code has shape \(2, 3\); its last axis must be 2"):
        network()(pictures()) and network().decode(torch.zeros(2, 3))


def test_noise_must_fit() -> None:
    with pytest.raises(ValueError, match=r"noise has shape \(3, 3\); it must end in \(3, 2\)"):
        VAE()(pictures(), torch.zeros(3, 3))


# ---- the conditional one


@pytest.mark.parametrize("prior", ["learned", "standard"])
def test_a_cvae_trains_with_the_posterior_and_answers_with_the_prior(prior: str) -> None:
    model = CVAE(2, 9, prior)  # type: ignore[arg-type]
    condition, target, noise = conditions(), pictures(), normal(3, 5, 3, 2)
    out = model(condition, target, noise)
    posterior, before = model.posterior(condition, target), model.prior(condition)
    torch.testing.assert_close(
        out["logits"], model.decode(condition, posterior.mean + posterior.deviation * noise)
    )
    drawn = model.sample(condition, noise)
    assert drawn.shape == (5, 3, 1, 8, 8)
    torch.testing.assert_close(
        drawn, model.decode(condition, before.mean + before.deviation * noise).sigmoid()
    )
    assert torch.equal(out["prior_mean"], before.mean)
    zero = prior == "standard"
    assert bool((out["prior_mean"] == 0).all()) == zero
    assert bool((out["prior_log_variance"] == 0).all()) == zero


def test_the_target_enters_the_posterior_only() -> None:
    model, condition = CVAE(2, 9), conditions()
    one, other = pictures(0), pictures(7)
    assert not torch.equal(
        model.posterior(condition, one).mean, model.posterior(condition, other).mean
    )
    noise = normal(0, 3, 2)
    a, b = model(condition, one, noise), model(condition, other, noise)
    assert torch.equal(a["prior_mean"], b["prior_mean"])
    target = pictures().requires_grad_()
    model.decode(condition, model.prior(condition).sample(noise)).sum().backward()
    assert target.grad is None


def test_answers_depend_on_condition_and_noise() -> None:
    model, condition = CVAE(2, 9), conditions()
    drawn = model.sample(condition, normal(0, 4, 3, 2))
    assert (drawn[0] != drawn[1]).any() and (drawn[0, 0] != drawn[0, 1]).any()
    assert Completer(9)(condition)["logits"].shape == (3, 1, 8, 8)


def test_what_the_conditional_networks_refuse() -> None:
    with pytest.raises(ValueError, match='prior is \'flat\'; it must be "learned" or "standard"'):
        CVAE(prior="flat")  # type: ignore[arg-type]
    for make in (lambda: CVAE(0), lambda: CVAE(2, 0), lambda: Completer(0)):
        with pytest.raises(ValueError, match="is 0; it must be at least 1"):
            make()
    with pytest.raises(ValueError, match=r"condition has shape \(3, 1, 8, 8\); it must be"):
        CVAE().prior(pictures())
    with pytest.raises(ValueError, match=r"target has shape \(3, 1, 8, 7\)"):
        CVAE().posterior(conditions(), torch.zeros(3, 1, 8, 7))
    with pytest.raises(ValueError, match=r"code has shape \(3, 1\); its last axis must be 2"):
        CVAE().decode(conditions(), torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"noise has shape \(4, 2\); it must end in \(3, 2\)"):
        CVAE().sample(conditions(), torch.zeros(4, 2))


# ---- annealing


def test_the_weight_rises_in_a_line_and_is_kept() -> None:
    rise = KLWarmup(4)
    assert [float(rise()) for _ in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    watched = KLWarmup(4)
    watched()
    watched.eval()  # measuring is no step
    assert [float(watched()) for _ in range(2)] == [0.25, 0.25]
    half = KLWarmup(4)
    half()
    half()
    resumed = KLWarmup(4)
    resumed.load_state_dict(half.state_dict())
    assert float(resumed()) == 0.5
    assert [float(KLWarmup()()) for _ in range(2)] == [1, 1]
    with pytest.raises(ValueError, match="steps is -1; it must be at least 0"):
        KLWarmup(-1)
