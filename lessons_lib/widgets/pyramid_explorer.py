"""Pyramid pooling over a picture: what each cell averages, and what a pixel gets back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import traitlets
from PIL import Image

from lessons_lib.widgets import encode, labels, still
from lessons_lib.widgets.figure import Figure

MOST_CHANNELS = 16
MOST_NUMBERS = 65_536


class PyramidExplorer(Figure):
    """A picture, or its features, averaged in grids of several sizes, and brought back.

    Cell i of b along n pixels runs from floor(i·n / b) to ceil((i + 1)·n / b), the end not
    included, as in ``torch.nn.AdaptiveAvgPool2d``; cells overlap where n is no multiple of b.
    The averages come back to the picture's size bilinearly with ``align_corners=False``, as in
    pyramid pooling (Zhao et al., 2017, section 3.2). The reader moves a point: at each level the
    cells that its pixel reads light up. Make one with :meth:`from_arrays`.

    Attributes:
        bin: The level that is shown large, one of ``bins``.
        channel: The feature channel that is averaged; −1: the picture's colours.
        point: Column and row of the point, in pixels of the picture.
        overlay: 0: none, 1 or 2: the first or second prediction over the picture.
    """

    _helpers = ("labels",)

    bin = traitlets.Int(1).tag(sync=True)
    channel = traitlets.Int(-1).tag(sync=True)
    point = traitlets.List(traitlets.Int(), [0, 0]).tag(sync=True)
    overlay = traitlets.Int(0, min=0, max=2).tag(sync=True)

    picture = traitlets.Dict().tag(sync=True)
    bins = traitlets.List(traitlets.Int()).tag(sync=True)
    codes = traitlets.Bytes().tag(sync=True)  # uint8 (h·w, C), empty without features
    low = traitlets.List(traitlets.Float()).tag(sync=True)  # (C,) value of code 0
    high = traitlets.List(traitlets.Float()).tag(sync=True)  # (C,) value of code 255
    size = traitlets.List(traitlets.Int(), [0, 0]).tag(sync=True)  # h, w of the features
    maps = traitlets.Bytes().tag(sync=True)  # labels.pack of the two predictions, or empty
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)  # of the predictions
    class_names = traitlets.List(traitlets.Unicode()).tag(sync=True)

    @classmethod
    def from_arrays(
        cls,
        image: Any,
        features: Any = None,
        *,
        bins: Sequence[int] = (1, 2, 3, 6),
        predictions: Sequence[Any] | Mapping[str, Any] | None = None,
        class_names: Sequence[str] | None = None,
        alt: str | None = None,
    ) -> PyramidExplorer:
        """Store one picture, with features and predictions where there are some.

        Args:
            image: (H, W), (1, H, W), (3, H, W) or (H, W, 3), values in [0, 1], at most 65,536
                pixels.
            features: (C, h, w), an array or a tensor, at most 16 channels and 65,536 numbers;
                default: the picture's colours alone.
            bins: Rising numbers of cells along a side, one to six of them, each 1 to 12.
            predictions: Two label maps (H, W), without and with the pyramid: a pair, or a dict
                with their names.
            class_names: Names of classes 0, 1, …, 0 the background; needed with predictions only.
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
        levels = _check_bins(bins)
        stored, size = _check_features(features)
        names, maps, classes = _check_predictions(predictions, class_names, (height, width))
        what = f"{len(stored.low)} feature channels" if stored else "colours"
        return cls(
            picture=labels.image_state(pixels),
            bins=levels,
            bin=levels[min(2, len(levels) - 1)],
            channel=0 if stored else -1,
            point=[width // 2, height // 2],
            codes=stored.codes.tobytes() if stored else b"",
            low=stored.low.tolist() if stored else [],
            high=stored.high.tolist() if stored else [],
            size=list(size),
            maps=maps,
            names=names,
            class_names=classes,
            alt=alt
            or f"A picture of {height} by {width} pixels whose {what} are averaged in grids of "
            f"{', '.join(f'{b} by {b}' for b in levels)} cells and brought back to its size.",
        )

    @traitlets.validate("bin")
    def _check_bin(self, proposal: Any) -> int:
        if self.bins and proposal["value"] not in self.bins:
            raise ValueError(f"bin is {proposal['value']}; expected one of {self.bins}")
        return proposal["value"]

    @traitlets.validate("channel")
    def _check_channel(self, proposal: Any) -> int:
        value = proposal["value"]
        if self.picture and not -1 <= value < len(self.low):
            raise ValueError(f"channel is {value}; expected -1 to {len(self.low) - 1}")
        return value

    def features(self) -> np.ndarray:
        """Return what is averaged as the page sees it, float64 (C, h, w).

        The features, or without them the picture's colours in [0, 1].
        """
        if not self.low:
            return np.moveaxis(still.base(self.picture), -1, 0) / 255.0
        codes = np.frombuffer(self.codes, np.uint8).reshape(*self.size, -1)
        values = encode.Quantised(codes, np.array(self.low), np.array(self.high)).restore()
        return np.moveaxis(values, -1, 0)

    def describe(self) -> str:
        """Return size, features and bins."""
        size = f"{self.picture.get('height', 0)}×{self.picture.get('width', 0)}"
        channels = f", {len(self.low)} channels" if self.low else ""
        return f"{size}{channels}, bins {', '.join(map(str, self.bins))}"

    def poster(self) -> Image.Image:
        """Return the picture, and the picture as the cells of the two middle levels see it."""
        shown = still.base(self.picture)
        middle = len(self.bins) // 2
        panels = [still.classes(self.picture, None)]
        for b in self.bins[max(0, middle - 1) : middle + 1]:
            small = pooled(np.moveaxis(shown, -1, 0), b)
            state = labels.image_state(np.rint(np.moveaxis(small, 0, -1)).astype(np.uint8))
            tile = still.classes(state, None)
            panels.append(tile.resize(panels[0].size, Image.Resampling.NEAREST))
        return still.side_by_side(*panels)


def pooled(values: np.ndarray, bins: int) -> np.ndarray:
    """Average in a grid of cells, as ``torch.nn.functional.adaptive_avg_pool2d``.

    Args:
        values: (C, h, w).
        bins: Cells along a side, b.

    Returns:
        float64 (C, b, b).
    """
    rows, columns = (
        [(i * n // bins, -(-(i + 1) * n // bins)) for i in range(bins)] for n in values.shape[1:]
    )
    return np.array(
        [[values[:, a:b, c:d].mean(axis=(1, 2)) for c, d in columns] for a, b in rows]
    ).transpose(2, 0, 1)


def _check_bins(bins: Sequence[int]) -> list[int]:
    levels = [encode.check_whole(f"bins[{k}]", b, 1, 12) for k, b in enumerate(bins)]
    if not 1 <= len(levels) <= 6 or sorted(set(levels)) != levels:
        raise ValueError(f"bins is {levels}; expected one to six rising numbers")
    return levels


def _check_features(features: Any) -> tuple[encode.Quantised | None, tuple[int, ...]]:
    if features is None:
        return None, (0, 0)
    values = encode.to_numpy(features)
    shape = values.shape
    if (
        values.ndim != 3
        or not 1 <= shape[0] <= MOST_CHANNELS
        or not 1 <= values.size <= MOST_NUMBERS
    ):
        raise ValueError(
            f"features has shape {shape}; expected (C, h, w) of at most {MOST_CHANNELS} channels "
            f"and {MOST_NUMBERS} numbers"
        )
    encode.check_finite("features", values)
    return encode.quantise(np.moveaxis(values, 0, -1)), shape[1:]


def _check_predictions(
    predictions: Sequence[Any] | Mapping[str, Any] | None,
    class_names: Sequence[str] | None,
    shape: tuple[int, int],
) -> tuple[list[str], bytes, list[str]]:
    """Return the names of the two predictions, both packed, and the names of the classes."""
    if predictions is None:
        return [], b"", []
    if len(predictions) != 2:
        raise ValueError(f"predictions has {len(predictions)} entries; expected 2")
    if isinstance(predictions, Mapping):
        given = {str(name): values for name, values in predictions.items()}
    else:
        given = {"without": predictions[0], "with": predictions[1]}
    if class_names is None:
        raise ValueError("class_names is None; expected the names of the classes of predictions")
    classes = labels.check_classes(class_names)
    first, second = (
        labels.check_labels(f"predictions[{name!r}]", values, len(classes), shape)
        for name, values in given.items()
    )
    return list(given), labels.pack(first, [second]), classes
