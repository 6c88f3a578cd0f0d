"""Checkers of chapter 13."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib.exercises.checking import NotYet, call, close, number, numbers
from lessons_lib.saliency.boundary_f import boundary_f_measure
from lessons_lib.saliency.region_f import f_measure


def check_flat_map(function: Callable[[float, float], Any]) -> bool:
    """``flat_map(value, share)`` → MAE and maximum F of a map that has one value everywhere."""
    for value, share in [(0.5, 0.5), (0.5, 0.1), (0.0, 0.02), (1.0, 0.2), (0.25, 0.8)]:
        yours = numbers(call(function, value, share), "flat_map")
        error = share * (1 - value) + (1 - share) * value
        f = 1.3 * share / (0.3 * share + 1)
        if yours.shape != (2,):
            raise NotYet(f"flat_map gives two numbers, MAE and F; yours has {len(yours)}.")
        at = f"A map of {value:g} everywhere, {100 * share:g} % of the pixels salient:"
        if not close(yours[0], error):
            hint = "A salient pixel misses 1 - value, each of the others is value too high."
            if close(yours[0], value):
                hint = "That is the error outside the object; inside it is 1 - value."
            elif close(yours[0], abs(value - share)):
                hint = "That is the difference of the means; errors of both signs cancel in it."
            raise NotYet(f"{at} the MAE is {error:.4g}, you say {yours[0]:.4g}. {hint}")
        if not close(yours[1], f):
            hint = "Low thresholds keep every pixel: what are precision and recall then?"
            if close(yours[1], 2 * share / (1 + share)):
                hint = "That is F with β² = 1; the field takes 0.3."
            elif close(yours[1], 0):
                hint = "At a threshold of 0 every pixel is predicted, so the object is found."
            elif close(yours[1], share):
                hint = "That is the precision; the recall is 1."
            raise NotYet(f"{at} the maximum F is {f:.4g}, you say {yours[1]:.4g}. {hint}")
    print("Right: the value decides about MAE and does nothing to the maximum F.")
    return True


def check_f_curve(function: Callable[[Tensor, Tensor], Any]) -> bool:
    """``f_curve(levels (H, W) of 0..255, truth bool (H, W))`` → F at the thresholds 0..255, (256,)."""
    rng = np.random.default_rng(0)
    for trial, size in enumerate([(12, 9), (30, 40), (5, 5), (64, 64)]):
        truth = torch.from_numpy(rng.random(size) < 0.3)
        truth[0, 0] = True
        levels = torch.from_numpy(rng.integers(0, 200 if trial else 256, size))
        levels = (levels + 40 * truth).clamp(max=255)
        if trial == 2:
            truth[:] = False
        answer = call(function, levels.clone(), truth.clone())
        yours = numbers(answer, "f_curve")
        right = f_measure(levels.to(torch.uint8), truth).curve.numpy()
        case = f"{size[0]} × {size[1]} pixels, {int(truth.sum())} salient"
        if yours.shape != (256,):
            raise NotYet(f"{case}: expected 256 numbers, one a threshold; yours is {yours.shape}.")
        if np.allclose(yours, right, atol=1e-6):
            continue
        where = int(np.flatnonzero(np.abs(yours - right) > 1e-6)[0])
        at = f"{case}: at threshold {where} F is {right[where]:.4f}; you say {yours[where]:.4f}."
        raise NotYet(f"{at} {_f_hint(yours, right, levels, truth)}")
    print("Right: one histogram, added up from the top, is all that 256 thresholds need.")
    return True


def _f_hint(yours: np.ndarray, right: np.ndarray, levels: Tensor, truth: Tensor) -> str:
    """What may have gone wrong."""
    if np.allclose(yours, right[::-1], atol=1e-6):
        return "Your curve runs from the highest threshold down; turn it round."
    if np.allclose(yours[:-1], right[1:], atol=1e-6):
        return "A pixel *at* the threshold is predicted too."
    thresholds = torch.arange(256)[:, None]
    predicted = levels.flatten() >= thresholds
    hits = (predicted & truth.flatten()).sum(1).double()
    precision, recall = hits / predicted.sum(1).clamp(min=1), hits / truth.sum().clamp(min=1)
    for beta, words in [
        (1.0, "That is β² = 1; the field takes β² = 0.3."),
        (0.09, "0.3 is β² already: do not square it."),
    ]:
        f = (1 + beta) * precision * recall / (beta * precision + recall).clamp(min=1e-12)
        if np.allclose(yours, f.numpy(), atol=1e-6):
            return words
    swapped = 1.3 * precision * recall / (0.3 * recall + precision).clamp(min=1e-12)
    if np.allclose(yours, swapped.numpy(), atol=1e-6):
        return "β² multiplies the precision in the denominator, not the recall."
    exact = torch.stack([(levels == k) & truth for k in range(256)]).flatten(1).sum(1)
    if int(exact.max()) and np.allclose(yours * hits.numpy(), 0) and yours.max() == 0:
        return "All of yours are 0."
    return "At threshold k everything at or above k is predicted; where nothing is hit, F is 0."


def check_boundary_f(function: Callable[[Tensor, Tensor, float], Any]) -> bool:
    """``boundary_f(predicted, truth, radius)`` of bool masks (H, W), radius in px → one number."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:30, :40]
    for trial in range(12):
        row, column, size = rng.uniform(8, 22), rng.uniform(10, 30), rng.uniform(3, 9)
        truth = (y - row) ** 2 + (x - column) ** 2 < size**2
        predicted = np.roll(truth, int(rng.integers(0, 4)), int(trial % 2))
        if trial % 3 == 1:
            predicted = predicted & ~((y - row) ** 2 + (x - column) ** 2 < (size / 2) ** 2)
        if trial == 10:
            predicted[:] = False
        if trial == 11:
            truth = x < 17  # an object that the picture's edge cuts
            predicted = x < 18
        for radius in (0.0, 1.0, 1.5, 3.0):
            answer = call(
                function, torch.from_numpy(predicted.copy()), torch.from_numpy(truth.copy()), radius
            )
            yours = number(answer, "boundary_f")
            tolerance = radius / math.hypot(30, 40)
            # the last digit of the product must not decide about a distance that is the radius
            right = float(boundary_f_measure(predicted, truth, tolerance=tolerance + 1e-12))
            if close(yours, right):
                continue
            case = f"Case {trial + 1}, radius {radius:g} px: boundary F is {right:.4f}; you say {yours:.4f}."
            raise NotYet(f"{case} {_boundary_hint(yours, predicted, truth, radius)}")
    print("Right: the same outlines, and what lies inside them does not count.")
    return True


