"""Predictions with and without each skip connection, to switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import traitlets
from PIL import Image

from lessons_lib.widgets import labels, still
from lessons_lib.widgets.figure import Figure


class SkipSwitch(Figure):
    """A prediction for every choice of skip levels: switch one off and see what is lost.

    The predictions are made beforehand, one for each of the 2^L choices; the page shows the
    chosen one, what is wrong in it, and its scores on this picture. Make one with
    :meth:`from_arrays`.

    Attributes:
        state: A "1" (on) or "0" (off) for each level, in the order of the level names.
        errors: Whether wrong pixels are marked.
    """

    _helpers = ("labels",)

    state = traitlets.Unicode("").tag(sync=True)
    errors = traitlets.Bool(True).tag(sync=True)

    picture = traitlets.Dict().tag(sync=True)
    maps = traitlets.Bytes().tag(sync=True)  # labels.pack of the truth and the predictions
    scores = traitlets.List(traitlets.Dict()).tag(sync=True)  # by the state read as a binary number
    class_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    level_names = traitlets.List(traitlets.Unicode()).tag(sync=True)

    @classmethod
    def from_arrays(
        cls,
        image: Any,
        truth: Any,
        predictions: Mapping[tuple[bool, ...], Any],
        *,
        class_names: Sequence[str],
        level_names: Sequence[str],
        alt: str | None = None,
    ) -> SkipSwitch:
        """Store one picture with its truth and 2^L predictions.

        Args:
            image: (H, W), (1, H, W), (3, H, W) or (H, W, 3), values in [0, 1], at most 65,536
                pixels.
            truth: (H, W), class of each pixel; 0 = background, 255 = does not count.
            predictions: By L truth values, one for each level (True = on), all 2^L of them; label
                maps (H, W) without 255.
            class_names: Names of classes 0, 1, ….
            level_names: Names of the L skip levels, 1 to 4 of them.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        classes = labels.check_classes(class_names)
        true = labels.check_labels("truth", truth, len(classes), ignore=True)
        pixels = labels.check_picture(image, true.shape)
        levels = [level_names] if isinstance(level_names, str) else list(level_names)
        if not 1 <= len(levels) <= 4:
            raise ValueError(f"level_names has {len(levels)} names; expected 1 to 4")
        states = list(product((False, True), repeat=len(levels)))
        given = {tuple(bool(v) for v in key): values for key, values in predictions.items()}
        missing = [key for key in states if key not in given]
        if missing:
            raise ValueError(
                f"predictions lacks {missing[0]}; expected all {len(states)} choices of "
                f"{len(levels)} levels"
            )
        if len(predictions) != len(states):
            raise ValueError(f"predictions has {len(predictions)} keys; expected {len(states)}")
        maps = [
            labels.check_labels(f"predictions[{key}]", given[key], len(classes), true.shape)
            for key in states
        ]
        scores = [labels.score(true, values, len(classes)).state() for values in maps]
        return cls(
            picture=labels.image_state(pixels),
            maps=labels.pack(true, maps),
            scores=scores,
            class_names=classes,
            level_names=[str(name) for name in levels],
            state="1" * len(levels),
            alt=alt
            or f"A prediction with {len(levels)} skip levels to switch: mean IoU "
            f"{scores[-1]['mean']:.2f} with all of them, {scores[0]['mean']:.2f} with none.",
        )

    @traitlets.validate("state")
    def _check_state(self, proposal: Any) -> str:
        state = proposal["value"]
        if self.level_names and (len(state) != len(self.level_names) or set(state) - set("01")):
            raise ValueError(
                f"state is {state!r}; expected {len(self.level_names)} digits, each 0 or 1"
            )
        return state

    def describe(self) -> str:
        """Return size, levels and the scores with all levels and with none."""
        size = f"{self.picture.get('height', 0)}×{self.picture.get('width', 0)}"
        if not self.scores:
            return size
        ends = f"all {self.scores[-1]['mean']:.3f}, none {self.scores[0]['mean']:.3f}"
        return f"{size}, {len(self.level_names)} levels, {ends}"

    def poster(self) -> Image.Image:
        """Return the truth, the prediction with no level and the one with all."""
        maps = labels.unpack(self.maps, self.picture, len(self.scores))
        return still.side_by_side(
            *(still.classes(self.picture, m) for m in (maps[0], maps[1], maps[-1]))
        )
