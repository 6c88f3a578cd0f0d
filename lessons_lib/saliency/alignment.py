"""The E-measure: how well two binary maps agree, pixel by pixel and in their means (Fan et al., 2018)."""

from __future__ import annotations

import torch
from torch import Tensor

from .counts import ThresholdCounts, ThresholdScores, count_thresholds
from .pairs import Map, as_pairs

EPS = torch.finfo(torch.float64).eps


def e_measure(prediction: Map, truth: Map, normalize: bool = False) -> ThresholdScores:
    """The enhanced-alignment measure of the map cut at 256 thresholds.

    Both binary maps are centred: a = prediction − its mean, b = truth − its mean. Each pixel is worth
    (1 + 2ab / (a² + b²))² / 4: 1 where both stand out alike, 0 where they are opposite (Fan et al.,
    "Enhanced-alignment Measure for Binary Foreground Map Evaluation", 2018). A pixel's value depends
    on nothing but whether it is predicted and whether it is salient, so four counts give the sum.

    As in the authors' code, the sum is divided by the number of pixels *less one*, so that a perfect map of few
    pixels scores a little above 1; and of a truth that is empty or full the pixels that agree are counted.

    Args:
        prediction: float in [0, 1] or uint8, (B, 1, H, W) or (H, W); see :func:`as_pairs`.
        truth: bool or gray, of the same shape.
        normalize: stretch each prediction to 0..1 first.

    Returns:
        The curve, its mean and maximum, and the value at the adaptive threshold, of each picture.

    Raises:
        TypeError, ValueError: as :func:`as_pairs`.
    """
    pairs = as_pairs(prediction, truth, normalize)
    scores = e_scores(count_thresholds(pairs))
    return ThresholdScores(pairs.result(scores.curve), pairs.result(scores.adaptive))


def e_scores(counts: ThresholdCounts) -> ThresholdScores:
    """The E-measure from counts."""
    return counts.score(_e_of_counts)


def _e_of_counts(hits: Tensor, alarms: Tensor, salient: Tensor, pixels: int) -> Tensor:
    predicted = hits + alarms
    mean_a, mean_b = predicted / pixels, salient / pixels
    misses, rest = salient - hits, pixels - predicted - salient + hits
    total = (
        hits * _alignment(1 - mean_a, 1 - mean_b)
        + alarms * _alignment(1 - mean_a, -mean_b)
        + misses * _alignment(-mean_a, 1 - mean_b)
        + rest * _alignment(-mean_a, -mean_b)
    )
    total = torch.where(salient == 0, pixels - predicted, total)
    total = torch.where(salient == pixels, predicted, total)
    return total / (pixels - 1 + EPS)


def _alignment(a: Tensor, b: Tensor) -> Tensor:
    """What a pixel with these centred values is worth, in [0, 1]."""
    return (1 + 2 * a * b / (a**2 + b**2 + EPS)) ** 2 / 4
