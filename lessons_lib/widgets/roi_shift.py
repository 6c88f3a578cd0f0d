"""A box that moves by fractions of a pixel: what RoIPool and RoIAlign read from under it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import traitlets
from PIL import Image, ImageDraw

from lessons_lib.detection.pooling import roi_align, roi_pool
from lessons_lib.widgets import encode, labels, still
from lessons_lib.widgets.figure import Figure

MOST_CELLS = 4096
POOL, ALIGN = (230, 159, 0), (0, 114, 178)


class RoIShift(Figure):
    """One map under a picture, one box, and the grids that both ways of pooling make of it.

    The reader moves the box, sees the cells that RoIPool reads and the points that RoIAlign reads, and how
    one bin of either changes along the way. Make one with :meth:`from_arrays`.

    Attributes:
        x: How far the box is moved to the right, px.
        y: How far it is moved down, px.
        bins: Bins along each side of the pooled grid.
    """

    _helpers = ("labels",)

    x = traitlets.Float(0.0).tag(sync=True)
    y = traitlets.Float(0.0).tag(sync=True)
    bins = traitlets.Int(4, min=1, max=7).tag(sync=True)

    picture = traitlets.Dict().tag(sync=True)
    codes = traitlets.Bytes().tag(sync=True)  # the map, one byte a cell, by rows
    low = traitlets.Float(0.0).tag(sync=True)  # what code 0 stands for
    high = traitlets.Float(1.0).tag(sync=True)  # and code 255
    stride = traitlets.Int(1).tag(sync=True)
    box: traitlets.List[Any] = traitlets.List().tag(sync=True)  # x1, y1, x2, y2 before it is moved
    reach = traitlets.Float(0.0).tag(sync=True)  # the longest way in each direction, px

    @classmethod
    def from_arrays(
        cls,
        image: Any,
        features: Any,
        stride: int,
        box: Any,
        *,
        reach: float | None = None,
        bins: int = 4,
        alt: str | None = None,
    ) -> RoIShift:
        """Store a picture, a map of it and a box.

        Args:
            image: (H, W), (1, H, W), (3, H, W) or (H, W, 3), values in [0, 1], at most 65,536 pixels.
            features: (h, w), one channel of a map with h = H / stride and w = W / stride.
            stride: Side of a cell, px.
            box: x1, y1, x2, y2 in pixels, not empty.
            reach: How far the box can be moved each way, px; default: one stride. It must stay inside.
            bins: Bins along each side at first, 1 to 7.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        pixels = encode.check_image(image)
        height, width = pixels.shape[:2]
        if height * width > labels.MOST_PIXELS:
            raise ValueError(
                f"image has shape {pixels.shape}; expected at most {labels.MOST_PIXELS} pixels"
            )
        stride = encode.check_whole("stride", stride, 1, min(height, width))
        values = encode.to_numpy(features).astype(np.float64)
        if values.shape != (height // stride, width // stride) or values.size > MOST_CELLS:
            raise ValueError(
                f"features has shape {values.shape}; expected {(height // stride, width // stride)}, "
                f"the picture's over the stride, and at most {MOST_CELLS} cells"
            )
        encode.check_finite("features", values)
        corners = encode.to_numpy(box).astype(np.float64)
        if corners.shape != (4,) or not np.isfinite(corners).all():
            raise ValueError(f"box is {box}; expected four numbers x1, y1, x2, y2")
        if (corners[2:] <= corners[:2]).any():
            raise ValueError(f"box is {corners.tolist()}; expected x1 < x2 and y1 < y2")
        reach = encode.check_positive("reach", stride if reach is None else reach)
        if (corners[:2] < reach).any() or (corners[2:] + reach > (width, height)).any():
            raise ValueError(
                f"box is {corners.tolist()}; expected {reach:g} px of the picture on each side of it"
            )
        bins = encode.check_whole("bins", bins, 1, 7)
        stored = encode.quantise(values.reshape(-1, 1))
        return cls(
            bins=bins,
            picture=labels.image_state(pixels),
            codes=stored.codes.tobytes(),
            low=float(stored.low[0]),
            high=float(stored.high[0]),
            stride=stride,
            box=np.round(corners, 3).tolist(),
            reach=reach,
            alt=alt
            or f"A picture of {height} by {width} pixels with a box on cells of {stride} pixels, and the grids "
            "that RoIPool and RoIAlign pool from it: the first jumps when the box moves, the second follows.",
        )

    def moved(self) -> list[float]:
        """Return the box where it is now, px."""
        x1, y1, x2, y2 = self.box
        return [x1 + self.x, y1 + self.y, x2 + self.x, y2 + self.y]

    def pooled(self) -> dict[str, np.ndarray]:
        """Return the grid (bins, bins) of each way, by the library."""
        height, width = self.picture["height"], self.picture["width"]
        shape = height // self.stride, width // self.stride
        codes = np.frombuffer(self.codes, np.uint8).reshape(1, 1, *shape) / 255.0
        features = torch.from_numpy(self.low + codes * (self.high - self.low))
        boxes = [torch.tensor([self.moved()], dtype=torch.float64)]
        scale = 1 / self.stride
        return {
            "pool": roi_pool(features, boxes, self.bins, scale)[0, 0].numpy(),
            "align": roi_align(features, boxes, self.bins, scale, sampling_ratio=2)[0, 0].numpy(),
        }

    def snapped(self) -> list[int]:
        """Return the box that RoIPool reads, px: its corners' cells, rounded, the last one included."""
        x1, y1, x2, y2 = (int(np.floor(v / self.stride + 0.5)) for v in self.moved())
        return [v * self.stride for v in (x1, y1, max(x2, x1) + 1, max(y2, y1) + 1)]

    def describe(self) -> str:
        """Return where the box is and which cells RoIPool takes for it."""
        if not self.box:
            return ""
        box = ", ".join(f"{v:g}" for v in self.moved())
        return f"box {box} px, read as {', '.join(map(str, self.snapped()))}"

    def poster(self) -> Image.Image:
        """Return the picture with the box, and what RoIPool reads instead."""
        canvas = still.classes(self.picture, None)
        scale = canvas.width / self.picture["width"]
        draw = ImageDraw.Draw(canvas)
        step = self.stride * scale
        for k in range(1, round(canvas.width / step)):
            draw.line([k * step, 0, k * step, canvas.height], fill=(120, 120, 120))
        for k in range(1, round(canvas.height / step)):
            draw.line([0, k * step, canvas.width, k * step], fill=(120, 120, 120))
        draw.rectangle([scale * v for v in self.snapped()], outline=POOL, width=3)
        draw.rectangle([scale * v for v in self.moved()], outline=ALIGN, width=3)
        return canvas
