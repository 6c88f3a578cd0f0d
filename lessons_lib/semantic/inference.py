"""Prediction at several scales, mirrored, and in windows, as segmentation papers report it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PAPER_SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)


def predict_multiscale(
    model: nn.Module,
    image: Tensor,
    *,
    scales: Sequence[float] = PAPER_SCALES,
    flip: bool = True,
    window: int | None = None,
) -> Tensor:
    """Class probabilities, averaged over scaled and mirrored copies of the picture.

    Args:
        model: a network in evaluation mode whose outputs have ``"semantic"``.
        image: (B, C, H, W).
        scales: factors of height and width; the default is PSPNet's.
        flip: whether to predict the mirrored copies too.
        window: slide a window of this many px over each copy, by :func:`predict_windows`; ``None``
            takes each copy whole.

    Returns:
        (B, classes, H, W), summing to 1 over the classes.

    Raises:
        ValueError: for no scale, or one that is not positive.
    """
    if not scales or min(scales) <= 0:
        raise ValueError(f"scales is {tuple(scales)}; it must hold positive numbers, at least one")
    height, width = image.shape[-2:]
    total: Tensor | None = None
    for scale in scales:
        size = max(1, round(scale * height)), max(1, round(scale * width))
        copy = F.interpolate(image, size, mode="bilinear", align_corners=False)
        for mirror in (False, True) if flip else (False,):
            probabilities = _probabilities(model, copy.flip(-1) if mirror else copy, window)
            probabilities = probabilities.flip(-1) if mirror else probabilities
            back = F.interpolate(
                probabilities, (height, width), mode="bilinear", align_corners=False
            )
            total = back if total is None else total + back
    assert total is not None
    return total / (len(scales) * (2 if flip else 1))


def predict_windows(
    model: nn.Module, image: Tensor, *, window: int, overlap: float = 1 / 3
) -> Tensor:
    """Class probabilities from a window that slides over the picture; where windows overlap, their mean.

    A network with global pooling sees in each window what it saw in training: a crop of that size.

    Args:
        model: a network in evaluation mode whose outputs have ``"semantic"``.
        image: (B, C, H, W); a picture smaller than the window is extended with zeros.
        window: height and width of the window, px.
        overlap: share of a window that the next one covers again, in [0, 1).

    Returns:
        (B, classes, H, W), summing to 1 over the classes.

    Raises:
        ValueError: for a window below 1 or an overlap outside [0, 1).
    """
    if window < 1:
        raise ValueError(f"window is {window}; it must be at least 1")
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap}; it must be in [0, 1)")
    height, width = image.shape[-2:]
    padded = F.pad(image, (0, max(0, window - width), 0, max(0, window - height)))
    total: Tensor | None = None
    count = image.new_zeros(padded.shape[-2:])
    for top in _starts(padded.shape[-2], window, overlap):
        for left in _starts(padded.shape[-1], window, overlap):
            place = (..., slice(top, top + window), slice(left, left + window))
            probabilities = _probabilities(model, padded[place], None)
            if total is None:
                total = probabilities.new_zeros((*probabilities.shape[:2], *padded.shape[-2:]))
            total[place] += probabilities
            count[place[1:]] += 1
    assert total is not None
    return (total / count)[..., :height, :width]


def _starts(size: int, window: int, overlap: float) -> list[int]:
    """Where windows begin: evenly apart, the last one flush with the border."""
    step = max(1, int(window * (1 - overlap)))
    return [*range(0, size - window, step), size - window]


def _probabilities(model: nn.Module, image: Tensor, window: int | None) -> Tensor:
    if window is not None:
        return predict_windows(model, image, window=window)
    with torch.inference_mode():
        return model(image)["semantic"].float().softmax(1)
