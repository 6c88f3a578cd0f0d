"""A saliency map to paint, and what five measures say of it."""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import traitlets
from PIL import Image

from lessons_lib.data.pictures import outlines
from lessons_lib.saliency import SaliencyScores
from lessons_lib.widgets import encode, still
from lessons_lib.widgets.figure import Figure

MOST_PIXELS = 4096
OUTLINE = (230, 159, 0)


class SaliencyPainter(Figure):
    """A true object, a prediction over it that the reader paints, and five measures that follow.

    MAE, the maximum of F, S, the maximum of E, and the boundary F, as ``lessons_lib.saliency`` has them. A brush
    of any value, ready-made maps, blur and undo; with the mouse, a finger or the keys. Make one with
    :meth:`from_arrays`.

    Attributes:
        codes: The map, one byte a pixel (0..255), by rows; set it and the figure follows, and the other way
            round.
    """

    codes = traitlets.Bytes().tag(sync=True)

    height = traitlets.Int(0).tag(sync=True)
    width = traitlets.Int(0).tag(sync=True)
    truth = traitlets.Bytes().tag(sync=True)  # a bit a pixel, by rows
    radius = traitlets.Float(0.0).tag(sync=True)  # within which outlines agree, px
    names: traitlets.List[str] = traitlets.List(traitlets.Unicode()).tag(sync=True)
    ready = traitlets.Bytes().tag(sync=True)  # the ready-made maps, one after another, as codes

    @classmethod
    def from_arrays(
        cls,
        truth: Any,
        prediction: Any = None,
        *,
        tolerance: float = 0.0075,
        alt: str | None = None,
    ) -> SaliencyPainter:
        """Store a true object and the map to begin with.

        Args:
            truth: bool (H, W), at most 4096 pixels, some of them salient and some not.
            prediction: (H, W), values in [0, 1], stored in 256 steps; default: the truth, blurred.
            tolerance: of the boundary F, as a share of the diagonal, at least 0.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        mask = encode.to_numpy(truth)
        if mask.ndim != 2 or mask.dtype != bool or mask.size > MOST_PIXELS:
            raise ValueError(
                f"truth is {mask.dtype} {mask.shape}; expected bool (H, W), at most {MOST_PIXELS} pixels"
            )
        if mask.all() or not mask.any():
            raise ValueError(
                f"truth has {int(mask.sum())} salient pixels of {mask.size}; expected some, not all"
            )
        if not (math.isfinite(tolerance) and tolerance >= 0):
            raise ValueError(f"tolerance is {tolerance}; expected a finite number of at least 0")
        ready = _ready_maps(mask)
        if prediction is None:
            start = ready["blurred"]
        else:
            values = encode.to_numpy(prediction)
            encode.check_shape("prediction", values, mask.shape)
            start = encode.check_image(values)
        return cls(
            height=mask.shape[0],
            width=mask.shape[1],
            truth=np.packbits(mask).tobytes(),
            codes=start.tobytes(),
            radius=float(tolerance * math.hypot(*mask.shape)),
            names=list(ready),
            ready=b"".join(codes.tobytes() for codes in ready.values()),
            alt=alt
            or f"A saliency map of {mask.shape[0]} by {mask.shape[1]} pixels to paint, with the outline of the true "
            "object, and five measures of it as bars.",
        )

    def mask(self) -> np.ndarray:
        """Return the true object, bool (H, W)."""
        bits = np.unpackbits(np.frombuffer(self.truth, np.uint8), count=self.height * self.width)
        return bits.astype(bool).reshape(self.height, self.width)

    def prediction(self) -> np.ndarray:
        """Return the map as it is painted now, uint8 (H, W)."""
        return np.frombuffer(self.codes, np.uint8).reshape(self.height, self.width)

    def scores(self) -> dict[str, float]:
        """Return what the library says of the map."""
        tolerance = self.radius / math.hypot(self.height, self.width)
        scores = SaliencyScores(boundary_f=True, tolerance=tolerance)
        scores.update(self.prediction(), self.mask())
        return scores.compute()

    def describe(self) -> str:
        """Return the size and the measures."""
        if not self.codes:
            return ""
        got = self.scores()
        shown = {"MAE": "MAE", "F": "F_max", "S": "S", "E": "E_max", "boundary F": "F_boundary"}
        values = ", ".join(f"{name} {got[key]:.3f}" for name, key in shown.items())
        return f"{self.height}×{self.width}: {values}"

    def poster(self) -> Image.Image:
        """Return the map with the object's outline, and the truth."""
        panels = []
        for gray in (self.prediction(), self.mask().astype(np.uint8) * 255):
            pixels = np.repeat(gray[..., None], 3, 2)
            pixels[outlines(self.mask().astype(np.uint8))] = OUTLINE
            panels.append(
                still.classes(encode.picture_state(pixels, self.mask(), self.mask()), None)
            )
        return still.side_by_side(*panels)


def _ready_maps(mask: np.ndarray) -> dict[str, np.ndarray]:
    """Maps that each please some measures and not others, uint8 (H, W)."""
    full = mask.astype(np.uint8) * 255
    rows, columns = np.nonzero(mask)
    size = max(2, round(0.3 * math.sqrt(mask.sum())))
    centre = round(float(rows.mean())), round(float(columns.mean()))
    hole = full.copy()
    hole[
        max(0, centre[0] - size // 2) : centre[0] - size // 2 + size,
        max(0, centre[1] - size // 2) : centre[1] - size // 2 + size,
    ] = 0
    moved = np.zeros_like(full)
    step = max(1, round(0.06 * mask.shape[1]))
    moved[:, step:] = full[:, :-step]
    return {
        "truth": full,
        "all black": np.zeros_like(full),
        "all gray": np.full_like(full, 128),
        "shy": full // 3,
        "shifted": moved,
        "hole": hole,
        "outline only": outlines(mask.astype(np.uint8)).astype(np.uint8) * 255,
        "blurred": cv2.GaussianBlur(full, (0, 0), mask.shape[1] / 24),
    }
