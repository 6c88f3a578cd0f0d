"""What selective search knows of regions: neighbours, boxes, colours and texture."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

COLOUR_SPACES = ("rgb", "lab", "hsv", "gray")
DIRECTIONS = 8

Floats = NDArray[np.float64]


def neighbours(labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of labels that share an edge of a pixel, each pair once, the smaller label first."""
    count = int(labels.max()) + 1
    across = [(labels[:, :-1], labels[:, 1:]), (labels[:-1], labels[1:])]
    a = np.concatenate([first.ravel() for first, _ in across])
    b = np.concatenate([second.ravel() for _, second in across])
    codes = np.unique((np.minimum(a, b) * count + np.maximum(a, b))[a != b])
    return codes // count, codes % count


def region_boxes(labels: NDArray[np.int64], count: int) -> Floats:
    """The box of each label, float64 (count, 4)."""
    height, width = labels.shape
    boxes = np.tile([width, height, 0.0, 0.0], (count, 1))
    rows, columns = np.indices(labels.shape)
    for side, place in [(0, columns), (1, rows)]:
        np.minimum.at(boxes[:, side], labels.ravel(), place.ravel())
        np.maximum.at(boxes[:, 2 + side], labels.ravel(), place.ravel() + 1)
    return boxes


def histograms(
    values: NDArray[Any], labels: NDArray[np.int64], bins: int, limits: tuple[float, float]
) -> Floats:
    """Histograms of each channel of (H, W, C) in each region, side by side: (S, C · bins), sum 1."""
    count, channels = int(labels.max()) + 1, values.shape[-1]
    low, high = limits
    at = ((values - low) * (bins / max(high - low, 1e-12))).astype(np.int64).clip(0, bins - 1)
    at += (labels[..., None] * channels + np.arange(channels)) * bins
    counts = np.bincount(at.ravel(), minlength=count * channels * bins).reshape(count, -1)
    return counts / counts.sum(1, keepdims=True)


def directional_derivatives(picture: NDArray[Any]) -> NDArray[np.float32]:
    """How strongly each channel rises in eight directions at a width of 1 px: (H, W, 8 C), >= 0.

    A Gaussian's derivative in any direction is a mix of those in x and y.
    """
    smooth = cv2.GaussianBlur(picture.astype(np.float32), (0, 0), 1.0)
    smooth = smooth.reshape(*picture.shape)
    dy, dx = np.gradient(smooth, axis=(0, 1)) if min(picture.shape[:2]) > 1 else (0 * smooth,) * 2
    angles = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    rises = [np.cos(t) * dx + np.sin(t) * dy for t in angles]
    return np.maximum(np.concatenate(rises, -1), 0).astype(np.float32)


def to_colours(picture: NDArray[np.float32], colours: str) -> NDArray[np.float32]:
    """RGB (H, W, 3) in a colour space, each channel brought to [0, 1]; gray has one channel.

    Raises:
        ValueError: for an unknown space.
    """
    if colours == "rgb":
        return picture
    if colours == "gray":
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None], np.float32)
    if colours == "hsv":
        hsv = cv2.cvtColor(picture, cv2.COLOR_RGB2HSV)  # 0..360, 0..1, 0..1
        return np.asarray(hsv / np.array([360, 1, 1]), np.float32)
    if colours == "lab":
        lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)  # 0..100, about -128..127
        return np.asarray((lab + np.array([0, 128, 128])) / np.array([100, 255, 255]), np.float32)
    raise ValueError(f"colours is {colours!r}; it must be one of {', '.join(COLOUR_SPACES)}")
