"""Still pictures of the figures, drawn with Pillow for places that run no JavaScript."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lessons_lib.data.pictures import PALETTE

_SIDE = 288  # px, height of a panel
_GAP = 16
_INK = (60, 66, 78)


def colours(ids: np.ndarray) -> np.ndarray:
    """Return uint8 (..., 3) of instance ids; 0 is gray."""
    return np.where((ids > 0)[..., None], PALETTE[(ids.astype(int) - 1) % len(PALETTE)], 150)


def picture(state: dict[str, Any]) -> Image.Image:
    """Draw the picture of ``encode.picture_state`` with its instances in colour."""
    height, width = state["height"], state["width"]
    bits = np.unpackbits(np.frombuffer(state["foreground"], np.uint8), count=height * width)
    mask = bits.astype(bool).reshape(height, width)
    ids = np.zeros((height, width), np.uint8)
    ids[mask] = np.frombuffer(state["instances"], np.uint8)
    shown = base(state)
    blend = np.where(mask[..., None], 0.3 * shown + 0.7 * colours(ids), shown)
    whole = Image.fromarray(blend.astype(np.uint8))
    return whole.resize((round(_SIDE * width / height), _SIDE), Image.Resampling.NEAREST)


def base(state: dict[str, Any]) -> np.ndarray:
    """Return the picture of ``encode.picture_state``, uint8 (H, W, 3)."""
    height, width = state["height"], state["width"]
    codes = np.frombuffer(state["pixels"], np.uint8).reshape(height, width)
    if state["palette"]:
        return np.frombuffer(state["palette"], np.uint8).reshape(-1, 3)[codes]
    return np.repeat(codes[..., None], 3, axis=-1)


def classes(state: dict[str, Any], labels: np.ndarray | None) -> Image.Image:
    """Draw a picture with its classes in colour; class 0 and 255 show the picture.

    Args:
        state: Picture of ``encode.picture_state``.
        labels: (H, W), or None: the picture alone.
    """
    shown = base(state)
    if labels is not None:
        inside = (labels > 0) & (labels < 255)
        shown = np.where(inside[..., None], 0.35 * shown + 0.65 * colours(labels), shown)
    whole = Image.fromarray(shown.astype(np.uint8))
    width = round(_SIDE * shown.shape[1] / shown.shape[0])
    return whole.resize((width, _SIDE), Image.Resampling.NEAREST)


def scatter(
    points: np.ndarray,
    ids: np.ndarray,
    *,
    bounds: np.ndarray | None = None,
    circles: tuple[float, ...] = (),
) -> Image.Image:
    """Draw points of the plane in the colours of their instances, upwards = positive.

    Args:
        points: (N, 2).
        ids: (N,) instances.
        bounds: (2, 2), lower and upper corner to fit; default: those of the points.
        circles: Radii of circles around the mean of every instance.
    """
    low, high = bounds if bounds is not None else (points.min(axis=0), points.max(axis=0))
    span = max(float((high - low).max()) + 2 * max(circles, default=0.0), 1e-9)
    scale = (_SIDE - 16) / span
    middle = (low + high) / 2

    def place(p: np.ndarray) -> np.ndarray:
        return np.array([_SIDE / 2, _SIDE / 2]) + (p - middle) * np.array([scale, -scale])

    panel = Image.new("RGB", (_SIDE, _SIDE), "white")
    draw = ImageDraw.Draw(panel)
    for (x, y), colour in zip(place(points), colours(ids), strict=True):
        draw.ellipse([x - 1.5, y - 1.5, x + 1.5, y + 1.5], fill=tuple(int(c) for c in colour))
    for k in np.unique(ids[ids > 0]):
        x, y = place(points[ids == k].mean(axis=0))
        for radius in circles:
            r = radius * scale
            draw.ellipse([x - r, y - r, x + r, y + r], outline=_INK)
    draw.rectangle([0, 0, _SIDE - 1, _SIDE - 1], outline=(213, 218, 225))
    return panel


def grid(values: np.ndarray, part: float = 1.0) -> Image.Image:
    """Draw a grid of numbers, darker where they are larger in size.

    Args:
        values: (rows, columns).
        part: Width of the panel as a part of its height.
    """
    width = round(_SIDE * part)
    panel = Image.new("RGB", (width, _SIDE), "white")
    if values.size == 0:
        return panel
    draw = ImageDraw.Draw(panel)
    rows, columns = values.shape
    cell = min((width - 1) / columns, (_SIDE - 1) / rows, 40)
    left, top = (width - cell * columns) / 2, (_SIDE - cell * rows) / 2
    most = max(float(np.abs(values).max()), 1.0)
    for (r, c), value in np.ndenumerate(values):
        x, y = left + c * cell, top + r * cell
        tone = 0.45 * abs(float(value)) / most
        base = PALETTE[1] if value >= 0 else PALETTE[0]
        fill = tuple(int(255 - tone * (255 - int(b))) for b in base)
        draw.rectangle([x, y, x + cell, y + cell], fill=fill, outline=(170, 177, 187))
        if cell >= 12:
            draw.text((x + cell / 2, y + cell / 2), f"{value:.3g}", fill=_INK, anchor="mm")
    return panel


def side_by_side(*panels: Image.Image) -> Image.Image:
    """Set panels of one height in a row on white."""
    width = sum(p.width for p in panels) + _GAP * (len(panels) - 1)
    row = Image.new("RGB", (width, _SIDE), "white")
    left = 0
    for panel in panels:
        row.paste(panel, (left, 0))
        left += panel.width + _GAP
    return row
