"""Colours for classes, as the data sets' own tools draw them."""

import numpy as np


def voc_palette(count: int = 256) -> np.ndarray:
    """The colour map of Pascal VOC, uint8 (count, 3) RGB: class k has colour k, 255 is cream.

    Class numbers are taken apart three bits at a time, and the bits go to red, green and blue from the
    top down: bit 0 becomes the highest bit of red, bit 1 of green, bit 2 of blue; bits 3, 4, 5 their
    second highest, and so on. So neighbouring classes have very different colours, and no two share one
    (VOCdevkit's ``VOClabelcolormap.m``).

    Raises:
        ValueError: count out of 1..256.
    """
    if not 1 <= count <= 256:
        raise ValueError(f"count is {count}; it must be in 1..256")
    labels = np.arange(count, dtype=np.uint8)
    palette = np.zeros((count, 3), np.uint8)
    for bit in range(8):
        palette[:, bit % 3] |= ((labels >> bit) & 1) << (7 - bit // 3)
    return palette
