"""Saliency maps drawn one at a time, and the vote they make."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from PIL import Image, ImageDraw

from lessons_lib.widgets import encode, labels, still
from lessons_lib.widgets.figure import Figure

LEVELS = 7
"""A stored sample has the values 0, 1/7, …, 1: what networks put out is mostly near the ends."""
VOTE = 8
"""Added to the stored value of a pixel that its sample calls salient."""
HIT = 0.5
"""IoU from which a sample counts as an annotator's object."""
LEAST, MOST = 0.05, 0.95
"""Range of the threshold's slider."""
MOST_PICTURES, MOST_SAMPLES, MOST_ANNOTATORS = 12, 64, 6


class SampleVote(Figure):
    """Draw samples of a model that has several answers, and watch what they agree on.

    The reader picks a picture and draws samples; the figure shows the newest, the share of the samples drawn so far
    that call each pixel salient, and the pixels that more than a chosen share calls so: with one half, the
    majority vote of UC-Net (Zhang et al., 2020, section 3.5). As in ``lessons_lib.saliency.consensus``, a sample
    votes for the pixels that reach its own adaptive threshold, twice its mean (Achanta et al., 2009). Beside them
    is what each annotator drew, with how many samples hit it: IoU of at least ½.

    Args:
        images: Pictures (n, 3, H, W) in [0, 1], at most 12 of at most 16,384 pixels.
        samples: Saliency maps (n, N, H, W) in [0, 1], at most 64 a picture; stored in 8 levels, and the votes exactly.
        annotations: (n, A, H, W), one map an annotator, salient where above ½; at most 6.
        names: Of the A annotators.
        alt: What the figure shows; default: a sentence with its numbers.

    Attributes:
        picture: Which picture is shown, from 0; set it and the figure follows, and the other way round.
        drawn: How many samples are drawn, from 1.
        threshold: Share of the samples that must call a pixel salient, 0.05 to 0.95.

    Raises:
        ValueError: If an argument is not as above; the message names it.
    """

    _helpers = ("labels",)

    picture = traitlets.Int(0).tag(sync=True)
    drawn = traitlets.Int(1).tag(sync=True)
    threshold = traitlets.Float(0.5).tag(sync=True)

    pictures = traitlets.List(traitlets.Dict()).tag(sync=True)
    samples = traitlets.Bytes().tag(sync=True)  # labels.runs of (n, N, H, W): 7ths, and VOTE
    annotations = traitlets.Bytes().tag(sync=True)  # labels.runs of (n, A, H, W), 0 or 1
    count = traitlets.Int(0).tag(sync=True)  # N
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(
        self,
        images: Any = None,
        samples: Any = None,
        annotations: Any = None,
        names: Sequence[str] = ("nearness", "size", "contrast"),
        alt: str | None = None,
        **state: Any,
    ) -> None:
        if images is None:
            super().__init__(**state)
            return
        given = encode.to_numpy(images)
        if given.ndim != 4 or given.shape[1] != 3 or given.size == 0:
            raise ValueError(f"images has shape {given.shape}; expected (n, 3, H, W)")
        n, _, height, width = given.shape
        if n > MOST_PICTURES or height * width > labels.MOST_PIXELS // 4:
            raise ValueError(
                f"images has shape {given.shape}; expected at most {MOST_PICTURES} pictures of at most "
                f"{labels.MOST_PIXELS // 4} pixels"
            )
        maps = _check_maps("samples", samples, (n, height, width), MOST_SAMPLES)
        drawn_by = _check_maps("annotations", annotations, (n, height, width), MOST_ANNOTATORS)
        if isinstance(names, str) or len(names) != drawn_by.shape[1]:
            raise ValueError(f"names is {names!r}; expected {drawn_by.shape[1]} names")
        super().__init__(
            pictures=[labels.image_state(encode.check_image(image)) for image in given],
            samples=labels.runs((np.rint(maps * LEVELS) + VOTE * votes_of(maps)).astype(np.uint8)),
            annotations=labels.runs((drawn_by > 0.5).astype(np.uint8)),
            count=maps.shape[1],
            names=[str(name) for name in names],
            alt=alt
            or f"One of {n} pictures with what {len(names)} annotators marked in it, beside a saliency map drawn "
            f"from {maps.shape[1]}, the share of votes of those drawn so far, and what most agree on.",
            **state,
        )

    @traitlets.validate("picture")
    def _check_picture(self, proposal: Any) -> int:
        return encode.check_whole("picture", proposal["value"], 0, max(len(self.pictures) - 1, 0))

    @traitlets.validate("drawn")
    def _check_drawn(self, proposal: Any) -> int:
        return encode.check_whole("drawn", proposal["value"], 1, max(self.count, 1))

    @traitlets.validate("threshold")
    def _check_threshold(self, proposal: Any) -> float:
        value = proposal["value"]
        if not LEAST <= value <= MOST:
            raise ValueError(f"threshold is {value:g}; expected a number from {LEAST} to {MOST}")
        return value

    def stored_samples(self) -> np.ndarray:
        """Return the samples as the page sees them, float64 (n, N, H, W) in [0, 1]."""
        return self._unpack(self.samples, self.count) % VOTE / LEVELS

    def stored_annotations(self) -> np.ndarray:
        """Return what the annotators drew, bool (n, A, H, W)."""
        return self._unpack(self.annotations, len(self.names)) > 0

    def votes(self) -> np.ndarray:
        """Return whether each sample of the shown picture calls a pixel salient, bool (N, H, W)."""
        return self._unpack(self.samples, self.count)[self.picture] >= VOTE

    def hits(self) -> list[int]:
        """Return how many of the drawn samples hit each annotator's object, and how many none."""
        votes = self.votes()[: self.drawn, None]
        drawn_by = self.stored_annotations()[self.picture][None]
        both, either = (votes & drawn_by).sum((2, 3)), (votes | drawn_by).sum((2, 3))
        hit = both >= HIT * np.maximum(either, 1)
        return [*hit.sum(0).tolist(), int((~hit.any(1)).sum())]

    def describe(self) -> str:
        """Return how many pictures, samples and annotators there are."""
        return f"{len(self.pictures)} pictures, {self.count} samples, {len(self.names)} annotators"

    def poster(self) -> Image.Image:
        """Return the picture with what the annotators drew, the votes of all samples and the majority's outline."""
        state = self.pictures[self.picture]
        share = self.votes().mean(0)
        scale = 288 / state["height"]
        shown = still.classes(state, None)
        draw = ImageDraw.Draw(shown)
        for k, mask in enumerate(self.stored_annotations()[self.picture], 1):
            inset = scale * 0.16 * k  # one within the other where annotators agree
            for line in _edges(mask):
                draw.line(
                    [(x * scale + inset, y * scale + inset) for x, y in line],
                    fill=tuple(int(v) for v in still.colours(np.array(k))),
                    width=3,
                )
        gray = Image.fromarray(np.rint(255 * share).astype(np.uint8)).convert("RGB")
        gray = gray.resize(shown.size, Image.Resampling.NEAREST)
        return still.side_by_side(
            shown, gray, still.classes(state, (share > self.threshold).astype(np.uint8))
        )

    def _unpack(self, packed: bytes, maps: int) -> np.ndarray:
        first = self.pictures[0]
        shape = len(self.pictures), maps, first["height"], first["width"]
        return labels.unpack_runs(packed).reshape(shape)


