"""Histograms of gradients, cell by cell, on a picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import traitlets
from PIL import Image, ImageDraw

from lessons_lib.widgets import encode, labels, still
from lessons_lib.widgets.figure import Figure

MOST_CELLS = 1024


class HOGCells(Figure):
    """A picture, the glyphs of its HOG cells, and the histogram of the cell under the pointer.

    A glyph has a line for each bin, drawn along the *edge*, which is square to the gradient, and as
    bright as the bin is full. Make one with :meth:`from_arrays`.

    Attributes:
        row: Of the cell that is looked at.
        column: Of the cell that is looked at.
    """

    _helpers = ("labels",)

    row = traitlets.Int(0).tag(sync=True)
    column = traitlets.Int(0).tag(sync=True)

    picture = traitlets.Dict().tag(sync=True)
    cell = traitlets.Int(8).tag(sync=True)  # px
    shape = traitlets.List(traitlets.Int()).tag(sync=True)  # rows, columns, bins
    codes = traitlets.Bytes().tag(sync=True)  # uint8 (rows, columns, bins), shares of `most`
    most = traitlets.Float(1.0).tag(sync=True)

    @classmethod
    def from_arrays(
        cls,
        image: Any,
        histograms: Any,
        cell: int,
        *,
        at: tuple[int, int] | None = None,
        alt: str | None = None,
    ) -> HOGCells:
        """Store a picture with the histograms of its cells.

        Args:
            image: (H, W), (1, H, W), (3, H, W) or (H, W, 3), values in [0, 1], at most 65,536 pixels.
            histograms: (bins, rows, columns), 0 or more, as
                ``lessons_lib.detection.hog.cell_histograms`` gives them; at most 1,024 cells.
            cell: Side of a cell, px.
            at: Row and column of the cell to begin with; default: the one with most gradient.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        pixels = encode.check_image(image)
        if pixels.shape[0] * pixels.shape[1] > labels.MOST_PIXELS:
            raise ValueError(
                f"image has shape {pixels.shape}; expected at most {labels.MOST_PIXELS} pixels"
            )
        values = encode.to_numpy(histograms).astype(np.float64)
        if values.ndim != 3 or values.size == 0:
            raise ValueError(f"histograms has shape {values.shape}; expected (bins, rows, columns)")
        encode.check_finite("histograms", values)
        bins, rows, columns = values.shape
        side = encode.check_whole("cell", cell, 1, min(pixels.shape[:2]))
        if rows * columns > MOST_CELLS:
            raise ValueError(
                f"histograms has {rows * columns} cells; expected at most {MOST_CELLS}"
            )
        if rows * side > pixels.shape[0] or columns * side > pixels.shape[1]:
            raise ValueError(
                f"cell is {side}; {rows} x {columns} cells do not fit in {pixels.shape[:2]} pixels"
            )
        if values.min() < 0:
            raise ValueError(f"histograms has the value {values.min():g}; expected 0 or more")
        row, column = divmod(int(values.sum(0).argmax()), columns) if at is None else at
        most = float(values.max()) or 1.0
        return cls(
            picture=labels.image_state(pixels),
            cell=side,
            shape=[rows, columns, bins],
            codes=np.rint(values.transpose(1, 2, 0) / most * 255).astype(np.uint8).tobytes(),
            most=round(most, 6),
            row=encode.check_whole("at[0]", row, 0, rows - 1),
            column=encode.check_whole("at[1]", column, 0, columns - 1),
            alt=alt
            or f"A picture cut into {rows} by {columns} cells of {side} pixels, each with lines along "
            f"its edges, and the histogram of {bins} directions of one cell.",
        )

    def histograms(self) -> np.ndarray:
        """Return what the page shows: float64 (rows, columns, bins)."""
        return np.frombuffer(self.codes, np.uint8).reshape(self.shape) / 255 * self.most

    def describe(self) -> str:
        """Return the numbers of cells and bins."""
        if not self.shape:
            return ""
        rows, columns, bins = self.shape
        return f"{rows}×{columns} cells of {self.cell} px, {bins} bins"

    def poster(self) -> Image.Image:
        """Return the picture beside its glyphs."""
        plain = still.classes(self.picture, None)
        glyphs = Image.new("RGB", plain.size, (20, 24, 30))
        pen = ImageDraw.Draw(glyphs)
        side = self.cell * plain.height / self.picture["height"]
        values = self.histograms() / self.most
        bins = values.shape[2]
        for row, column, k in zip(*np.nonzero(values > 0.08), strict=True):
            angle = math.pi * (k + 0.5) / bins + math.pi / 2
            x, y = (column + 0.5) * side, (row + 0.5) * side
            dx, dy = 0.45 * side * math.cos(angle), 0.45 * side * math.sin(angle)
            tone = int(60 + 195 * math.sqrt(values[row, column, k]))
            pen.line([x - dx, y - dy, x + dx, y + dy], fill=(tone, tone, tone), width=2)
        return still.side_by_side(plain, glyphs)
