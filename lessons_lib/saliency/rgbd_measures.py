"""What the systems of chapter 15 are measured by: one map against the majority, many maps against the annotators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from lessons_lib.data import RGBDScenes, nearness

from .alignment import e_measure
from .diversity import best_of_n, generalized_energy_distance
from .mean_error import mean_absolute_error
from .region_f import f_measure
from .structure import s_measure

CURVES = ("F", "E")


def map_measures(saliency: Tensor, truth: Tensor, prefix: str = "") -> dict[str, Any]:
    """MAE, S, and the curves of F and E, of one map (1, H, W) against one truth (1, H, W)."""
    own, other = saliency[0], truth[0]
    return {
        f"{prefix}MAE": float(mean_absolute_error(own, other)),
        f"{prefix}S": float(s_measure(own, other)),
        f"{prefix}F": f_measure(own, other).curve.numpy(),
        f"{prefix}E": e_measure(own, other).curve.numpy(),
    }


def sample_measures(samples: Tensor, annotations: Tensor) -> dict[str, float]:
    """Energy distance and best of N of samples (N, 1, H, W) against annotations (A, 1, H, W)."""
    drawn, truths = samples[:, 0] >= 0.5, annotations[:, 0] >= 0.5
    shares = RGBDScenes.SHARES
    return {
        "energy_distance": generalized_energy_distance(drawn, truths, shares),
        "best_of_n": best_of_n(drawn, truths, shares),
    }


def depth_measures(refined: Tensor, sample: Mapping[str, Tensor]) -> dict[str, float]:
    """Mean error of nearness before and after correction: over all pixels, and over those that were measured."""
    truth, sensed = nearness(sample["true_depth"]), nearness(sample["depth"])
    measured = sensed > 0
    before, after = (sensed - truth).abs(), (refined - truth).abs()
    return {
        "depth_before": float(before.mean()),
        "depth_after": float(after.mean()),
        "depth_before_measured": float(before[measured].mean()),
        "depth_after_measured": float(after[measured].mean()),
    }


def summarize_curves(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Means over the pictures; of a curve, the maximum and the mean *of the mean curve*, as the field reports them."""
    summary: dict[str, float] = {}
    for name in rows[0] if rows else ():
        mean = np.mean([row[name] for row in rows], axis=0)
        if isinstance(rows[0][name], np.ndarray):
            summary[f"{name}_max"], summary[f"{name}_mean"] = float(mean.max()), float(mean.mean())
        else:
            summary[name] = float(mean)
    return summary
