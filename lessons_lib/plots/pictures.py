"""Pictures and their instances, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from lessons_lib.data.pictures import PALETTE, outlines


def colour_instances(image: Any, instances: Any, strength: float = 0.65) -> NDArray[np.float64]:
    """The picture with each instance tinted, and a dark line where an instance ends.

    Args:
        image: (H, W), (1, H, W) or (3, H, W), values in [0, 1], array or tensor.
        instances: integer (H, W), 0 = background.
        strength: of the tint, 0 to 1.

    Returns:
        RGB (H, W, 3) in [0, 1].
    """
    canvas = as_rgb(image)
    labels = np.asarray(instances)
    inside = labels > 0
    colours = PALETTE[(labels[inside] - 1) % len(PALETTE)] / 255
    canvas[inside] = (1 - strength) * canvas[inside] + strength * colours
    canvas[outlines(labels)] *= 0.35
    return canvas


def show_pictures(
    rows: Sequence[Sequence[Any]],
    titles: Sequence[str] = (),
    labels: Sequence[str] = (),
    size: float = 1.9,
) -> Figure:
    """A grid of pictures.

    Args:
        rows: of pictures, each (H, W), (1, H, W), (3, H, W) or RGB (H, W, 3), in [0, 1].
        titles: over the columns.
        labels: beside the rows.
        size: of a picture, inches.
    """
    columns = max(len(row) for row in rows)
    figure, axes = plt.subplots(
        len(rows),
        columns,
        figsize=(size * columns, size * len(rows) + 0.3 * bool(titles)),
        squeeze=False,
        layout="constrained",
        dpi=72,
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for i, row in enumerate(rows):
        for axis, picture in zip(axes[i], row, strict=False):
            axis.imshow(as_rgb(picture), interpolation="nearest")
    for axis, title in zip(axes[0], titles, strict=False):
        axis.set_title(title, fontsize=10)
    for axis, label in zip(axes[:, 0], labels, strict=False):
        axis.text(-0.05, 0.5, label, fontsize=10, rotation=90, va="center", ha="right",
                  transform=axis.transAxes)  # fmt: skip
    return figure


def as_rgb(picture: Any) -> NDArray[np.float64]:
    """Any picture as a fresh RGB (H, W, 3) array."""
    values = picture.detach().cpu().numpy() if isinstance(picture, Tensor) else np.asarray(picture)
    values = values.astype(np.float64)
    if values.ndim == 3 and values.shape[-1] != 3:
        values = values.transpose(1, 2, 0)
    if values.ndim == 2:
        values = values[..., None]
    return np.broadcast_to(values, (*values.shape[:2], 3)).clip(0, 1).copy()
