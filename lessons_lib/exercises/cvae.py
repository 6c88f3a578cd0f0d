"""Checkers of chapter 14."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib.exercises.checking import NotYet, call, close, number
from lessons_lib.saliency.gaussians import DiagonalGaussian


def check_best_of_two(function: Callable[[float, float, int], Any]) -> bool:
    """``best_of_two(p, distance, n)`` → the expected error of the best of n draws."""
    for p, distance, n in [
        (0.5, 1.0, 1),
        (0.5, 2.0, 3),
        (0.2, 1.0, 1),
        (0.2, 0.3, 4),
        (1.0, 1.0, 2),
    ]:
        yours = number(call(function, p, distance, n), "best_of_two")
        right = distance * (p * (1 - p) ** n + (1 - p) * p**n)
        if close(yours, right):
            continue
        at = (
            f"For p = {p:g}, a distance of {distance:g} and n = {n} the best of n is expected {right:.4g} off; "
            f"you say {yours:.4g}."
        )
        if n > 1 and close(yours, 2 * p * (1 - p) * distance):
            raise NotYet(f"{at} That is one draw. With n, all of them must miss.")
        if close(yours, distance * ((1 - p) * (1 - p) ** n + p * p**n)):
            raise NotYet(
                f"{at} The first is right with probability p, and is missed if all n draws are the *second*."
            )
        if close(yours, distance * (p * (1 - p)) ** n) or close(
            yours, distance * (2 * p * (1 - p)) ** n
        ):
            raise NotYet(
                f"{at} The truth is drawn once, not n times: only the draws take the power n."
            )
        if close(yours, distance * p * (1 - p) ** n):
            raise NotYet(f"{at} That is half of the cases: the second may be the right one too.")
        if close(yours, distance * ((1 - p) ** n + p**n)):
            raise NotYet(f"{at} Weigh the two cases with how probable it is that each is right.")
        raise NotYet(f"{at} The best is wrong only if no draw at all is the right answer.")
    print("Right: with every further draw, less is left; and for n = 1 it is what the mean costs.")
    return True


def check_cvae_loss(function: Callable[..., Any]) -> bool:
    """``cvae_loss(decode, posterior, prior, noise, target, sigma)`` → a scalar tensor with its gradient."""
    for trial, (batch, latent, pixels, sigma) in enumerate(
        [(1, 1, 1, 1.0), (3, 2, 5, 0.5), (4, 3, 6, 0.2)]
    ):
        rng = np.random.default_rng(trial)

        def draw(*shape: int, rng: np.random.Generator = rng) -> Tensor:
            return torch.from_numpy(rng.normal(0, 0.7, shape))

        posterior = DiagonalGaussian(draw(batch, latent), draw(batch, latent))
        prior = DiagonalGaussian(draw(batch, latent), draw(batch, latent))
        noise, target, matrix = draw(batch, latent), draw(batch, pixels), draw(latent, pixels)
        leaf = matrix.clone().requires_grad_()

        def decode(z: Tensor, leaf: Tensor = leaf) -> Tensor:
            return z @ leaf

        given = (posterior, prior, noise, target, sigma)
        answer = call(function, decode, *given)
        yours = number(answer, "cvae_loss")
        right = _loss(matrix, *given)
        case = f"batch of {batch}, {latent} latent numbers, {pixels} pixels, sigma {sigma:g}"
        if not close(yours, right):
            at = f"{case}: the loss is {right:.4f}; you say {yours:.4f}."
            raise NotYet(_loss_hint(at, yours, matrix, given))
        if not (isinstance(answer, Tensor) and answer.requires_grad):
            raise NotYet(f"{case}: the number is right, but it has no gradient: keep it in torch.")
    print("Right: drawn from the posterior, the KL taken under it, and only the batch averaged.")
    return True


def _loss(
    matrix: Tensor,
    posterior: DiagonalGaussian,
    prior: DiagonalGaussian,
    noise: Tensor,
    target: Tensor,
    sigma: float,
    *,
    drawn: str = "posterior",
    deviation: float = 0.5,
    reverse: bool = False,
    standard: bool = False,
    pixel_mean: bool = False,
    batch_sum: bool = False,
    halved: bool = True,
    squared: bool = True,
    kl: bool = True,
) -> float:
    """The loss; the options make its usual mistakes."""
    source = posterior if drawn == "posterior" else prior
    z = source.mean + torch.exp(source.log_variance * deviation) * noise
    wrong = (z @ matrix - target).square()
    error = (wrong.mean(1) if pixel_mean else wrong.sum(1)) / (2 if halved else 1)
    error = error / (sigma**2 if squared else sigma)
    first, second = (prior, posterior) if reverse else (posterior, prior)
    divergence = first.kl(None if standard else second)
    each = error + divergence if kl else error
    return float(each.sum() if batch_sum else each.mean())


def _loss_hint(at: str, yours: float, matrix: Tensor, given: tuple[Any, ...]) -> str:
    """What may have gone wrong."""
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"kl": False}, "The KL term is missing."),
        ({"drawn": "prior"}, "In training z is drawn from the *posterior*."),
        (
            {"deviation": 1.0},
            "The deviation is exp(log_variance / 2); exp(log_variance) is the variance.",
        ),
        (
            {"reverse": True},
            "KL(q, p) is taken under q, the posterior: you have it the other way round.",
        ),
        ({"standard": True}, "The prior is learned: compare with it, not with N(0, I)."),
        (
            {"pixel_mean": True},
            "Sum the squared errors over the pixels, as the KL sums its coordinates.",
        ),
        ({"batch_sum": True}, "Take the mean over the batch."),
        ({"halved": False}, "The Gaussian's exponent is the squared error over *2* sigma²."),
        ({"squared": False}, "Divide by sigma squared."),
    ]
    for options, words in mistakes:
        if close(yours, _loss(matrix, *given, **options)):
            return f"{at} {words}"
    return (
        f"{at} It is the mean over the batch of: squared error over 2 sigma², summed over the pixels, plus "
        "½ Σ (log σp² − log σq² + (σq² + (μq − μp)²) / σp² − 1)."
    )


def check_expected_best(function: Callable[[Any, int], Any]) -> bool:
    """``expected_best(errors (M,), n)`` → the mean over all choices of n of their least error."""
    for m, n in [(3, 2), (5, 1), (6, 6), (8, 3), (10, 4)]:
        rng = np.random.default_rng(10 * m + n)
        errors = rng.uniform(0.1, 1.0, m).round(3)
        chosen = list(combinations(errors, n))
        right = float(np.mean([min(c) for c in chosen]))
        yours = number(call(function, errors.copy(), n), "expected_best")
        if close(yours, right):
            continue
        at = (
            f"Of {m} draws with the errors {errors.tolist()}, the best of {n} is {right:.4f} on average over the "
            f"{len(chosen)} choices; you say {yours:.4f}."
        )
        ordered = np.sort(errors)
        again = [((m - i) / m) ** n - ((m - i - 1) / m) ** n for i in range(m)]
        if close(yours, float(errors[:n].min())):
            raise NotYet(f"{at} You take the first {n}; average over all choices.")
        if close(yours, float(ordered[0])):
            raise NotYet(f"{at} That is the best of all {m}.")
        if close(yours, float(np.dot(again, ordered))):
            raise NotYet(f"{at} That draws with replacement; here no draw is chosen twice.")
        if close(yours, float(ordered[:n].mean())) or close(yours, float(errors.mean())):
            raise NotYet(f"{at} A mean of errors is not the mean of the *least* of each choice.")
        ways = [math.comb(m - i, n - 1) for i in range(1, m + 1)]
        if close(yours, float(np.dot(ways, ordered[::-1])) / math.comb(m, n)):
            raise NotYet(
                f"{at} That is the mean of the *worst* of each choice: sort the other way."
            )
        if close(yours, float(np.dot(ways, errors)) / math.comb(m, n)):
            raise NotYet(f"{at} Sort the errors first: the i-th is the best of those after it.")
        raise NotYet(
            f"{at} The i-th smallest is the best of comb(M - i, n - 1) of the comb(M, n) choices."
        )
    print("Right: every choice counted once, none of them listed.")
    return True
