"""Where a pixel points, how wide its Gaussian is, and what it claims."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import traitlets
from PIL import Image, ImageDraw

from lessons_lib.widgets import encode, labels, still
from lessons_lib.widgets.figure import Figure

LEAST, MOST = 0.05, 0.95
"""Range of the threshold's slider."""


class GaussianExplorer(Figure):
    """Spatial embeddings of a picture, pixel by pixel, and the clustering of them, one by one.

    The reader picks a pixel; the figure shows where its offset points to, the ellipse in which its σ holds φ
    above the threshold, and the pixels that point into it: those that it would claim as the seed of an
    instance (Neven et al., 2019, section 3.3). Buttons run the sequential clustering, a proposal at a time,
    as ``lessons_lib.embedding.cluster_spatial`` does. Make one with :meth:`from_arrays`.

    Attributes:
        threshold: φ above which a pixel is claimed; set it and the figure follows, and the other way round.
        rounds: How many proposals of the clustering are shown; 0 = it has not begun.
    """

    threshold = traitlets.Float(0.5).tag(sync=True)
    rounds = traitlets.Int(0).tag(sync=True)

    picture = traitlets.Dict().tag(sync=True)
    codes = traitlets.Bytes().tag(sync=True)  # uint8 (N, 4): offset x, y in px; raw σ x, y
    low = traitlets.List(traitlets.Float()).tag(sync=True)  # (4,) value of code 0
    high = traitlets.List(traitlets.Float()).tag(sync=True)  # (4,) value of code 255
    seeds = traitlets.Bytes().tag(sync=True)  # (N,) seed values in 65535ths, two bytes each
    unit = traitlets.Float(1.0).tag(sync=True)  # px
    start = traitlets.List(traitlets.Int()).tag(sync=True)  # x, y of the pixel picked at first
    limits = traitlets.Dict().tag(sync=True)  # of the clustering, by the names of its arguments

    @traitlets.validate("threshold")
    def _check_threshold(self, proposal: Any) -> float:
        value = proposal["value"]
        if not LEAST <= value <= MOST:
            raise ValueError(f"threshold is {value:g}; expected a number from {LEAST} to {MOST}")
        return value

    @traitlets.validate("rounds")
    def _check_rounds(self, proposal: Any) -> int:
        if proposal["value"] < 0:
            raise ValueError(f"rounds is {proposal['value']}; expected a whole number from 0")
        return proposal["value"]

    @classmethod
    def from_arrays(
        cls,
        image: Any,
        outputs: Mapping[str, Any],
        instances: Any,
        *,
        unit: float,
        margin: float | None = None,
        threshold: float = 0.5,
        seed_threshold: float = 0.5,
        foreground_threshold: float = 0.5,
        min_size: int = 1,
        min_unclaimed: float = 0.5,
        pixel: tuple[int, int] | None = None,
        alt: str | None = None,
    ) -> GaussianExplorer:
        """Store one picture with a network's outputs for it.

        Args:
            image: (H, W), (1, H, W), (3, H, W) or (H, W, 3), values in [0, 1], at most 65,536 pixels.
            outputs: Raw outputs of one picture, without batch axis: ``"offset"`` (2, H, W), ``"sigma"`` (1 or 2,
                H, W) and ``"seed"`` (K, H, W), of which the greatest counts.
            instances: (H, W), true instance ids, 0 = background, at most 255 different.
            unit: px, the one that the network was trained with.
            margin: Of fixed σ, px at which φ is ½: ``"sigma"`` is then not needed.
            threshold: φ above which a pixel is claimed, 0.05 to 0.95.
            seed_threshold, foreground_threshold, min_size, min_unclaimed: Of the clustering, as
                ``cluster_spatial`` has them.
            pixel: x and y of the pixel picked at first; default: the one of greatest seed value.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            KeyError: If an output is missing.
            ValueError: If an argument is not as above; the message names it.
        """
        pixels = encode.check_image(image)
        shape = pixels.shape[:2]
        if shape[0] * shape[1] > labels.MOST_PIXELS:
            raise ValueError(
                f"image has shape {pixels.shape}; expected at most {labels.MOST_PIXELS} pixels"
            )
        ids = encode.check_instances(instances, shape)
        unit = encode.check_positive("unit", unit)
        limits = {
            "seed_threshold": _share("seed_threshold", seed_threshold),
            "foreground_threshold": _share("foreground_threshold", foreground_threshold),
            "min_size": encode.check_whole("min_size", min_size, 1, pixels.size),
            "min_unclaimed": _share("min_unclaimed", min_unclaimed),
        }
        offset, sigma, seed = _read(outputs, shape, unit, margin)
        mask = (seed > foreground_threshold) | (ids > 0)
        if not mask.any():
            raise ValueError("outputs and instances mark no pixel; expected at least one")
        stored = encode.quantise(np.concatenate([offset[:, mask], sigma[:, mask]]).T)
        if pixel is None:
            y, x = np.unravel_index(int(np.where(mask, seed, -1).argmax()), shape)
            pixel = int(x), int(y)
        for name, value, size in (("x", pixel[0], shape[1]), ("y", pixel[1], shape[0])):
            encode.check_whole(f"pixel's {name}", value, 0, size - 1)
        return cls(
            picture=encode.picture_state(pixels, ids, mask),
            codes=stored.codes.tobytes(),
            low=stored.low.tolist(),
            high=stored.high.tolist(),
            seeds=np.rint(seed[mask] * 65535).astype(">u2").tobytes(),
            unit=unit,
            start=[int(value) for value in pixel],
            limits=limits,
            threshold=threshold,
            alt=alt
            or f"A picture with {int(ids.max())} instances beside the places that its {int(mask.sum())} pixels "
            "point to; an ellipse round the place of one pixel shows which pixels it claims.",
        )

    def outputs(self) -> dict[str, np.ndarray]:
        """Return a network's raw outputs as the page sees them; elsewhere the seed is that of no object.

        ``"offset"`` (2, H, W), ``"sigma"`` (2, H, W) and ``"seed"`` (1, H, W), float64.
        """
        shape = self.picture["height"], self.picture["width"]
        mask = self._mask()
        values = self._values()
        result = {
            "offset": np.zeros((2, *shape)),
            "sigma": np.zeros((2, *shape)),
            "seed": np.full((1, *shape), -50.0),
        }
        result["offset"][:, mask] = np.arctanh(values[:, :2].T / self.unit)
        result["sigma"][:, mask] = values[:, 2:].T
        share = (np.frombuffer(self.seeds, ">u2") / 65535).clip(1e-12, 1 - 1e-12)
        result["seed"][0, mask] = np.log(share / (1 - share))
        return result

    def describe(self) -> str:
        """Return size, number of instances and threshold."""
        size = f"{self.picture.get('height', 0)}×{self.picture.get('width', 0)}"
        count = max(self.picture.get("instances", b""), default=0)
        return f"{size}, {count} instances, unit={self.unit:g}, threshold={self.threshold:g}"

    def poster(self) -> Image.Image:
        """Return the picture with the ellipse of one pixel, and the places that all pixels point to."""
        mask, values = self._mask(), self._values()
        places = np.argwhere(mask)[:, ::-1] + values[:, :2]  # x and y, px
        ids = np.frombuffer(self.picture["instances"], np.uint8)
        shown = still.picture(self.picture)
        self._draw_ellipse(shown, mask, values)
        height, width = mask.shape
        bounds = np.array([[-0.5, 0.5 - height], [width - 0.5, 0.5]])
        flat = places * [1, -1]
        return still.side_by_side(shown, still.scatter(flat, ids, bounds=bounds))

    def _draw_ellipse(self, shown: Image.Image, mask: np.ndarray, values: np.ndarray) -> None:
        """Draw the arrow and the ellipse of the first pixel over the still picture."""
        x, y = self.start
        if not mask[y, x]:
            return
        row = values[int(mask[:y].sum() + mask[y, :x].sum())]
        scale = shown.height / mask.shape[0]
        begin = (np.array([x, y]) + 0.5) * scale
        end = begin + row[:2] * scale
        radius = np.sqrt(-math.log(self.threshold) / np.exp(10 * row[2:])) * self.unit * scale
        draw = ImageDraw.Draw(shown)
        for colour, line in (((0, 0, 0), 5), ((255, 255, 255), 2)):
            draw.line([*begin, *end], fill=colour, width=line)
            draw.ellipse([*(end - radius), *(end + radius)], outline=colour, width=line)

    def _mask(self) -> np.ndarray:
        shape = self.picture["height"], self.picture["width"]
        bits = np.unpackbits(np.frombuffer(self.picture["foreground"], np.uint8))
        return bits[: shape[0] * shape[1]].astype(bool).reshape(shape)

    def _values(self) -> np.ndarray:
        codes = np.frombuffer(self.codes, np.uint8).reshape(-1, 4)
        return encode.Quantised(codes, np.array(self.low), np.array(self.high)).restore()


