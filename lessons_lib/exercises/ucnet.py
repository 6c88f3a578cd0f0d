"""Checkers of chapter 15."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib.exercises.checking import NotYet, call, close, number, numbers
from lessons_lib.saliency.consensus import consensus
from lessons_lib.saliency.diversity import generalized_energy_distance


def check_released_kl(function: Callable[[float, float, float, float], Any]) -> bool:
    """``released_kl(mean, log_variance, prior_mean, prior_log_variance)`` → the KL that the released code computes."""
    for mean, raw, prior_mean, prior_raw in [
        (0.5, -2.0, 0.0, 0.0),
        (0.0, 1.0, 0.0, 0.0),
        (0.3, -1.0, -0.4, 0.6),
        (-1.0, 0.5, 0.5, -0.5),
    ]:
        given = (mean, raw, prior_mean, prior_raw)
        yours = number(call(function, *given), "released_kl")
        right = _kl(mean, math.exp(raw), prior_mean, math.exp(prior_raw))
        if close(yours, right):
            continue
        at = (
            f"For a posterior of mean {mean:g} and log-variance {raw:g} and a prior of {prior_mean:g} and "
            f"{prior_raw:g} the released code computes {right:.4f}; you say {yours:.4f}."
        )
        if close(yours, _kl(mean, math.exp(raw / 2), prior_mean, math.exp(prior_raw / 2))):
            raise NotYet(
                f"{at} That is the KL that it should compute. The code calls exp(log-variance) the *scale*: the "
                "standard deviation of the Gaussian that it compares."
            )
        if close(yours, _kl(mean, math.exp(raw), prior_mean, math.exp(prior_raw / 2))):
            raise NotYet(f"{at} The prior's scale is wrong in the same way.")
        if close(yours, _kl(prior_mean, math.exp(prior_raw), mean, math.exp(raw))):
            raise NotYet(f"{at} That is KL(prior, posterior); the posterior comes first.")
        if close(yours, _kl(mean, math.exp(raw), 0.0, 1.0)):
            raise NotYet(f"{at} That is the KL to N(0, 1), but the prior is learned too.")
        raise NotYet(
            f"{at} KL(N(a, s²), N(b, t²)) = ln(t/s) + (s² + (a - b)²) / (2t²) - ½; put in the scales that "
            "the code uses."
        )
    print(
        "Right: at log-variance 0 nobody notices; at -2 the code charges 1.634 nats where 0.693 are due."
    )
    return True


def _kl(mean: float, scale: float, other_mean: float, other_scale: float) -> float:
    """KL of two normal variables of these standard deviations."""
    ratio = (scale**2 + (mean - other_mean) ** 2) / (2 * other_scale**2)
    return math.log(other_scale / scale) + ratio - 0.5


def check_vote_map(function: Callable[[Tensor], Any]) -> bool:
    """``vote_map(samples (N, H, W))`` → gray consensus (H, W): share of agreeing samples times their mean."""
    for trial, (count, black) in enumerate([(1, 0), (3, 0), (4, 0), (7, 0), (4, 1), (3, 2)]):
        samples = _saliency_samples(trial, count)
        samples[:black] = 0
        yours = numbers(call(function, samples.clone()), "vote_map", ndim=2)
        right = consensus(samples).saliency.double().numpy()
        case = f"{count} sample{'s' * (count > 1)} of {tuple(samples.shape[1:])} pixels"
        case += f", {black} of them black" * (black > 0)
        if yours.shape != right.shape:
            raise NotYet(f"{case}: expected a number for each pixel; yours is {yours.shape}.")
        if not np.allclose(yours, right, atol=1e-5):
            raise NotYet(_vote_hint(case, yours, right, samples))
    print("Right: black where they agree on nothing salient, gray where they quarrel.")
    return True


def _saliency_samples(trial: int, count: int) -> Tensor:
    """Maps with one of three blobs bright in each, float32 (count, 12, 14) in [0, 1]."""
    rng = np.random.default_rng(trial)
    rows, columns = np.mgrid[:12, :14]
    places = rng.uniform(2, 10, (3, 2))
    maps = []
    for _ in range(count):
        y, x = places[rng.choice(3, p=[0.6, 0.3, 0.1])] + rng.normal(0, 0.7, 2)
        blob = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 8)
        maps.append(np.clip(0.9 * blob + rng.uniform(0.01, 0.06, blob.shape), 0, 1))
    return torch.from_numpy(np.array(maps)).float()


def _vote_hint(case: str, yours: np.ndarray, right: np.ndarray, samples: Tensor) -> str:
    """What may have gone wrong."""
    maps = samples.double().numpy()
    limit = np.minimum(2 * maps.mean((1, 2), keepdims=True), 1)
    at = f"{case}: {int((~np.isclose(yours, right, atol=1e-5)).sum())} pixels differ."
    reached = maps >= limit
    votes = reached & (maps > 0)
    majority = votes.mean(0) > 0.5
    agree = votes == majority

    def gray(agree: np.ndarray) -> np.ndarray:
        values: np.ndarray = agree.mean(0) * (maps * agree).sum(0) / agree.sum(0).clip(1)
        return values

    fixed = maps >= 0.5
    mistakes = [
        (maps.mean(0), "That is the mean of the samples; nobody votes."),
        (
            gray(reached == (reached.mean(0) > 0.5)),
            "A black map reaches twice its mean, 0, everywhere; yet it votes for nothing.",
        ),
        (
            gray(fixed == (fixed.mean(0) > 0.5)),
            "Each sample has a threshold of its own, twice its mean.",
        ),
        (
            gray(votes),
            "Count those that *agree with the majority*, also where it says not salient.",
        ),
        (
            agree.mean(0),
            "The share of the agreeing samples is to be multiplied by their mean value.",
        ),
        (
            (maps * agree).sum(0) / agree.sum(0).clip(1),
            "Multiply by the share of those that agree.",
        ),
        (
            agree.mean(0) * (maps * agree).sum(0),
            "Take the mean of the agreeing values, not their sum.",
        ),
        (agree.mean(0) * maps.mean(0), "Only the values of the agreeing samples count."),
        (
            majority.astype(float),
            "That is the majority's decision; the gray map says how sure it is.",
        ),
    ]
    for wrong, words in mistakes:
        if np.allclose(yours, wrong, atol=1e-5):
            return f"{at} {words}"
    return (
        f"{at} A sample votes where it is above 0 and reaches twice its mean (at most 1); "
        "more than half of the samples decide; the gray map is the share of the agreeing "
        "samples times the mean of their values."
    )


def check_energy_distance(function: Callable[[Tensor, Tensor, Sequence[float]], Any]) -> bool:
    """``energy_distance(samples bool (N, H, W), annotations bool (A, H, W), shares)`` → a number."""
    for trial in range(8):
        samples, annotations, shares = _mask_sets(trial)
        right = generalized_energy_distance(samples, annotations, shares)
        answer = call(function, samples.clone(), annotations.clone(), list(shares))
        yours = number(answer, "energy_distance")
        if abs(yours - right) > 1e-5:
            raise NotYet(_energy_hint(yours, right, samples, annotations, shares))
    print(
        "Right: 0 for the annotators' own distribution, and repeating one good answer is not enough."
    )
    return True


def _mask_sets(trial: int) -> tuple[Tensor, Tensor, tuple[float, ...]]:
    """Some rectangles each; in some trials empty masks, equal sets, or one mask only."""
    rng = np.random.default_rng(trial)

    def masks(count: int) -> Tensor:
        result = np.zeros((count, 9, 11), bool)
        for mask in result:
            (top, bottom), (left, right) = (
                np.sort(rng.integers(0, 9, 2)),
                np.sort(rng.integers(0, 11, 2)),
            )
            mask[top : bottom + 2, left : right + 2] = True
        return torch.from_numpy(result)

    if trial == 0:
        return masks(1), masks(1), (1.0,)
    annotations = masks(3)
    shares = ((0.5, 0.3, 0.2), (1 / 3, 1 / 3, 1 / 3))[trial % 2]
    if trial == 5:  # equal distributions: 0
        return annotations[[0, 0, 0, 0, 0, 1, 1, 1, 2, 2]], annotations, (0.5, 0.3, 0.2)
    samples = masks(4 + trial)
    if trial >= 6:
        samples[:2] = False
        annotations[0] = False
    return samples, annotations, shares


def _energy_hint(
    yours: float, right: float, samples: Tensor, annotations: Tensor, shares: Sequence[float]
) -> str:
    """What may have gone wrong."""
    at = (
        f"Samples: {len(samples)}, annotations: {len(annotations)}; the distance is {right:.4f}; "
        f"you say {yours:.4f}."
    )
    if not samples.flatten(1).any(1).all():
        at += " Two empty masks are alike: their distance is 0."
    weights = np.array(shares)
    equal = np.full(len(weights), 1 / len(weights))
    across, among, between = (
        _distances(a, b)
        for a, b in [(samples, annotations), (samples, samples), (annotations, annotations)]
    )

    def energy(w: np.ndarray, cross: float = 2.0, own: float = 1.0) -> float:
        return float(cross * (across @ w).mean() - own * among.mean() - own * (w @ between @ w))

    apart = len(samples) * max(len(samples) - 1, 1)
    mistakes = [
        (-energy(weights), "d is 1 - IoU, not the IoU."),
        (energy(equal), "The annotations are not equally probable: weight them with their shares."),
        (energy(weights, 1.0), "The distance between the two sets counts twice."),
        (energy(weights, 2.0, 0.0), "Subtract the mean distance within each set."),
        (
            2 * float((across @ weights).mean()) - float(among.mean()),
            "Subtract the distances among the annotations too.",
        ),
        (
            2 * float((across @ weights).mean()) - float(weights @ between @ weights),
            "Subtract the distances among the samples too.",
        ),
        (
            energy(weights) + float(among.mean()) - float(among.sum()) / apart,
            "The means run over all pairs, those of a mask with itself included.",
        ),
        (
            energy(weights) + float(weights @ between @ weights) - float(between.mean()),
            "Among the annotations, too, a pair counts with the product of its shares.",
        ),
    ]
    for wrong, words in mistakes:
        if abs(yours - wrong) <= 1e-5:
            return f"{at} {words}"
    return f"{at} 2 E[d(S, A)] - E[d(S, S')] - E[d(A, A')] with d = 1 - IoU."


def _distances(first: Tensor, second: Tensor) -> np.ndarray:
    """1 - IoU of all pairs, 0 for two empty masks."""
    a, b = first.flatten(1).numpy(), second.flatten(1).numpy()
    both = (a[:, None] & b[None]).sum(-1)
    either = (a[:, None] | b[None]).sum(-1)
    values: np.ndarray = 1 - np.where(either > 0, both / np.maximum(either, 1), 1.0)
    return values
