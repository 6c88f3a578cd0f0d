"""The boundary F-measure: outlines against outlines. It is no saliency measure; one source takes it for one."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from lessons_lib.data.pictures import outlines

from .pairs import Map, Pairs, as_pairs

TOLERANCE = 0.0075


def boundary_f_measure(
    prediction: Map,
    truth: Map,
    normalize: bool = False,
    tolerance: float = TOLERANCE,
    threshold: float = 0.5,
) -> Tensor:
    """F = 2 · precision · recall / (precision + recall) of the outline of the map, cut at one threshold.

    Precision is the share of the predicted outline within ``tolerance`` of some pixel of the true one, recall
    the share of the true outline within it of some pixel of the predicted one. An outline is the pixels of a
    region with a neighbour, of four, that is not in it; the picture's edge is none.

    Two published measures are close to it. Berkeley's (Martin, Fowlkes and Malik, 2004), where 0.75 % of the
    diagonal comes from, matches pixels *one to one*, so that a thick band of outlines cannot all be right; here
    several may lie near the same one. That of DAVIS (Perazzi et al., 2016) decides as here, but rounds 0.8 % of
    the diagonal up to whole pixels and takes the outline from between the pixels.

    Args:
        prediction: float in [0, 1] or uint8, (B, 1, H, W) or (H, W); see :func:`as_pairs`.
        truth: bool or gray, of the same shape.
        normalize: stretch each prediction to 0..1 first.
        tolerance: as a share of the picture's diagonal, at least 0. It is not rounded: 0.0075 is 3.7 px of
            352 × 352, and below a pixel where the diagonal is shorter than 133 px.
        threshold: predicted is what is at or above it, in [0, 1].

    Returns:
        float64 (B,), or () for a single picture, on the prediction's device. 1 where neither has an outline,
        0 where only one of them has.

    Raises:
        TypeError, ValueError: as :func:`as_pairs`; ValueError for a tolerance or threshold out of range.
    """
    if not tolerance >= 0:
        raise ValueError(f"tolerance is {tolerance}; it must be at least 0")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it must be in [0, 1]")
    pairs = as_pairs(prediction, truth, normalize)
    return pairs.result(boundary_f_scores(pairs, tolerance, threshold))


def boundary_f_scores(pairs: Pairs, tolerance: float = TOLERANCE, threshold: float = 0.5) -> Tensor:
    """The boundary F-measure (B,) of checked pairs."""
    predicted = (pairs.prediction >= threshold).cpu().numpy()
    radius = tolerance * math.hypot(*pairs.truth.shape[-2:])
    truths = pairs.truth.cpu().numpy()
    values = [_score(p, t, radius) for p, t in zip(predicted, truths, strict=True)]
    return torch.tensor(values, dtype=torch.float64, device=pairs.prediction.device)


def _score(predicted: np.ndarray, truth: np.ndarray, radius: float) -> float:
    """Of one picture, bool (H, W) both."""
    ours, theirs = (outlines(mask.astype(np.uint8)) for mask in (predicted, truth))
    if not (ours.any() and theirs.any()):
        return float(ours.any() == theirs.any())
    precision = _share_near(ours, theirs, radius)
    recall = _share_near(theirs, ours, radius)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _share_near(these: np.ndarray, those: np.ndarray, radius: float) -> float:
    """Share of the one pixels with another one of the others within a radius, px."""
    return float((distance_transform_edt(~those)[these] <= radius).mean())
