"""The trainable systems of chapter 14: digits through a bottleneck, and digits of which half is hidden."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lessons_lib.data import Digits, HalfDigits
from lessons_lib.saliency.annealing import KLWarmup
from lessons_lib.saliency.autoencoder import VAE, AutoEncoder
from lessons_lib.saliency.cvae import CVAE, Completer
from lessons_lib.saliency.gaussians import DiagonalGaussian
from lessons_lib.saliency.likelihood import log_likelihood
from lessons_lib.training import Preset, Recipe
from lessons_lib.training.recipe import Batch

SAMPLES = 16

_VAE = {
    "kind": "vae",
    "latent": 2,
    "hidden": 64,
    "likelihood": "gaussian",
    "deviation": 0.2,
    "beta": 1.0,
    "anneal": 0,
    "max_shift": 0,
}
_CVAE = {
    **_VAE,
    "kind": "cvae",
    "hidden": 128,
    "half": "bottom",
    "prior": "learned",
    "from_prior": 0.0,
}


class DigitsVAE(Recipe):
    """Whole digits through two numbers.

    Options: ``kind``, ``"vae"`` or ``"ae"``; ``latent`` and ``hidden`` of the network; ``likelihood`` and ``deviation``
    of :func:`~lessons_lib.saliency.log_likelihood`; ``beta``, the weight of the KL term (Higgins and others, 2017);
    ``anneal``, steps in which it rises; ``max_shift`` of the training data.

    Measures: ``error``, root mean square over the pixels, decoded from the posterior's mean; ``closeness``, 1 −
    error; and of a VAE ``kl`` and ``elbo``, nats a picture, with 16 draws of z.
    """

    name = "digits-vae"
    summary = "scikit-learn's digits through two latent numbers (chapter 14)"
    score = "closeness"
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="trained in front of the reader",
            steps=1500,
            batch_size=64,
            learning_rate=3e-3,
            options=_VAE,
        ),
        "quick": Preset(
            summary="four times as long, one core",
            steps=6000,
            batch_size=64,
            learning_rate=3e-3,
            weight_decay=1e-2,
            checkpoint_every=3000,
            options=_VAE,
        ),
        "full": Preset(
            summary="wider, one GPU",
            steps=20000,
            batch_size=256,
            learning_rate=3e-3,
            weight_decay=1e-2,
            checkpoint_every=5000,
            workers=8,
            options={**_VAE, "hidden": 256, "latent": 8},
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        kinds = {"vae": VAE, "ae": AutoEncoder}
        check_kind(options, kinds)
        network = kinds[options["kind"]](options["latent"], options["hidden"])
        network.add_module("warmup", KLWarmup(options["anneal"]))
        return network

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Digits:
        shift = options["max_shift"]
        return Digits("train", length=count if shift else None, max_shift=shift, seed=seed)

    def validation_data(self, options: Mapping[str, Any]) -> Digits:
        return Digits("test")

    def training_terms(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """``reconstruction``, minus the log-likelihood, and ``kl``, weighted; means over the batch, nats."""
        outputs = model(batch["image"])
        terms = {"reconstruction": -likelihood_of(outputs, batch["image"], options).mean()}
        if options["kind"] == "vae":
            weight = options["beta"] * kl_weight(model)
            terms["kl"] = weight * posterior_of(outputs).kl().mean()
        return terms

    def infer(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """``image`` (1, 8, 8), decoded from the mean; of a VAE also ``kl`` and ``log_likelihood``, scalars."""
        network, image = unwrap(model), batch["image"]
        if options["kind"] == "ae":
            return [{"image": one.sigmoid().cpu()} for one in network(image)["logits"]]
        posterior = network.encode(image)
        noise = torch.stack([noise_of(name, options["latent"]) for name in batch["id"]], 1)
        outputs = network(image, noise.to(image))
        likelihood = likelihood_of(outputs, image, options).mean(0)
        drawn = network.decode(posterior.mean).sigmoid()
        rows = zip(drawn.cpu(), posterior.kl().cpu(), likelihood.cpu(), strict=True)
        return [{"image": i, "kl": k, "log_likelihood": p} for i, k, p in rows]

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, float]:
        error = float((prediction["image"] - sample["image"]).square().mean().sqrt())
        row = {"closeness": 1 - error, "error": error}
        if "kl" in prediction:
            row["kl"] = float(prediction["kl"])
            row["elbo"] = float(prediction["log_likelihood"] - prediction["kl"])
        return row


class DigitsCVAE(Recipe):
    """Half a digit is shown; the other half has more than one answer.

    Options: ``kind``, ``"cvae"`` or ``"deterministic"``; ``half``, the one that is hidden; ``prior``, ``"learned"`` or
    ``"standard"``; ``from_prior``, the share of the loss whose z comes from the prior, 0 to 1 (the Gaussian
    stochastic network of Sohn and others, 2015, section 4.2: 0 is the CVAE, in between the hybrid); the rest as
    :class:`DigitsVAE` has them. Only hidden pixels count, in the loss and in the measures.

    Measures, root mean squares over the hidden pixels, z from the prior: ``error`` of an answer, the mean over 16;
    ``best_of_16``, the error of the best; ``mean_error`` of the mean of all; ``diversity``, between two answers, the
    mean over all pairs; ``closeness``, 1 − best_of_16; and ``kl``, nats, from the prior to the posterior that has
    seen the truth. A deterministic network gives the same answer 16 times.
    """

    name = "digits-cvae"
    summary = "the hidden half of a digit: many answers, or one (chapter 14)"
    score = "closeness"
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="trained in front of the reader",
            steps=2000,
            batch_size=64,
            learning_rate=3e-3,
            options=_CVAE,
        ),
        "quick": Preset(
            summary="three times as long, one core",
            steps=6000,
            batch_size=64,
            learning_rate=3e-3,
            weight_decay=1e-2,
            checkpoint_every=3000,
            options=_CVAE,
        ),
        "full": Preset(
            summary="any half hidden, digits moved, wider, one GPU",
            steps=40000,
            batch_size=256,
            learning_rate=3e-3,
            weight_decay=1e-2,
            checkpoint_every=10000,
            workers=8,
            options={**_CVAE, "hidden": 512, "latent": 8, "half": "any", "max_shift": 1},
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        check_kind(options, ("cvae", "deterministic"))
        if options["kind"] == "deterministic":
            return Completer(options["hidden"])
        network = CVAE(options["latent"], options["hidden"], options["prior"])
        network.add_module("warmup", KLWarmup(options["anneal"]))
        return network

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> HalfDigits:
        changing = options["max_shift"] or options["half"] == "any"
        return HalfDigits(
            "train",
            hidden=options["half"],
            length=count if changing else None,
            max_shift=options["max_shift"],
            seed=seed,
        )

    def validation_data(self, options: Mapping[str, Any]) -> HalfDigits:
        return HalfDigits("test", hidden=options["half"])

    def training_terms(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """``reconstruction`` of the hidden pixels, ``kl``, and ``from_prior`` where it has a share; nats."""
        condition, target = batch["image"], batch["target"]
        hidden = 1 - condition[:, 1:]
        if options["kind"] == "deterministic":
            likelihood = likelihood_of(model(condition), target, options, hidden)
            return {"reconstruction": -likelihood.mean()}
        share = options["from_prior"]
        outputs = model(condition, target)
        likelihood = likelihood_of(outputs, target, options, hidden)
        divergence = posterior_of(outputs).kl(prior_of(outputs))
        terms = {
            "reconstruction": -(1 - share) * likelihood.mean(),
            "kl": (1 - share) * options["beta"] * kl_weight(model) * divergence.mean(),
        }
        if share:
            network = unwrap(model)
            code = prior_of(outputs).sample(torch.randn_like(outputs["mean"]))
            guessed = {"logits": network.decode(condition, code)}
            terms["from_prior"] = -share * likelihood_of(guessed, target, options, hidden).mean()
        return terms

    def infer(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """``samples`` (16, 1, 8, 8), the visible half as it is shown; of a CVAE also ``kl``, a scalar."""
        network, condition = unwrap(model), batch["image"]
        shown, visible = condition[:, :1], condition[:, 1:]
        if options["kind"] == "deterministic":
            drawn = network(condition)["logits"].sigmoid().expand(SAMPLES, -1, -1, -1, -1)
        else:
            noise = torch.stack([noise_of(name, options["latent"]) for name in batch["id"]], 1)
            drawn = network.sample(condition, noise.to(condition))
        samples = torch.where(visible > 0, shown, drawn).transpose(0, 1).cpu()
        predictions = [{"samples": one} for one in samples]
        if options["kind"] == "cvae" and "target" in batch:
            prior = network.prior(condition)
            divergence = network.posterior(condition, batch["target"].to(condition)).kl(prior)
            for prediction, value in zip(predictions, divergence.cpu(), strict=True):
                prediction["kl"] = value
        return predictions

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, float]:
        row = answer_errors(prediction["samples"], sample["target"], 1 - sample["image"][1:])
        row["closeness"] = 1 - row["best_of_16"]
        if "kl" in prediction:
            row["kl"] = float(prediction["kl"])
        return row


def answer_errors(samples: Tensor, target: Tensor, where: Tensor) -> dict[str, float]:
    """Root mean squares of answers (N, 1, H, W) to one question, over the pixels where ``where`` (1, H, W) is 1."""
    inside = where.expand_as(target) > 0
    answers, truth = samples[:, inside], target[inside]  # (N, P), (P,)
    errors = (answers - truth).square().mean(1).sqrt()
    pairs = torch.pdist(answers) / answers.shape[1] ** 0.5
    return {
        "error": float(errors.mean()),
        f"best_of_{len(samples)}": float(errors.min()),
        "mean_error": float((answers.mean(0) - truth).square().mean().sqrt()),
        "diversity": float(pairs.mean()),
    }


def noise_of(identity: str, latent: int, count: int = SAMPLES) -> Tensor:
    """Standard normal (count, latent) that depends on the sample's number only, so that two runs compare."""
    rng = np.random.default_rng((14, int(identity.rsplit("-", 1)[-1])))
    return torch.from_numpy(rng.standard_normal((count, latent), np.float32))


