"""The F-measure of saliency maps: regions against regions, at every threshold."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from .counts import ThresholdCounts, ThresholdScores, count_thresholds
from .pairs import Map, as_pairs

BETA_SQUARED = 0.3


def f_measure(
    prediction: Map, truth: Map, normalize: bool = False, beta_squared: float = BETA_SQUARED
) -> ThresholdScores:
    """F = (1 + β²) · precision · recall / (β² · precision + recall), of the map cut at 256 thresholds.

    β² = 0.3 counts precision more than recall (Achanta et al., "Frequency-tuned Salient Region Detection",
    2009, where the adaptive threshold, twice the mean, comes from too). No threshold that finds
    nothing right scores more than 0: so do all of a truth without a salient pixel, whatever is predicted.

    Args:
        prediction: float in [0, 1] or uint8, (B, 1, H, W) or (H, W); see :func:`as_pairs`.
        truth: bool or gray, of the same shape.
        normalize: stretch each prediction to 0..1 first.
        beta_squared: positive.

    Returns:
        The curve, its mean and maximum, and the value at the adaptive threshold, of each picture.

    Raises:
        TypeError, ValueError: as :func:`as_pairs`; ValueError for a ``beta_squared`` that is not positive.
    """
    if not beta_squared > 0:
        raise ValueError(f"beta_squared is {beta_squared}; it must be positive")
    pairs = as_pairs(prediction, truth, normalize)
    scores = f_scores(count_thresholds(pairs), beta_squared)
    return ThresholdScores(pairs.result(scores.curve), pairs.result(scores.adaptive))


def precision_recall(prediction: Map, truth: Map, normalize: bool = False) -> tuple[Tensor, Tensor]:
    """The precision-recall curve: both float64 (B, 256), or (256,), at the thresholds 0, 1/255, …, 1.

    Precision is 0 where nothing is predicted, recall 0 where nothing is salient.

    Raises:
        TypeError, ValueError: as :func:`as_pairs`.
    """
    pairs = as_pairs(prediction, truth, normalize)
    counts = count_thresholds(pairs)
    precision, recall = _shares(counts.hits, counts.alarms, counts.salient)
    return pairs.result(precision), pairs.result(recall)


def f_scores(counts: ThresholdCounts, beta_squared: float = BETA_SQUARED) -> ThresholdScores:
    """The F-measure from counts."""
    return counts.score(partial(_f_of_counts, beta_squared))


def _f_of_counts(
    beta_squared: float, hits: Tensor, alarms: Tensor, salient: Tensor, pixels: int
) -> Tensor:
    precision, recall = _shares(hits, alarms, salient)
    below = beta_squared * precision + recall
    return torch.where(hits > 0, (1 + beta_squared) * precision * recall / below, 0)


def _shares(hits: Tensor, alarms: Tensor, salient: Tensor) -> tuple[Tensor, Tensor]:
    """Precision and recall; where there is nothing to divide by there are no hits either: 0."""
    return hits / (hits + alarms).clamp(min=1), hits / salient.clamp(min=1)
