"""Two boxes to drag, with their IoU; and scored boxes under a threshold to drag."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets
from PIL import Image, ImageDraw

from lessons_lib.widgets import encode, labels, still
from lessons_lib.widgets.figure import Figure

FIELD = (120, 80)
"""Width and height of the field in which the pair of boxes is dragged, px."""
MOST_BOXES = 200


class NMSPlayground(Figure):
    """Overlap and non-maximum suppression in the hand.

    On the left the reader drags two boxes and reads IoU and generalised IoU. On the right lies a
    picture with scored boxes; the reader drags the threshold and sees which boxes survive, and which
    survivor dropped each of the others. Make one with :meth:`from_arrays`.

    Attributes:
        pair: Two boxes x1, y1, x2, y2 in whole pixels of the field.
        threshold: IoU above which the worse of two boxes goes, 0 to 1.
        chosen: Row of the box that is looked at, −1 for none.
    """

    _helpers = ("labels",)

    pair = traitlets.List(traitlets.List(traitlets.Int())).tag(sync=True)
    threshold = traitlets.Float(0.5, min=0.0, max=1.0).tag(sync=True)
    chosen = traitlets.Int(-1).tag(sync=True)

    field = traitlets.List(traitlets.Int(), default_value=list(FIELD)).tag(sync=True)
    picture = traitlets.Dict().tag(sync=True)
    boxes = traitlets.List(traitlets.List(traitlets.Float())).tag(
        sync=True
    )  # (N, 4), px, scores falling
    scores = traitlets.List(traitlets.Float()).tag(sync=True)
    truth = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)  # (T, 4), px

    @classmethod
    def from_arrays(
        cls,
        image: Any,
        boxes: Any,
        scores: Any,
        truth: Any = (),
        *,
        pair: Any = ((20, 20, 70, 60), (50, 30, 100, 70)),
        threshold: float = 0.5,
        alt: str | None = None,
    ) -> NMSPlayground:
        """Store a picture with its scored boxes.

        Args:
            image: (H, W), (1, H, W), (3, H, W) or (H, W, 3), values in [0, 1], at most 65,536 pixels.
            boxes: (N, 4) as x1, y1, x2, y2 in pixels, before suppression, 1 to 200 of them.
            scores: (N,).
            truth: (T, 4), boxes of the true objects.
            pair: The two boxes to begin with, in whole pixels of the field of 120 by 80.
            threshold: Where the slider begins.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        pixels = encode.check_image(image)
        if pixels.shape[0] * pixels.shape[1] > labels.MOST_PIXELS:
            raise ValueError(
                f"image has shape {pixels.shape}; expected at most {labels.MOST_PIXELS} pixels"
            )
        found, true, two = (
            _boxes(name, values)
            for name, values in [("boxes", boxes), ("truth", truth), ("pair", pair)]
        )
        values = encode.to_numpy(scores).astype(np.float64)
        if not 1 <= len(found) <= MOST_BOXES:
            raise ValueError(f"boxes has {len(found)} rows; expected 1 to {MOST_BOXES}")
        encode.check_shape("scores", values, (len(found),))
        encode.check_finite("scores", values)
        encode.check_shape("pair", two, (2, 4))
        inside = (two >= 0).all() and (two <= np.tile(FIELD, 2)).all()
        if not inside or (two[:, 2:] <= two[:, :2]).any() or (two != np.rint(two)).any():
            raise ValueError(
                f"pair is {two.tolist()}; expected boxes in whole pixels within 120 by 80"
            )
        order = np.argsort(-values, kind="stable")
        return cls(
            picture=labels.image_state(pixels),
            boxes=np.round(found[order], 2).tolist(),
            scores=np.round(values[order], 3).tolist(),
            truth=np.round(true, 2).tolist(),
            pair=two.astype(int).tolist(),
            threshold=threshold,
            alt=alt
            or f"Two boxes to drag with their overlap, and a picture with {len(found)} scored boxes "
            f"round {len(true)} objects under a threshold to drag.",
        )

    def describe(self) -> str:
        """Return the numbers of boxes and objects."""
        return f"{len(self.boxes)} boxes, {len(self.truth)} objects, threshold {self.threshold:g}"

    def poster(self) -> Image.Image:
        """Return the pair, and the picture with all boxes."""
        scale = 288 / FIELD[1]
        field = Image.new("RGB", (round(FIELD[0] * scale), 288), "white")
        pen = ImageDraw.Draw(field)
        for k, box in zip((5, 6), self.pair, strict=True):
            colour = tuple(int(c) for c in still.colours(np.array([k]))[0])
            pen.rectangle([v * scale for v in box], outline=colour, width=4)
        picture = still.classes(self.picture, None)
        pen = ImageDraw.Draw(picture)
        scale = picture.height / self.picture["height"]
        for box in self.boxes:
            pen.rectangle([v * scale for v in box], outline=(255, 255, 255))
        return still.side_by_side(field, picture)


def _boxes(name: str, values: Any) -> np.ndarray:
    array = encode.to_numpy(values).astype(np.float64)
    if array.size == 0:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(f"{name} has shape {array.shape}; expected (N, 4)")
    encode.check_finite(name, array)
    return array