def likelihood_of(
    outputs: Mapping[str, Tensor],
    image: Tensor,
    options: Mapping[str, Any],
    where: Tensor | None = None,
) -> Tensor:
    """The log-likelihood with a recipe's options."""
    return log_likelihood(
        outputs["logits"],
        image,
        options["likelihood"],
        deviation=options["deviation"],
        where=where,
    )


def posterior_of(outputs: Mapping[str, Tensor]) -> DiagonalGaussian:
    """The posterior in a network's outputs."""
    return DiagonalGaussian(outputs["mean"], outputs["log_variance"])


def prior_of(outputs: Mapping[str, Tensor]) -> DiagonalGaussian:
    """The prior in a CVAE's outputs."""
    return DiagonalGaussian(outputs["prior_mean"], outputs["prior_log_variance"])


def kl_weight(model: nn.Module) -> Tensor:
    """The weight of the KL term in this step, between 0 and 1."""
    warmup: Tensor = unwrap(model).warmup()
    return warmup


def unwrap(model: nn.Module) -> Any:
    """The network itself, where several processes share it."""
    return getattr(model, "module", model)


def check_kind(options: Mapping[str, Any], kinds: Any) -> None:
    """ValueError for an option ``kind`` that is none of these."""
    if options["kind"] not in kinds:
        raise ValueError(f"kind is {options['kind']!r}; it must be one of {tuple(kinds)}")
