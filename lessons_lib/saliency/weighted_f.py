"""The weighted F-measure: errors near the object and inside it count by where they are (Margolin et al., 2014)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from .pairs import Map, Pairs, as_pairs

EPS = np.finfo(np.float64).eps
SIDE, SIGMA = 7, 5.0
HALF_DISTANCE = 5.0


def weighted_f_measure(
    prediction: Map, truth: Map, normalize: bool = False, beta_squared: float = 1.0
) -> Tensor:
    """F from weighted errors of the gray map, without a threshold.

    Three steps (Margolin, Zelnik-Manor and Tal, "How to Evaluate Foreground Maps?", 2014): an error in
    the object counts less if its neighbours are right (a Gaussian of 7 × 7 pixels, σ = 5, averages the errors;
    pixels outside the object lend it the error of the nearest pixel inside). An error outside counts once at
    the object's border, and nearly twice far from it (half of the way is gone after 5 pixels). Then precision and
    recall are taken of what is left.

    As in the authors' code beside the paper, and as pysodmetrics has it: pixels beyond the picture's edge lend the
    Gaussian no error. A truth without a salient pixel scores 0. Works on the CPU, picture by picture: exact
    distances are needed.

    Args:
        prediction: float in [0, 1] or uint8, (B, 1, H, W) or (H, W); see :func:`as_pairs`.
        truth: bool or gray, of the same shape.
        normalize: stretch each prediction to 0..1 first.
        beta_squared: positive; 1 in the paper.

    Returns:
        float64 (B,), or () for a single picture, on the prediction's device.

    Raises:
        TypeError, ValueError: as :func:`as_pairs`; ValueError for a ``beta_squared`` that is not positive.
    """
    if not beta_squared > 0:
        raise ValueError(f"beta_squared is {beta_squared}; it must be positive")
    pairs = as_pairs(prediction, truth, normalize)
    return pairs.result(weighted_f_scores(pairs, beta_squared))


def weighted_f_scores(pairs: Pairs, beta_squared: float = 1.0) -> Tensor:
    """The weighted F-measure (B,) of checked pairs."""
    predictions, truths = pairs.prediction.cpu().numpy(), pairs.truth.cpu().numpy()
    values = [_score(p, t, beta_squared) for p, t in zip(predictions, truths, strict=True)]
    return torch.tensor(values, dtype=torch.float64, device=pairs.prediction.device)


def _score(prediction: np.ndarray, truth: np.ndarray, beta_squared: float) -> float:
    """Of one picture, float64 and bool (H, W)."""
    if not truth.any():
        return 0.0
    distance, nearest = distance_transform_edt(~truth, return_indices=True)
    error = np.abs(prediction - truth)
    lent = error[tuple(nearest)]  # inside, the nearest salient pixel is the pixel itself
    averaged = cv2.sepFilter2D(lent, -1, _gaussian(), _gaussian(), borderType=cv2.BORDER_CONSTANT)
    inside = np.minimum(error, averaged)[truth]
    outside = (error * (2 - np.exp(np.log(0.5) / HALF_DISTANCE * distance)))[~truth].sum()
    recall = 1 - inside.mean()
    hits = truth.sum() - inside.sum()
    precision = hits / (hits + outside + EPS)
    return float(
        (1 + beta_squared) * precision * recall / (recall + beta_squared * precision + EPS)
    )


def _gaussian() -> np.ndarray:
    """(7,), of sum 1; the square of it is MATLAB's ``fspecial('gaussian', 7, 5)``."""
    place = np.arange(SIDE) - SIDE // 2
    weights = np.exp(-(place**2) / (2 * SIGMA**2))
    return weights / weights.sum()
