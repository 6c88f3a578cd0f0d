"""Checkers of chapter 11."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib.exercises.checking import NotYet, call, close, number


def check_safe_radii(function: Callable[[float, float], Any]) -> bool:
    """``safe_radii(delta_var, delta_dist)`` → (least, limit) of the radii that cannot fail.

    At zero loss, a ball of radius r around any pixel holds its whole instance and nothing else if
    2·δv ≤ r < 2·δd − 2·δv.
    """
    for delta_var, delta_dist in [(0.5, 1.5), (0.25, 1.5), (0.1, 3.0)]:
        answer = call(function, delta_var, delta_dist)
        try:
            least, limit = (float(value) for value in answer)
        except (TypeError, ValueError):
            raise NotYet("safe_radii should return two numbers: the least and the limit.") from None
        at = f"For δv = {delta_var} and δd = {delta_dist}"
        if close(least, delta_var):
            raise NotYet(
                f"{at} you begin at δv. That reaches every pixel from the mean, but the ball is "
                "round a pixel, and two pixels of an instance may lie on opposite sides of its mean."
            )
        if not close(least, 2 * delta_var):
            raise NotYet(
                f"{at} the least radius is {least:g}. How far apart can two pixels be that both lie "
                "within δv of their mean?"
            )
        if close(limit, 2 * delta_dist):
            raise NotYet(
                f"{at} you end at 2δd. So far apart are the means; the nearest pixels of two "
                "instances can be closer than that."
            )
        if not close(limit, 2 * delta_dist - 2 * delta_var):
            raise NotYet(
                f"{at} the limit is {limit:g}. Put two means 2δd apart and move a pixel of each as "
                "far toward the other as a zero loss allows."
            )
    print("Right: from 2δv up to, but not including, 2δd - 2δv.")
    return True


def _push(means: Tensor, delta_dist: float, counted: Tensor | None = None) -> float:
    """The push term of one picture, over the ordered pairs that are counted."""
    apart = (means[:, None] - means[None]).norm(dim=2)
    pairs = ~torch.eye(len(means), dtype=torch.bool)
    if counted is not None:
        pairs &= counted
    if not pairs.any():
        return 0.0
    return float((2 * delta_dist - apart[pairs]).clamp(min=0).square().mean())


def check_push_term(function: Callable[[Tensor, float], Any]) -> bool:
    """``push_term(means (C, D), delta_dist)`` → the distance term of one picture."""
    means = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0], [9.0, 9.0]])
    value = number(call(function, means, 1.5), "push_term")
    right = _push(means, 1.5)
    if close(value, right / 2):
        raise NotYet(
            "That is exactly half. A pair of means appears twice among the C(C - 1) ordered pairs; "
            "summing each once and dividing by C(C - 1) halves the term, as one public version does."
        )
    with_self = ((3 - torch.cdist(means, means)).clamp(min=0) ** 2).sum() / 12
    if close(value, float(with_self)):
        raise NotYet("A mean is not pushed from itself: leave out the pairs with a = b.")
    unclamped = (3 - torch.pdist(means)).square().mean()
    if close(value, float(unclamped)):
        raise NotYet(
            "Means that are far enough apart must cost nothing: cut below 0 before squaring."
        )
    if close(value, float((3 - torch.pdist(means)).clamp(min=0).mean())):
        raise NotYet("The hinge is squared in the paper's equation 2; yours is not.")
    if close(value, float((1.5 - torch.pdist(means)).clamp(min=0).square().mean())):
        raise NotYet("The margin is 2·δd: each of the two means keeps δd for itself.")
    if not close(value, right):
        raise NotYet(
            f"For {means.tolist()} and δd = 1.5 the term is {right:.4f}, yours {value:.4f}."
        )
    if not close(number(call(function, means[:1], 1.5), "push_term of one mean"), 0.0):
        raise NotYet("One instance has nobody to be pushed from: the term is 0.")
    x = means.clone().requires_grad_()
    gradient = call(function, x, 1.5)
    if not isinstance(gradient, Tensor) or not gradient.requires_grad:
        raise NotYet(
            "The network learns from this number: return a tensor that keeps its gradient."
        )
    print(f"Right: {right:.4f} for the four means, 0 for a single one, and it has a gradient.")
    return True


def check_local_push_term(function: Callable[[Tensor, Tensor, float, float], Any]) -> bool:
    """``local_push_term(means (C, D), centroids (C, 2), delta_dist, reach)`` → a scalar."""
    rng = np.random.default_rng(0)
    for trial in range(6):
        count = 3 + trial
        means = torch.from_numpy(rng.normal(0, 1, (count, 4))).float()
        centroids = torch.from_numpy(rng.uniform(0, 60, (count, 2))).float()
        away = torch.cdist(centroids, centroids)
        for reach in (0.0, 30.0, 1000.0):
            value = number(call(function, means, centroids, 1.5, reach), "local_push_term")
            right = _push(means, 1.5, away < reach)
            if close(value, right):
                continue
            if reach == 0:
                raise NotYet("With a reach of 0 no two instances are neighbours: the term is 0.")
            if reach == 1000:
                raise NotYet(
                    "With a reach beyond the picture every pair counts: the term should be the "
                    f"ordinary push term, {right:.4f}; yours is {value:.4f}."
                )
            if close(value, _push(means, 1.5)):
                raise NotYet("You push every pair: use the centroids and the reach.")
            everyone = right * float((away < reach).sum() - count) / (count * (count - 1))
            if close(value, everyone):
                raise NotYet(
                    "Divide by the number of pairs that are pushed, not by all C(C - 1): else a "
                    "picture with many distant instances hardly pushes the near ones."
                )
            raise NotYet(
                f"With a reach of {reach:g} px the term is {right:.4f}, yours {value:.4f}. Which "
                "distance decides who is a neighbour, and which one is pushed?"
            )
    print("Right: only neighbours push each other, and a far reach gives the ordinary term.")
    return True
