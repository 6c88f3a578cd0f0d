"""Pictures with boxes on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lessons_lib.data.pictures import PALETTE
from lessons_lib.plots.pictures import as_rgb


def show_boxes(
    pictures: Sequence[Any],
    found: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    truth: Sequence[Mapping[str, Any]] | None = None,
    *,
    titles: Sequence[str] = (),
    size: float = 2.2,
    columns: int = 4,
) -> Figure:
    """Pictures with boxes in the colours of their classes; true boxes are thin, white and dashed.

    Args:
        pictures: each (H, W), (1, H, W) or (3, H, W), in [0, 1].
        found: for each ``boxes`` (N, 4), ``labels`` (N,) and, if they are to be written, ``scores``.
        names: of the labels from 0 on.
        truth: for each ``boxes``.
        titles: over the pictures.
        size: of a picture, inches.
        columns: at most so many pictures in a row.
    """
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(size * columns, (size + 0.25) * rows),
        squeeze=False,
        layout="constrained",
        dpi=72,
    )
    for axis in axes.flat:
        axis.set_axis_off()
    for k, (axis, picture, boxes) in enumerate(zip(axes.flat, pictures, found, strict=False)):
        axis.imshow(as_rgb(picture), interpolation="nearest")
        if k < len(titles):
            axis.set_title(titles[k], fontsize=9)
        for box in truth[k]["boxes"].tolist() if truth is not None else ():
            axis.add_patch(_frame(box, "white", 1.0, "--"))
        for i, (box, label) in enumerate(
            zip(boxes["boxes"].tolist(), boxes["labels"].tolist(), strict=True)
        ):
            colour = PALETTE[(label - 1) % len(PALETTE)] / 255
            axis.add_patch(_frame(box, colour, 1.8, "-"))
            text = names[label]
            if "scores" in boxes:
                text += f" {float(boxes['scores'][i]):.2f}"
            axis.text(
                box[0], box[1], text, fontsize=6.5, color="white", va="bottom", clip_on=True,
                bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.6},
            )  # fmt: skip
    return figure


def _frame(box: Sequence[float], colour: Any, width: float, style: str) -> Rectangle:
    # imshow puts the middle of the first pixel at 0, boxes put its left border there
    x1, y1, x2, y2 = (value - 0.5 for value in box)
    return Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=colour, lw=width, ls=style)
