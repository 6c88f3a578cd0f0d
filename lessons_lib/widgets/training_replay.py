"""Recorded training steps of one picture, to scrub and to play."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from lessons_lib.widgets import encode, still
from lessons_lib.widgets.figure import Figure


class TrainingReplay(Figure):
    """Embeddings of one picture at successive training steps: watch the clusters part.

    All steps are seen from one direction: the plane of the two principal components of the last
    step, so that what moves on the screen has moved in the embedding. Make one with
    :meth:`from_arrays`.

    Attributes:
        frame: Index of the recorded step that is shown.
    """

    frame = traitlets.Int(0).tag(sync=True)

    picture = traitlets.Dict().tag(sync=True)
    codes = traitlets.Bytes().tag(sync=True)  # uint8 (T, points, 2)
    low = traitlets.List(traitlets.Float()).tag(sync=True)  # (2,) value of code 0
    high = traitlets.List(traitlets.Float()).tag(sync=True)  # (2,) value of code 255
    chosen = traitlets.Bytes().tag(sync=True)  # uint8 (points,), the instance of each point
    dims = traitlets.Int(2).tag(sync=True)
    kept = traitlets.Float(1.0).tag(sync=True)  # share of the last step's variance in the plane
    steps = traitlets.List(traitlets.Int()).tag(sync=True)  # (T,) training step of each frame
    curves = traitlets.List(traitlets.Dict()).tag(sync=True)  # of {"name": str, "values": (T,)}

    @classmethod
    def from_arrays(
        cls,
        image: Any,
        instances: Any,
        embeddings: Any,
        steps: Sequence[int],
        scores: Sequence[float] | None = None,
        losses: Sequence[float] | None = None,
        *,
        score_name: str = "score",
        loss_name: str = "loss",
        max_points: int = 500,
        alt: str | None = None,
    ) -> TrainingReplay:
        """Store one picture with its embeddings at T training steps.

        Args:
            image: (H, W), (1, H, W), (3, H, W) or (H, W, 3), values in [0, 1].
            instances: (H, W), true instance ids, 0 = background, at most 255 different.
            embeddings: (T, D, H, W), or a sequence of T of (D, H, W); arrays or tensors.
            steps: (T,) rising training steps, at least two.
            scores: (T,) a score of each step, drawn as a curve.
            losses: (T,) the loss of each step, drawn as a curve.
            score_name: What the score is called.
            loss_name: What the loss is called.
            max_points: Most pixels stored; evenly spaced ones, the same for every step, each
                instance with its share.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        pixels = encode.check_image(image)
        ids = encode.check_instances(instances, pixels.shape[:2])
        mask = encode.check_foreground(None, ids)
        numbers = _check_steps(steps)
        if max_points < 1:
            raise ValueError(f"max_points is {max_points}; expected at least 1")
        if len(embeddings) != len(numbers):
            raise ValueError(
                f"embeddings has {len(embeddings)} steps; expected {len(numbers)}, one for each of steps"
            )
        frames = [_foreground(values, mask, k) for k, values in enumerate(embeddings)]
        if any(frame.shape != frames[0].shape for frame in frames):
            sizes = sorted({frame.shape[1] for frame in frames})
            raise ValueError(f"embeddings has steps of {sizes} dimensions; expected one number")

        plane = encode.project(frames[-1])
        labels = ids[mask]
        chosen = _evenly(labels, max_points)
        flat = np.stack([plane.apply(frame[chosen]) for frame in frames])
        stored = encode.quantise(flat)
        curves = [
            {"name": name, "values": _check_curve(argument, values, len(numbers))}
            for argument, name, values in (
                ("scores", score_name, scores),
                ("losses", loss_name, losses),
            )
            if values is not None
        ]
        return cls(
            picture=encode.picture_state(pixels, ids, mask),
            codes=stored.codes.tobytes(),
            low=stored.low.tolist(),
            high=stored.high.tolist(),
            chosen=labels[chosen].astype(np.uint8).tobytes(),
            dims=frames[0].shape[1],
            kept=round(plane.kept, 4),
            steps=numbers,
            curves=curves,
            alt=alt
            or f"A picture with {int(ids.max())} instances beside the embeddings of its pixels at "
            f"{len(numbers)} steps of training, from step {numbers[0]} to step {numbers[-1]}.",
        )

    def positions(self) -> np.ndarray:
        """Return the points as the page sees them: float64 (T, points, 2)."""
        codes = np.frombuffer(self.codes, np.uint8).reshape(len(self.steps), -1, 2)
        return encode.Quantised(codes, np.array(self.low), np.array(self.high)).restore()

    def describe(self) -> str:
        """Return size and steps."""
        size = f"{self.picture.get('height', 0)}×{self.picture.get('width', 0)}"
        first, last = (self.steps[0], self.steps[-1]) if self.steps else (0, 0)
        return f"{size}, D={self.dims}, {len(self.steps)} steps from {first} to {last}"

    def poster(self) -> Image.Image:
        """Return the picture beside the first and the last step."""
        ids = np.frombuffer(self.chosen, np.uint8)
        moving = self.positions()
        bounds = np.array([self.low, self.high])
        ends = [still.scatter(moving[k], ids, bounds=bounds) for k in (0, -1)]
        return still.side_by_side(still.picture(self.picture), *ends)


def _foreground(values: Any, mask: np.ndarray, index: int) -> np.ndarray:
    """Return one step's foreground embeddings, float64 (pixels, D)."""
    array = encode.to_numpy(values)
    name = f"embeddings[{index}]"
    if array.ndim != 3 or array.shape[0] < 1 or array.shape[1:] != mask.shape:
        raise ValueError(
            f"{name} has shape {array.shape}; expected (D, {mask.shape[0]}, {mask.shape[1]})"
        )
    points = array[:, mask].T.astype(np.float64)
    encode.check_finite(name, points)
    return points


def _evenly(labels: np.ndarray, most: int) -> np.ndarray:
    """Return the positions of at most ``most`` pixels, instance by instance, evenly spaced."""
    order = np.argsort(labels, kind="stable")
    count = min(most, len(order))
    return order[np.arange(count) * len(order) // count]


def _check_steps(steps: Sequence[int]) -> list[int]:
    numbers = [int(step) for step in steps]
    if len(numbers) < 2 or any(b <= a for a, b in pairwise(numbers)):
        raise ValueError(f"steps is {numbers}; expected at least two rising numbers")
    return numbers


def _check_curve(name: str, values: Sequence[float], length: int) -> list[float]:
    array = encode.to_numpy(values)
    encode.check_shape(name, array, (length,))
    encode.check_finite(name, array)
    return encode.as_floats(array)
