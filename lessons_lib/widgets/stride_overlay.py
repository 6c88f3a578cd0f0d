"""Predictions of different strides, dragged over the picture."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from lessons_lib.widgets import labels, still
from lessons_lib.widgets.figure import Figure


class StrideOverlay(Figure):
    """A picture under a prediction, parted by a line that the reader drags.

    Left of the line stand the predicted classes in colour, right of it the picture with the
    outlines of the truth. Buttons change the prediction; the scores are those of this picture.
    Make one with :meth:`from_arrays`.

    Attributes:
        shown: Name of the prediction that is shown.
        divider: Place of the line, 0 (left) to 1 (right).
        opacity: Strength of the classes' colours, 0 to 1.
        grid: Whether the cells of the shown prediction's stride are drawn.
    """

    _helpers = ("labels",)

    shown = traitlets.Unicode("").tag(sync=True)
    divider = traitlets.Float(0.5, min=0, max=1).tag(sync=True)
    opacity = traitlets.Float(0.7, min=0, max=1).tag(sync=True)
    grid = traitlets.Bool(False).tag(sync=True)

    picture = traitlets.Dict().tag(sync=True)
    maps = traitlets.Bytes().tag(sync=True)  # labels.pack of the truth and the predictions
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    scores = traitlets.List(traitlets.Dict()).tag(sync=True)  # of {"iou", "mean", "wrong"}
    strides: traitlets.List[Any] = traitlets.List().tag(
        sync=True
    )  # int, or None where it is not known
    class_names = traitlets.List(traitlets.Unicode()).tag(sync=True)

    @classmethod
    def from_arrays(
        cls,
        image: Any,
        truth: Any,
        predictions: Mapping[str, Any],
        *,
        class_names: Sequence[str],
        strides: Mapping[str, int] | None = None,
        alt: str | None = None,
    ) -> StrideOverlay:
        """Store one picture with its truth and several predictions.

        Args:
            image: (H, W), (1, H, W), (3, H, W) or (H, W, 3), values in [0, 1], at most 65,536
                pixels.
            truth: (H, W), class of each pixel; 0 = background, 255 = does not count.
            predictions: By name, one to six label maps (H, W) without 255; the first is shown.
            class_names: Names of classes 0, 1, ….
            strides: Stride of each prediction in pixels; default: the number that its name
                begins with ("32s"), or unknown.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        classes = labels.check_classes(class_names)
        true = labels.check_labels("truth", truth, len(classes), ignore=True)
        pixels = labels.check_picture(image, true.shape)
        if not 1 <= len(predictions) <= 6:
            raise ValueError(f"predictions has {len(predictions)} entries; expected 1 to 6")
        maps = {
            str(name): labels.check_labels(
                f"predictions[{name!r}]", values, len(classes), true.shape
            )
            for name, values in predictions.items()
        }
        scores = [labels.score(true, values, len(classes)).state() for values in maps.values()]
        found = ", ".join(f"{n} {s['mean']:.2f}" for n, s in zip(maps, scores, strict=True))
        return cls(
            picture=labels.image_state(pixels),
            maps=labels.pack(true, maps.values()),
            names=list(maps),
            scores=scores,
            strides=_strides(list(maps), strides),
            class_names=classes,
            shown=next(iter(maps)),
            alt=alt
            or f"A picture of {true.shape[0]} by {true.shape[1]} pixels under predictions of its "
            f"{len(classes)} classes, with their mean IoU: {found}.",
        )

    @traitlets.validate("shown")
    def _check_shown(self, proposal: Any) -> str:
        if self.names and proposal["value"] not in self.names:
            raise ValueError(
                f"shown is {proposal['value']!r}; expected one of {', '.join(self.names)}"
            )
        return proposal["value"]

    def describe(self) -> str:
        """Return size and scores."""
        size = f"{self.picture.get('height', 0)}×{self.picture.get('width', 0)}"
        scores = (f"{n} {s['mean']:.3f}" for n, s in zip(self.names, self.scores, strict=True))
        return ", ".join([size, *scores])

    def poster(self) -> Image.Image:
        """Return the truth and the first and last prediction over the picture."""
        maps = labels.unpack(self.maps, self.picture, len(self.names))
        last = maps[-1:] if len(maps) > 2 else []
        return still.side_by_side(*(still.classes(self.picture, m) for m in [*maps[:2], *last]))


def _strides(names: list[str], given: Mapping[str, int] | None) -> list[int | None]:
    if given is not None:
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise ValueError(f"strides names {unknown[0]!r}, which is not in predictions")
        for name, stride in given.items():
            if not isinstance(stride, int | np.integer) or stride < 1:
                raise ValueError(f"strides[{name!r}] is {stride!r}; expected a whole number from 1")
        return [int(given[name]) if name in given else None for name in names]
    starts = [re.match(r"[1-9][0-9]*", name) for name in names]
    return [int(start[0]) if start else None for start in starts]
