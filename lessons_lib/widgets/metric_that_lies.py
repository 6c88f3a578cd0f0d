"""Four metrics of one prediction, and how far apart they can be driven."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from lessons_lib.widgets import encode, labels, still
from lessons_lib.widgets.figure import Figure


class MetricThatLies(Figure):
    """A label map whose prediction the reader spoils while four metrics answer.

    The prediction begins perfect. The reader loses and finds objects, moves the predicted borders
    in or out, and surrounds the scene with empty background; the page computes the confusion
    matrix and from it pixel accuracy, mean class accuracy, mean IoU and frequency-weighted IoU
    (Long et al., 2015, section 5). Borders move in steps of one pixel to the four neighbours;
    where two grown objects meet at the same step, the smaller id wins. Pixels of a class above 0
    without an object ("stuff") are predicted right until background is predicted everywhere.
    Make one with :meth:`from_arrays`.

    Attributes:
        lost: Ids of the objects that the prediction misses, renumbered from 1 in their order.
        grow: Pixels by which predicted objects are too large, −3 to 3.
        border: Width in pixels of the empty background around the scene.
        stuff: Whether pixels of a class above 0 without an object are predicted.
    """

    _helpers = ("labels",)

    lost = traitlets.List(traitlets.Int()).tag(sync=True)
    grow = traitlets.Int(0, min=-3, max=3).tag(sync=True)
    border = traitlets.Int(0, min=0).tag(sync=True)
    stuff = traitlets.Bool(True).tag(sync=True)

    height = traitlets.Int(0).tag(sync=True)
    width = traitlets.Int(0).tag(sync=True)
    maps = traitlets.Bytes().tag(sync=True)  # labels.pack of the truth and the instances
    most_border = traitlets.Int(0).tag(sync=True)
    class_names = traitlets.List(traitlets.Unicode()).tag(sync=True)

    @classmethod
    def from_arrays(
        cls,
        truth: Any,
        instances: Any,
        *,
        class_names: Sequence[str],
        alt: str | None = None,
    ) -> MetricThatLies:
        """Store one label map with its objects.

        Args:
            truth: (H, W), class of each pixel, at most 65,536 pixels; 0 = background, 255 = does
                not count.
            instances: (H, W), object ids, 0 = none, 1 to 255 different. An object's pixels have
                one class above 0 (some of them may be 255).
            class_names: Names of classes 0, 1, ….
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        classes = labels.check_classes(class_names)
        true = labels.check_labels("truth", truth, len(classes), ignore=True)
        ids = encode.check_instances(instances, true.shape).astype(np.uint8)
        if not ids.any():
            raise ValueError("instances marks no pixel; expected at least one object")
        for k, first in zip(*np.unique(ids[ids > 0], return_index=True), strict=True):
            own = np.unique(true[(ids == k) & (true != labels.IGNORE)])
            if len(own) != 1 or own[0] == 0:
                original = encode.to_numpy(instances)[ids > 0][first]
                raise ValueError(
                    f"instances has object {original} with the classes {own.tolist()} in truth; "
                    "expected one class above 0"
                )
        height, width = true.shape
        return cls(
            height=height,
            width=width,
            maps=labels.pack(true, [ids]),
            most_border=2 * max(height, width),
            class_names=classes,
            alt=alt
            or f"A label map of {height} by {width} pixels with {ids.max()} objects of "
            f"{len(classes) - 1} classes, its prediction, four metrics and the confusion matrix.",
        )

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the truth and the renumbered objects: uint8 (H, W) each."""
        size = {"height": self.height, "width": self.width}
        truth, ids = labels.unpack(self.maps, size, 1)
        return truth, ids

    def describe(self) -> str:
        """Return size and number of objects."""
        objects = int(self.arrays()[1].max()) if self.maps else 0
        return f"{self.height}×{self.width}, {objects} objects, {len(self.class_names)} classes"

    def poster(self) -> Image.Image:
        """Return the classes beside the objects."""
        white = {
            "height": self.height,
            "width": self.width,
            "pixels": b"\xf0" * (self.height * self.width),
            "palette": b"",
        }
        return still.side_by_side(*(still.classes(white, values) for values in self.arrays()))