def votes_of(maps: np.ndarray) -> np.ndarray:
    """Whether a sample calls a pixel salient: where it reaches twice its mean, 1 at most, and is above 0.

    Args:
        maps: (..., H, W) in [0, 1].
    """
    limit = np.minimum(2 * maps.mean((-2, -1), keepdims=True), 1)
    return (maps >= limit) & (maps > 0)


def _check_maps(name: str, values: Any, shape: tuple[int, int, int], most: int) -> np.ndarray:
    """Maps float64 (n, M, H, W) in [0, 1], or ValueError."""
    maps = encode.to_numpy(values).astype(np.float64)
    n, height, width = shape
    if (
        maps.ndim != 4
        or (maps.shape[0], *maps.shape[2:]) != shape
        or not 1 <= maps.shape[1] <= most
    ):
        raise ValueError(
            f"{name} has shape {maps.shape}; expected ({n}, 1 to {most}, {height}, {width})"
        )
    encode.check_finite(name, maps)
    if maps.min() < 0 or maps.max() > 1:
        raise ValueError(f"{name} spans {maps.min():g} to {maps.max():g}; expected 0 to 1")
    return maps


def _edges(mask: np.ndarray) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Borders of a mask between pixels, as lines from (x, y) to (x, y)."""
    padded = np.pad(mask, 1).astype(np.int8)
    across = np.argwhere(np.diff(padded, axis=0)[:, 1:-1])
    along = np.argwhere(np.diff(padded, axis=1)[1:-1])
    return [
        *(((int(x), int(y)), (int(x) + 1, int(y))) for y, x in across),
        *(((int(x), int(y)), (int(x), int(y) + 1)) for y, x in along),
    ]