def _share(name: str, value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; expected a number from 0 to 1")
    return float(value)


def _read(
    outputs: Mapping[str, Any], shape: tuple[int, ...], unit: float, margin: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets in px (2, H, W), raw σ (2, H, W) and seed values (H, W) of a network's outputs."""
    names = ("offset", "seed") if margin is not None else ("offset", "sigma", "seed")
    if missing := [name for name in names if name not in outputs]:
        raise KeyError(f"outputs lacks {', '.join(missing)}; it has {', '.join(outputs)}")
    arrays = {name: encode.to_numpy(outputs[name]).astype(np.float64) for name in names}
    allowed = {"offset": (2,), "sigma": (1, 2)}
    for name, values in arrays.items():
        if values.ndim != 3:
            raise ValueError(f"{name} has shape {values.shape}; expected (channels, H, W)")
        channels = allowed.get(name, (max(1, values.shape[0]),))
        if values.shape[0] not in channels:
            wanted = " or ".join(map(str, channels))
            raise ValueError(f"{name} has shape {values.shape}; expected {wanted} channels")
        encode.check_shape(name, values, (values.shape[0], *shape))
        encode.check_finite(name, values)
    if margin is None:
        sigma = np.broadcast_to(arrays["sigma"], (2, *shape))
    else:
        margin = encode.check_positive("margin", margin)
        sigma = np.full((2, *shape), math.log(math.log(2) * (unit / margin) ** 2) / 10)
    # the logistic function without overflow
    seed = np.exp(-np.logaddexp(0, -arrays["seed"])).max(0)
    return unit * np.tanh(arrays["offset"]), sigma, seed
