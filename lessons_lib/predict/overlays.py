"""The outlines of instances on their picture, read strip by strip."""

from __future__ import annotations

import cv2
import numpy as np

from lessons_lib.data.large_pictures import PictureFile
from lessons_lib.data.pictures import PALETTE, outlines

LARGEST_SIDE = 4096
DIM = 0.25


def draw_overlay(picture: PictureFile, instances: np.ndarray) -> np.ndarray:
    """Draws every instance's outline on the picture, in eight bits.

    A picture with a side above 4,096 px is shrunk by a whole factor until none is, and the outlines, one pixel
    wide, are those of the instances at the middle of each n x n pixels; what is left over at the right and below
    is left away, but a side shorter than n becomes one pixel. A picture so dim that its percentile 99.8 is below
    a quarter of what its type can hold, as 12 bits stored in 16 are, is shown stretched from its percentile 1 to
    this one; others as they are.

    Args:
        picture: of (H, W).
        instances: integers (H, W), 0 = background.

    Returns:
        uint8 RGB (H // n, W // n, 3), the sides at least 1.
    """
    factor = -(-max(instances.shape) // LARGEST_SIDE)
    height, width = (max(1, side // factor) for side in instances.shape)
    statistics = picture.statistics()
    low, high = (statistics.low, statistics.high) if 0 < statistics.high < DIM else (0.0, 1.0)
    canvas = np.empty((height, width, 3), np.uint8)
    rows = max(1, 2**22 // (factor * factor * width))
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        part = picture.read(slice(top * factor, bottom * factor), slice(0, width * factor))
        if factor > 1:
            part = cv2.resize(part, (width, bottom - top), interpolation=cv2.INTER_AREA)
        largest = np.iinfo(part.dtype).max
        values = (part.astype(np.float32) / np.float32(largest) - low) / max(high - low, 1e-12)
        shown = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
        canvas[top:bottom] = shown[..., None] if shown.ndim == 2 else shown
    y, x = (slice(min(factor, side) // 2, None, factor) for side in instances.shape)
    labels = instances[y, x][:height, :width]
    ring = outlines(labels)
    canvas[ring] = PALETTE[(labels[ring] - 1) % len(PALETTE)]
    return canvas
