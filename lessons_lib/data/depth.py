"""Depth: from metres to nearness, and what a sensor makes of it."""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

NEAREST, FARTHEST = 0.5, 4.5
"""The range of an indoor depth camera, metres."""
LEAST = 1 / 255
"""Nearness of what is measured and farthest away: 0 is kept for what was not measured."""


def nearness(depth: Tensor, nearest: float = NEAREST, farthest: float = FARTHEST) -> Tensor:
    """Relative depth as networks take it: 1 = nearest, falling linearly with the distance; 0 = not measured.

    Args:
        depth: metres, any shape; 0, as everything negative, infinite or NaN, is no measurement.
        nearest: what becomes 1, metres; closer things too.
        farthest: what becomes 1/255, metres; farther things too.

    Raises:
        ValueError: unless 0 ≤ nearest < farthest.
    """
    if not 0 <= nearest < farthest:
        raise ValueError(
            f"nearest is {nearest} and farthest is {farthest}; it must be 0 <= nearest < farthest"
        )
    near = ((farthest - depth) / (farthest - nearest)).clamp(LEAST, 1.0)
    return near.where((depth > 0) & depth.isfinite(), 0.0)


def sense_depth(depth: np.ndarray, rng: np.random.Generator, strength: float = 1.0) -> np.ndarray:
    """What a structured-light camera would measure of a true depth map.

    Three things go wrong, as they do in real cameras: near an edge a pixel may take the depth of the other side
    (the outline bleeds and frays by a pixel or two); the noise grows with the square of the distance (Nguyen,
    Izadi, Lovell, 2012, equation 2 has this form; the constants here are larger, as the pictures are small); and
    some pixels have no measurement at all, written as 0: beside near things, where the projector's
    light does not reach, and on dark or shiny patches.

    Args:
        depth: float32 (H, W), metres.
        rng: draws the errors.
        strength: 0 measures perfectly, 1 is an ordinary day.

    Returns:
        float32 (H, W), metres, 0 = no measurement.
    """
    if strength == 0:
        return depth.astype(np.float32)
    height, width = depth.shape
    reach = 0.8 * strength * height / 64
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    across = (columns + rng.normal(0, reach, depth.shape)).astype(np.float32)
    down = (rows + rng.normal(0, reach, depth.shape)).astype(np.float32)
    measured = cv2.remap(
        depth.astype(np.float32), across, down, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    deviation = strength * (0.01 + 0.012 * (measured - 0.4) ** 2)
    measured = measured + (rng.normal(0, 1, depth.shape) * deviation).astype(np.float32)
    holes = _shadow(depth, strength) | _patches(rng, depth.shape, strength)
    return np.where(holes, 0, measured.clip(0.1, None)).astype(np.float32)


def _shadow(depth: np.ndarray, strength: float) -> np.ndarray:
    """Where something nearer, to the right, is between the projector and the scene: bool (H, W)."""
    baseline = 4.0 * strength * depth.shape[1] / 64  # px of disparity at one metre
    shadow = np.zeros(depth.shape, bool)
    disparity = baseline / depth
    for step in range(1, int(np.ceil(baseline / NEAREST)) + 1):
        nearer = np.zeros_like(disparity)
        nearer[:, :-step] = disparity[:, step:]
        shadow |= nearer - disparity > step
    return shadow


def _patches(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> np.ndarray:
    """Blobs without measurement, about a twentieth of the picture: bool (H, W)."""
    coarse = rng.normal(0, 1, (shape[0] // 8 + 2, shape[1] // 8 + 2)).astype(np.float32)
    smooth = cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return smooth > np.quantile(smooth, 1 - min(0.05 * strength, 1.0))
