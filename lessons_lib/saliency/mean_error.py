"""The mean absolute error of saliency maps."""

from __future__ import annotations

from torch import Tensor

from .pairs import Map, as_pairs


def mean_absolute_error(prediction: Map, truth: Map, normalize: bool = False) -> Tensor:
    """MAE: the mean of the absolute differences of prediction and truth (Perazzi et al., "Saliency
    Filters", 2012).

    Args:
        prediction: float in [0, 1] or uint8, (B, 1, H, W) or (H, W); see :func:`as_pairs`.
        truth: bool or gray, of the same shape.
        normalize: stretch each prediction to 0..1 first, as the evaluation codes of the field do.

    Returns:
        float64 (B,), or () for a single picture; 0 is best.

    Raises:
        TypeError, ValueError: as :func:`as_pairs`.
    """
    pairs = as_pairs(prediction, truth, normalize)
    return pairs.result((pairs.prediction - pairs.truth.double()).abs().mean((1, 2)))