def _boundary_hint(yours: float, predicted: np.ndarray, truth: np.ndarray, radius: float) -> str:
    """What may have gone wrong."""
    if not predicted.any():
        return "A map without an outline, of a truth with one, scores 0: there is nothing to divide by."
    inner, edge = (_outline(mask, False) for mask in (predicted, truth))
    with_frame, frame = (_outline(mask, True) for mask in (predicted, truth))
    shares = _share_near(inner, edge, radius), _share_near(edge, inner, radius)
    if close(
        yours, _f(_share_near(with_frame, frame, radius), _share_near(frame, with_frame, radius))
    ):
        return "The edge of the picture is no outline: a pixel beyond it is not outside the object."
    if close(yours, shares[0]) or close(yours, shares[1]):
        return "That is precision or recall alone; F is 2PR / (P + R)."
    if close(yours, _f(*shares, 0.3)):
        return "Outlines are measured with β² = 1."
    hits = (predicted & truth).sum()
    if close(yours, _f(float(hits / predicted.sum()), float(hits / truth.sum()))):
        return "That is the F of the regions: first take the outlines of both."
    return "An outline pixel is in the mask and has one of its four neighbours outside of it."


def _outline(mask: np.ndarray, beyond: bool) -> np.ndarray:
    padded = np.pad(mask, 1, mode="constant" if beyond else "edge")
    inside = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return np.argwhere(mask & ~inside)


def _share_near(these: np.ndarray, those: np.ndarray, radius: float) -> float:
    if not len(these) or not len(those):
        return 0.0
    apart = np.linalg.norm(these[:, None] - those[None], axis=2)
    return float((apart.min(1) <= radius).mean())


def _f(precision: float, recall: float, beta_squared: float = 1.0) -> float:
    below = beta_squared * precision + recall
    return (1 + beta_squared) * precision * recall / below if below else 0.0
