"""Checkers of chapter 12."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib.embedding.lovasz import lovasz_hinge
from lessons_lib.exercises.checking import NotYet, call, close, number, numbers


def check_margin(function: Callable[[float, float, float], Any]) -> bool:
    """``margin(raw, unit, threshold)`` → the distance in px at which φ falls to the threshold."""
    for raw, unit, threshold in [
        (1.0, 1024.0, 0.5),
        (0.4, 64.0, 0.5),
        (0.5, 64.0, 0.5),
        (0.5, 64.0, 0.9),
        (-0.2, 8.0, 0.1),
    ]:
        yours = number(call(function, raw, unit, threshold), "margin")
        spread = math.exp(10 * raw)  # s, per unit²
        fall = -math.log(threshold)
        right = unit * math.sqrt(fall / spread)
        if close(yours, right):
            continue
        at = (
            f"For a raw σ of {raw:g}, a unit of {unit:g} px and φ = {threshold:g} the margin is {right:.4g} px; "
            f"you say {yours:.4g}."
        )
        if close(yours, unit * math.sqrt(fall * spread)):
            raise NotYet(
                f"{at} The sign trap: exp(10·raw) multiplies the distance in the exponent, so that a larger raw σ "
                "makes φ fall sooner."
            )
        if raw > 0 and close(yours, unit * raw * math.sqrt(2 * fall)):
            raise NotYet(
                f"{at} That takes the raw output for the σ of the paper's equation; it stands in exp(10·raw), "
                "and without the 2."
            )
        if close(yours, math.sqrt(fall / spread)):
            raise NotYet(f"{at} That is in units; one unit is {unit:g} px.")
        if close(yours, unit * unit * fall / spread) or close(yours, unit * fall / spread):
            raise NotYet(f"{at} The exponent has the *squared* distance: take the root.")
        if close(yours, unit * math.sqrt(math.log(2) / spread)):
            raise NotYet(f"{at} ln 2 belongs to φ = 1/2; here the threshold is another.")
        if close(yours, unit * math.sqrt(fall / math.exp(raw))):
            raise NotYet(f"{at} The raw output is multiplied by 10 before the exponential.")
        raise NotYet(f"{at} Solve exp(-d² · exp(10·raw)) = threshold for d; that is in units.")
    print(
        "Right: 0.1 more of raw σ is a margin smaller by a factor of exp(0.5) = 1.65. The name misleads."
    )
    return True


def check_lovasz_hinge(function: Callable[[Tensor, Tensor], Any]) -> bool:
    """``lovasz_hinge(scores (P,), mask bool (P,))`` → the loss of one mask, a tensor."""
    rng = np.random.default_rng(0)
    for pixels, inside in [(6, 3), (40, 7), (200, 90), (40, 40), (1, 1), (9, 0)]:
        for _ in range(3):
            given = torch.from_numpy(rng.uniform(-2, 2, pixels))
            mask = torch.from_numpy(rng.permutation(np.arange(pixels) < inside))
            scores = given.clone().requires_grad_()
            answer = call(function, scores, mask.clone())
            yours = number(answer, "lovasz_hinge")
            leaf = given.clone().requires_grad_()
            right = lovasz_hinge(leaf[None], mask[None])[0]
            case = f"{pixels} pixels, {inside} of them inside"
            if not close(yours, float(right.detach())):
                raise NotYet(
                    _lovasz_hint(
                        f"{case}: the loss is {float(right.detach()):.4f}; you say {yours:.4f}.",
                        yours,
                        given,
                        mask,
                    )
                )
            if not (isinstance(answer, Tensor) and answer.requires_grad):
                raise NotYet(
                    f"{case}: the number is right, but it has no gradient: compute it with torch, from the scores."
                )
            answer.backward()
            right.backward()
            assert leaf.grad is not None
            if scores.grad is None or not torch.allclose(scores.grad, leaf.grad, atol=1e-6):
                raise NotYet(
                    f"{case}: the number is right, its gradient is not. The sorted errors carry it; the "
                    "weights, which come from the order alone, do not."
                )
    for sign, name, expected in [(1.0, "right", 0.0), (-1.0, "wrong", 2.0)]:
        mask = torch.arange(12) < 5
        sure = torch.where(mask, sign, -sign)
        yours = number(call(function, sure.clone().requires_grad_(), mask), "lovasz_hinge")
        if not close(yours, expected):
            raise NotYet(
                f"Scores of ±1 that are all {name} cost {expected:g}; you say {yours:.4f}. An error is "
                "1 - score · sign, cut at 0."
            )
    print("Right: the worst pixel first, and each costs what it takes away from the IoU.")
    return True


def _lovasz_hint(at: str, yours: float, scores: Tensor, mask: Tensor) -> str:
    """What may have gone wrong."""

    def loss(
        errors: Tensor, inside: Tensor, descending: bool | None = True, clamp: bool = True
    ) -> float:
        if descending is not None:
            errors, order = errors.sort(descending=descending)
            inside = inside[order]
        found = inside.cumsum(0)
        place = torch.arange(1, len(errors) + 1)
        size = inside.sum()
        jaccard = 1 - (size - found) / (size + place - found)
        steps = torch.diff(jaccard, prepend=jaccard.new_zeros(1))
        return float(((errors.clamp(min=0) if clamp else errors) * steps).sum())

    errors = 1 - torch.where(mask, scores, -scores)
    if close(yours, loss(errors, mask, None)):
        return f"{at} Sort the errors, the greatest first, and the mask in the same order."
    if close(yours, loss(errors, mask, False)):
        return f"{at} You begin with the smallest error; the worst pixel comes first."
    if close(yours, loss(errors, mask, clamp=False)):
        return f"{at} A pixel beyond its margin costs nothing: cut the errors at 0."
    if close(yours, loss(errors - 1, mask)) or close(yours, loss(errors - 1, mask, clamp=False)):
        return f"{at} An error is 1 - score · sign: a pixel that is barely right is not yet right enough."
    ordered = errors.sort(descending=True).values
    if close(yours, loss(ordered, mask, None)):
        return f"{at} You sort the errors, but not the mask with them."
    if close(yours, loss(1 - scores, mask)):
        return f"{at} Outside the mask a high score is the error: the sign is -1 there."
    if close(yours, loss(errors, ~mask)):
        return f"{at} You measure the IoU of the background: count the pixels *inside* the mask."
    if close(yours, float(errors.clamp(min=0).mean())):
        return f"{at} That is the ordinary hinge loss, in which every pixel weighs the same."
    return (
        f"{at} Sort the errors; after i wrong pixels, f of them inside, the IoU is (n - f) / (n + i - f); "
        "each error is weighted with what its pixel takes from it."
    )


def check_cluster_pixels(function: Callable[[Tensor, Tensor, Tensor, float], Any]) -> bool:
    """``cluster_pixels(places (N, 2), spreads (N, 2), seeds (N,), seed_threshold)`` → ids (N,), 0 = none."""
    for trial in range(12):
        places, spreads, seeds = _pointing_pixels(trial)
        for seed_threshold in (0.5, 0.8):
            right = _cluster(places, spreads, seeds, seed_threshold)
            answer = call(
                function,
                *(torch.from_numpy(v.copy()) for v in (places, spreads, seeds)),
                seed_threshold,
            )
            yours = numbers(answer, "cluster_pixels")
            case = f"{len(seeds)} pixels, seeds from {seed_threshold:g}"
            if yours.shape != right.shape:
                raise NotYet(
                    f"{case}: expected a whole number for each pixel, its id; yours is {yours.shape}."
                )
            if not np.array_equal(yours, right):
                raise NotYet(_cluster_hint(case, yours, places, spreads, seeds, seed_threshold))
    print("Right: the surest seed first, and what a proposal does not get stays free.")
    return True


def _pointing_pixels(trial: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clusters of pixels, some so near each other that proposals overlap, and strays."""
    rng = np.random.default_rng(trial)
    count = 2 + trial % 4
    centres = rng.uniform(0, 22, (count, 2))
    size = rng.integers(8, 30, count)
    whose = np.repeat(np.arange(count), size)
    places = centres[whose] + rng.normal(0, 1.5, (len(whose), 2))
    places = np.concatenate([places, rng.uniform(-4, 26, (6, 2))])
    order = rng.permutation(len(places))
    margin = rng.uniform(1.5, 6, (len(places), 2))
    seeds = rng.permutation(np.linspace(0.3, 0.99, len(places)))
    return places[order], np.log(2) / margin**2, seeds


