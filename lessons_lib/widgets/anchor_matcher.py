"""Anchors over a picture: which of them have to learn what, by two thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from PIL import Image, ImageDraw

from lessons_lib.widgets import encode, labels, still
from lessons_lib.widgets.figure import Figure

MOST_ANCHORS = 20_000
COLOURS = {"object": (0, 114, 178), "ignored": (230, 159, 0)}


class AnchorMatcher(Figure):
    """Every cell of every level as a dot: an object's, ignored, or background.

    The reader moves the two thresholds, looks at one level of the pyramid or at all, and picks a cell
    to see its anchors with their overlaps. Make one with :meth:`from_arrays`.

    Attributes:
        high: IoU from which an anchor belongs to an object.
        low: IoU below which it is background; never above ``high``.
        keep_best: Whether the best anchors of an object belong to it at any overlap.
        level: Which level is shown, −1 for all.
        chosen: Level, row and column of the cell that is looked at; empty: none.
    """

    _helpers = ("labels",)

    high = traitlets.Float(0.7, min=0.0, max=1.0).tag(sync=True)
    low = traitlets.Float(0.3, min=0.0, max=1.0).tag(sync=True)
    keep_best = traitlets.Bool(True).tag(sync=True)
    level = traitlets.Int(-1, min=-1).tag(sync=True)
    chosen = traitlets.List(traitlets.Int()).tag(sync=True)

    picture = traitlets.Dict().tag(sync=True)
    boxes: traitlets.List[Any] = traitlets.List().tag(sync=True)  # (T, 4), px
    strides = traitlets.List(traitlets.Int()).tag(sync=True)  # of each level, px
    shapes: traitlets.List[Any] = traitlets.List().tag(sync=True)  # of each level (K, 2), px

    @classmethod
    def from_arrays(
        cls,
        image: Any,
        boxes: Any,
        strides: Sequence[int],
        shapes: Sequence[Sequence[tuple[float, float]]],
        *,
        alt: str | None = None,
    ) -> AnchorMatcher:
        """Store a picture with its objects, and what anchors there are.

        Args:
            image: (H, W), (1, H, W), (3, H, W) or (H, W, 3), values in [0, 1], at most 65,536 pixels.
            boxes: (T, 4) as x1, y1, x2, y2 in pixels, of the objects, at least one.
            strides: Of each level of the pyramid, px; finest first.
            shapes: Width and height of the anchors of each level, px; as many for each.
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
        true = encode.to_numpy(boxes).astype(np.float64)
        if true.ndim != 2 or true.shape[1] != 4 or not len(true):
            raise ValueError(f"boxes has shape {true.shape}; expected (T, 4) with T of at least 1")
        if not np.isfinite(true).all() or (true[:, 2:] <= true[:, :2]).any():
            raise ValueError("boxes has an empty box; each needs x1 < x2 and y1 < y2")
        sizes = [np.asarray(level, np.float64) for level in shapes]
        if len(strides) != len(sizes) or not sizes:
            raise ValueError(
                f"strides has {len(strides)} levels and shapes {len(sizes)}; expected as many"
            )
        if any(s.shape != sizes[0].shape or s.ndim != 2 or s.shape[1] != 2 for s in sizes):
            raise ValueError("shapes must hold as many pairs of width and height for each level")
        if min(strides) < 1 or min(float(s.min()) for s in sizes) <= 0:
            raise ValueError("strides and shapes must be positive")
        count = sum(-(-height // s) * -(-width // s) * len(sizes[0]) for s in strides)
        if count > MOST_ANCHORS:
            raise ValueError(
                f"strides {list(strides)} make {count} anchors; expected at most {MOST_ANCHORS}"
            )
        return cls(
            picture=labels.image_state(pixels),
            boxes=np.round(true, 2).tolist(),
            strides=[int(s) for s in strides],
            shapes=[np.round(s, 2).tolist() for s in sizes],
            alt=alt
            or f"A picture of {height} by {width} pixels with {len(true)} objects, and {count} anchors on "
            f"{len(strides)} levels, coloured by what each has to learn.",
        )

    @traitlets.validate("low", "high")
    def _check_order(self, proposal: Any) -> float:
        value = float(proposal["value"])
        # the other threshold is pushed along, so that low never exceeds high
        if proposal["trait"].name == "low" and value > self.high:
            self.high = value
        if proposal["trait"].name == "high" and value < self.low:
            self.low = value
        return value

    def anchors(self) -> list[np.ndarray]:
        """Return the anchors of each level, float64 (rows, columns, K, 4), around the cells' corners."""
        height, width = self.picture["height"], self.picture["width"]
        found = []
        for stride, shapes in zip(self.strides, self.shapes, strict=True):
            y, x = np.mgrid[: -(-height // stride), : -(-width // stride)] * stride
            corner = np.stack([x, y, x, y], -1)[:, :, None]
            half = np.asarray(shapes) / 2
            found.append(corner + np.concatenate([-half, half], 1))
        return found

    def matches(self) -> list[np.ndarray]:
        """Return for each level what each anchor learns (rows, columns, K): object, −1 background, −2 ignored."""
        levels = self.anchors()
        iou = _iou(np.concatenate([a.reshape(-1, 4) for a in levels]), np.asarray(self.boxes))
        best, owner = iou.max(1), iou.argmax(1)
        learned = np.where(best >= self.high, owner, np.where(best < self.low, -1, -2))
        if self.keep_best:
            top = iou.max(0)
            chosen = ((iou == top) & (top > 0)).any(1)
            learned = np.where(chosen, owner, learned)
        ends = np.cumsum([a[..., 0].size for a in levels])[:-1]
        return [
            part.reshape(a.shape[:3])
            for part, a in zip(np.split(learned, ends), levels, strict=True)
        ]

    def describe(self) -> str:
        """Return what the anchors learn, in numbers."""
        if not self.boxes:
            return ""
        learned = np.concatenate([m.ravel() for m in self.matches()])
        return (
            f"{(learned >= 0).sum()} of objects, {(learned == -2).sum()} ignored, "
            f"{(learned == -1).sum()} background"
        )

    def poster(self) -> Image.Image:
        """Return the picture with its objects, and each cell that learns an object or is ignored."""
        canvas = still.classes(self.picture, None)
        scale = canvas.width / self.picture["width"]
        draw = ImageDraw.Draw(canvas)
        for box in self.boxes:
            draw.rectangle([scale * v for v in box], outline=(255, 255, 255), width=2)
        for stride, learned in zip(self.strides, self.matches(), strict=True):
            for (row, column), kind in _strongest(learned):
                x, y = scale * column * stride, scale * row * stride
                draw.ellipse(
                    [x - 4, y - 4, x + 4, y + 4], fill=COLOURS[kind], outline=(255, 255, 255)
                )
        return canvas


def _strongest(learned: np.ndarray) -> list[tuple[tuple[int, int], str]]:
    """Cells (row, column) in which an anchor is an object's, or else ignored."""
    of_object, ignored = (learned >= 0).any(2), (learned == -2).any(2)
    kinds = [("object", of_object), ("ignored", ignored & ~of_object)]
    return [((int(r), int(c)), kind) for kind, mask in kinds for r, c in np.argwhere(mask)]


def _iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    low = np.maximum(first[:, None, :2], second[:, :2])
    high = np.minimum(first[:, None, 2:], second[:, 2:])
    overlap = (high - low).clip(0).prod(2)
    areas = [(b[:, 2:] - b[:, :2]).prod(1) for b in (first, second)]
    return overlap / (areas[0][:, None] + areas[1] - overlap)
