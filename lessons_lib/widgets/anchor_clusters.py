"""Shapes of anchors from data: k-means over widths and heights, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from PIL import Image, ImageDraw

from lessons_lib.widgets import encode, still
from lessons_lib.widgets.figure import Figure

MOST_BOXES, MOST_SHAPES, LONGEST = 500, 9, 60
_SIDE, _INK = 288, (60, 66, 78)


class AnchorClusters(Figure):
    """Every box as a point (width, height), and k shapes that move to the middle of their boxes.

    The reader chooses how many shapes there are and what near means, 1 − IoU (Redmon and Farhadi,
    CVPR 2017, section 2) or the straight distance; steps through the iterations; and reads the mean
    over all boxes of the IoU with their best shape. Make one with :meth:`from_boxes`.

    Attributes:
        k: Number of shapes, 1 to 9.
        metric: ``"iou"`` or ``"euclid"``.
        step: The iteration that is shown; 0 is the start, and beyond the end the end.
        start: Number of the random start.
    """

    k = traitlets.Int(5, min=1, max=MOST_SHAPES).tag(sync=True)
    metric = traitlets.Enum(("iou", "euclid"), default_value="iou").tag(sync=True)
    step = traitlets.Int(0, min=0).tag(sync=True)
    start = traitlets.Int(0, min=0).tag(sync=True)

    codes = traitlets.Bytes().tag(sync=True)  # (N, 2) uint8, widths and heights
    unit = traitlets.Float(1.0).tag(sync=True)  # px of one code
    hand: traitlets.List[Any] = traitlets.List().tag(sync=True)  # shapes to compare with, px

    @classmethod
    def from_boxes(
        cls,
        boxes: Any,
        *,
        k: int = 5,
        hand: Sequence[tuple[float, float]] = (),
        alt: str | None = None,
    ) -> AnchorClusters:
        """Store the sizes of boxes, each side in one byte.

        Args:
            boxes: (N, 4) as x1, y1, x2, y2 in pixels, 9 to 500 of them, none empty.
            k: Number of shapes to begin with.
            hand: Shapes (width, height) chosen by hand, px, to compare with.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        array = encode.to_numpy(boxes).astype(np.float64)
        if array.ndim != 2 or array.shape[1] != 4 or not MOST_SHAPES <= len(array) <= MOST_BOXES:
            raise ValueError(
                f"boxes has shape {array.shape}; expected (N, 4) with N from 9 to {MOST_BOXES}"
            )
        encode.check_finite("boxes", array)
        sides = array[:, 2:] - array[:, :2]
        if sides.min() <= 0:
            raise ValueError("boxes has an empty box; each needs x1 < x2 and y1 < y2")
        encode.check_whole("k", k, 1, MOST_SHAPES)
        shapes = [(float(w), float(h)) for w, h in hand]
        if any(min(shape) <= 0 for shape in shapes):
            raise ValueError(f"hand is {shapes}; widths and heights must be positive")
        unit = float(np.round(sides.max() / 255, 6)) or 1.0
        codes = np.rint(sides / unit).clip(1, 255).astype(np.uint8)
        figure = cls(
            codes=codes.tobytes(),
            unit=unit,
            k=k,
            hand=[list(shape) for shape in shapes],
            alt=alt
            or f"{len(codes)} boxes as points of width and height, and {k} shapes found by k-means.",
        )
        return figure

    def sizes(self) -> np.ndarray:
        """Return widths and heights (N, 2) as the page sees them, px."""
        return np.frombuffer(self.codes, np.uint8).reshape(-1, 2) * self.unit

    def run(self) -> list[np.ndarray]:
        """Return the shapes (k, 2) of each iteration, the start first, until no box changes its shape."""
        sizes = self.sizes()
        shapes = sizes[draw(len(sizes), self.k, self.start)]
        found, owner = [shapes], np.full(len(sizes), -1)
        while len(found) <= LONGEST:
            nearest = closeness(sizes, shapes, self.metric).argmax(1)
            if (nearest == owner).all():
                break
            owner = nearest
            groups = [sizes[owner == j] for j in range(self.k)]
            # a shape without boxes stays where it is
            shapes = np.stack(
                [g.mean(0) if len(g) else s for g, s in zip(groups, shapes, strict=True)]
            )
            found.append(shapes)
        return found

    def score(self, shapes: Any) -> float:
        """Return the mean over all boxes of the IoU with their best shape."""
        shapes = np.asarray(shapes, np.float64).reshape(-1, 2)
        return float(closeness(self.sizes(), shapes, "iou").max(1).mean())

    def describe(self) -> str:
        """Return the settings and the score."""
        if not self.codes:
            return ""
        shapes = self.run()[-1]
        return f"k {self.k}, {self.metric}: mean best IoU {self.score(shapes):.3f}"

    def poster(self) -> Image.Image:
        """Return the boxes in the colours of their shapes, and the shapes as boxes from the corner."""
        sizes, shapes = self.sizes(), self.run()[-1]
        owner = closeness(sizes, shapes, self.metric).argmax(1)
        canvas = Image.new("RGB", (_SIDE, _SIDE), "white")
        pen = ImageDraw.Draw(canvas)
        scale = (_SIDE - 24) / sizes.max()

        def place(size: np.ndarray) -> tuple[float, float]:
            return 12 + scale * float(size[0]), _SIDE - 12 - scale * float(size[1])

        for size, k in zip(sizes, owner, strict=True):
            x, y = place(size)
            colour = tuple(int(c) for c in still.colours(np.array([k + 1]))[0])
            pen.ellipse([x - 2, y - 2, x + 2, y + 2], fill=colour)
        for k, shape in enumerate(shapes):
            x, y = place(shape)
            colour = tuple(int(c) for c in still.colours(np.array([k + 1]))[0])
            pen.rectangle([12, y, x, _SIDE - 12], outline=colour, width=2)
        pen.rectangle([0, 0, _SIDE - 1, _SIDE - 1], outline=_INK)
        return canvas


def closeness(sizes: np.ndarray, shapes: np.ndarray, metric: str) -> np.ndarray:
    """How near every box is to every shape (N, k): their IoU, or minus the squared distance."""
    if metric == "euclid":
        return -((sizes[:, None] - shapes) ** 2).sum(2)
    overlap = np.minimum(sizes[:, None], shapes).prod(2)
    return overlap / (sizes.prod(1)[:, None] + shapes.prod(1) - overlap)


def draw(count: int, k: int, start: int) -> list[int]:
    """k different rows of ``count``; a small generator that is the same in Python and in the page."""
    chosen: list[int] = []
    state = (start * 7919 + 12345) % 2**32
    while len(chosen) < k:
        state = (1664525 * state + 1013904223) % 2**32
        row = (state >> 8) % count
        if row not in chosen:
            chosen.append(row)
    return chosen