def _cluster(
    places: np.ndarray,
    spreads: np.ndarray,
    seeds: np.ndarray,
    seed_threshold: float,
    *,
    rejected_stay: bool = True,
    keep: bool = True,
    surest: bool = True,
    own_spread: bool = False,
    always: bool = False,
    go_on: bool = True,
    release: bool = False,
) -> np.ndarray:
    """Sequential clustering, one pixel after another; the options make its usual mistakes."""
    ids = np.zeros(len(seeds), np.int64)
    gone = np.zeros(len(seeds), bool)  # lost to a rejected proposal
    free = seeds >= seed_threshold
    found = 0
    while free.any():
        best = int(np.where(free, seeds, -1).argmax()) if surest else int(np.flatnonzero(free)[0])
        spread = spreads if own_spread else spreads[best]
        phi = np.exp(-(spread * (places - places[best]) ** 2).sum(1))
        proposal = phi > 0.5
        unclaimed = proposal & (ids == 0) & ~gone
        if always or unclaimed.sum() >= 0.5 * proposal.sum():
            found += 1
            ids[unclaimed if keep else proposal] = found
        elif not go_on:
            break
        elif not rejected_stay:
            gone |= unclaimed
        free[best] = False
        if not release:
            free[proposal] = False
    return ids


def _cluster_hint(
    case: str,
    yours: np.ndarray,
    places: np.ndarray,
    spreads: np.ndarray,
    seeds: np.ndarray,
    seed_threshold: float,
) -> str:
    """What may have gone wrong."""
    given = (places, spreads, seeds, seed_threshold)
    right = _cluster(*given)
    at = f"{case}: {int((yours != right).sum())} of them have another id."
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"surest": False}, "The pixel of the highest seed value that is still free comes first."),
        (
            {"always": True},
            "A proposal is accepted only if half of its pixels are still unclaimed.",
        ),
        (
            {"keep": False},
            "An accepted proposal gets its *unclaimed* pixels; the rest keep their ids.",
        ),
        (
            {"rejected_stay": False},
            "What a rejected proposal did not get is no background: it may belong to the next one.",
        ),
        ({"go_on": False}, "A rejected proposal ends nothing: go on with the next free seed."),
        ({"own_spread": True}, "φ takes the spread of the seed, not that of each pixel."),
        (
            {"release": True},
            "All pixels of a proposal, accepted or not, are no seeds any more.",
        ),
    ]
    for options, words in mistakes:
        if np.array_equal(yours, _cluster(*given, **options)):
            return f"{at} {words}"
    if ((yours > 0) == (right > 0)).all():
        return f"{at} The same pixels are taken: number the instances 1, 2, … in the order found."
    if yours.max() > right.max():
        return (
            f"{at} You find {int(yours.max())} instances, it should be {int(right.max())}: a pixel that belongs to "
            "a proposal is no seed any more."
        )
    return (
        f"{at} φ = exp(-(sx·dx² + sy·dy²)) with the seed's place and spread, above 0.5; half of the proposal must be "
        "unclaimed."
    )
