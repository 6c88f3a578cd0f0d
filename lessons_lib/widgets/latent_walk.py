"""A walk through the plane of latent numbers; the decoder runs in the page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import traitlets
from PIL import Image, ImageDraw

from lessons_lib.widgets import encode, still
from lessons_lib.widgets.figure import Figure

SIDE = 8
PIXELS = SIDE * SIDE
REACH = 3.0
"""How far the plane of a question goes: its coordinates are standard normal noise."""
INK = 16
"""Values that a pixel of a stored digit has above 0."""


class LatentWalk(Figure):
    """Planes of two latent numbers with the digits that lie there; a point, and the digit it decodes to.

    Each plane belongs to a decoder of dense layers, whose weights lie in the page, a byte each. Where there are
    questions, digits of which only a part is visible, a further plane shows what a conditional decoder answers:
    there the coordinates are the noise that the prior turns into z. Make one with :meth:`from_decoders`.

    Attributes:
        plane: Which plane is shown, counted from 0; the questions come last.
        question: Which question is asked, counted from 0.
        x, y: The point, in the plane's own numbers.
    """

    plane = traitlets.Int(0, min=0).tag(sync=True)
    question = traitlets.Int(0, min=0).tag(sync=True)
    x = traitlets.Float(0.0).tag(sync=True)
    y = traitlets.Float(0.0).tag(sync=True)

    labels = traitlets.Bytes().tag(sync=True)  # (N,) digit of each point
    planes: traitlets.List[Any] = traitlets.List().tag(sync=True)
    questions: traitlets.Dict[str, Any] = traitlets.Dict().tag(sync=True)

    @classmethod
    def from_decoders(
        cls,
        planes: Mapping[str, tuple[Any, Any]],
        labels: Any,
        *,
        completer: Any = None,
        conditions: Any = None,
        targets: Any = None,
        plane: int = 0,
        alt: str | None = None,
    ) -> LatentWalk:
        """Store decoders and what their encoders made of some digits.

        Args:
            planes: By name, a decoder, linear layers from 2 to 64 numbers with ReLUs between them (its modules
                with ``weight`` and ``bias`` are taken), and the codes (N, 2) of N digits.
            labels: (N,), which digit each of them is, 0 to 9.
            completer: A :class:`~lessons_lib.saliency.CVAE` with two latent numbers, or ``None``.
            conditions: (Q, 2, 8, 8), at most 32 questions for it: what is visible, and the mask.
            targets: (Q, 1, 8, 8), the whole digits.
            plane: The plane to begin with, counted from 0.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        digits = encode.to_numpy(labels)
        if digits.ndim != 1 or not len(digits) or digits.dtype.kind not in "iu":
            raise ValueError(
                f"labels is {digits.dtype} of shape {digits.shape}; expected whole numbers (N,)"
            )
        if digits.min() < 0 or digits.max() > 9:
            raise ValueError(f"labels goes from {digits.min()} to {digits.max()}; expected 0 to 9")
        stored = [
            _store_plane(name, decoder, codes, len(digits))
            for name, (decoder, codes) in planes.items()
        ]
        asked = {} if completer is None else _store_questions(completer, conditions, targets)
        count = len(stored) + bool(asked)
        if not count:
            raise ValueError("planes is empty, and there is no completer; expected at least one")
        encode.check_whole("plane", plane, 0, count - 1)
        made = cls(
            planes=stored,
            questions=asked,
            labels=digits.astype(np.uint8).tobytes(),
            plane=plane,
            alt=alt
            or f"{count} planes of two latent numbers, with {len(digits)} encoded digits, and beside them the digit "
            "that the marked point decodes to.",
        )
        made.x, made.y = made.start(plane)
        return made

    def start(self, plane: int) -> tuple[float, float]:
        """Where the point stands when a plane opens: on the first digit, or at the prior's mean."""
        if plane == len(self.planes):
            return 0.0, 0.0
        x, y = _points(self.planes[plane])[0]
        return round(float(x), 3), round(float(y), 3)

    def decoded(self) -> np.ndarray:
        """The digit that the point decodes to, as the page computes it: float64 (8, 8) in [0, 1]."""
        code = np.array([self.x, self.y])
        if self.plane < len(self.planes):
            return _run(self.planes[self.plane]["layers"], code).reshape(SIDE, SIDE)
        asked = self.questions
        starts = _restore(asked["starts"])
        answer = _run(asked["layers"], code, starts[self.question], self._scale())
        truth = np.frombuffer(asked["pictures"], np.uint8).reshape(-1, PIXELS)[self.question] / INK
        visible = np.unpackbits(np.frombuffer(asked["visible"], np.uint8)).reshape(-1, PIXELS)
        return np.where(visible[self.question] > 0, truth, answer).reshape(SIDE, SIDE)

    def _scale(self) -> np.ndarray:
        """The prior of the question: means and deviations, (2, 2)."""
        return np.frombuffer(self.questions["priors"], "<f4").reshape(-1, 2, 2)[self.question]

    def describe(self) -> str:
        """Return the name of the plane and the number of digits."""
        if not self.planes and not self.questions:
            return ""
        names = [p["name"] for p in self.planes] + ["questions"]
        return f"{names[self.plane]}, {len(self.labels)} digits"

    def poster(self) -> Image.Image:
        """Return the first plane with its digits, and the digit of its point."""
        if not self.planes:
            shown = self.decoded()
            return still.side_by_side(_digit(shown))
        plane = self.planes[min(self.plane, len(self.planes) - 1)]
        points = _points(plane)
        ids = np.frombuffer(self.labels, np.uint8).astype(int) + 1
        walked = LatentWalk(planes=[plane], labels=self.labels)
        walked.x, walked.y = walked.start(0)
        return still.side_by_side(still.scatter(points, ids), _digit(walked.decoded()))


def _digit(values: np.ndarray) -> Image.Image:
    """A digit as large as a panel, dark ink on white."""
    tones = np.rint(255 * (1 - values)).astype(np.uint8)
    whole = Image.fromarray(tones).convert("RGB").resize((288, 288), Image.Resampling.NEAREST)
    ImageDraw.Draw(whole).rectangle([0, 0, 287, 287], outline=(60, 66, 78))
    return whole


_Layer = tuple[np.ndarray, np.ndarray]
"""Weights (in, out) and biases (out,)."""


def _layers(decoder: Iterable[Any], name: str) -> list[_Layer]:
    """Weights (in, out) and biases (out,) of the linear layers."""
    found = []
    for module in decoder:
        if hasattr(module, "weight"):
            weight, bias = encode.to_numpy(module.weight), encode.to_numpy(module.bias)
            encode.check_finite(f"{name}'s weights", weight)
            found.append((weight.T, bias))
    if not found or found[-1][0].shape[1] != PIXELS:
        raise ValueError(f"{name} is no decoder of {PIXELS} pixels; expected linear layers")
    return found


def _grid(middle: np.ndarray, half: float, steps: int = 25) -> np.ndarray:
    """Points (steps², 2) over a square of the plane."""
    along = np.linspace(-half, half, steps)
    return middle + np.stack(np.meshgrid(along, along), -1).reshape(-1, 2)


def _heard(layers: list[_Layer], inputs: np.ndarray) -> list[_Layer]:
    """The layers without the units that stay silent for all inputs (P, in): a plane needs half of them."""
    heard = list(layers)
    for k in range(len(heard) - 1):
        weight, bias = heard[k]
        inputs = np.maximum(inputs @ weight + bias, 0)
        kept = inputs.max(0) > 0
        kept[0] = True  # a layer may not be empty
        after, its_bias = heard[k + 1]
        heard[k], heard[k + 1] = (weight[:, kept], bias[kept]), (after[kept], its_bias)
        inputs = inputs[:, kept]
    return heard


def _store_layer(weight: np.ndarray, bias: np.ndarray) -> dict[str, bytes]:
    """A byte a weight, each column, an output, over its own range."""
    return {**_packed(weight), "bias": bias.astype("<f4").tobytes()}


def _packed(values: np.ndarray) -> dict[str, bytes]:
    """Rows of numbers, each column over its own range."""
    stored = encode.quantise(values)
    return {
        "codes": stored.codes.tobytes(),
        "low": stored.low.astype("<f4").tobytes(),
        "high": stored.high.astype("<f4").tobytes(),
    }


def _restore(stored: Mapping[str, bytes]) -> np.ndarray:
    """Undo :func:`_packed`."""
    low, high = (np.frombuffer(stored[k], "<f4").astype(float) for k in ("low", "high"))
    codes = np.frombuffer(stored["codes"], np.uint8).reshape(-1, len(low))
    return encode.Quantised(codes, low, high).restore()


def _run(
    layers: list[Mapping[str, bytes]],
    code: np.ndarray,
    start: np.ndarray | None = None,
    scale: np.ndarray | None = None,
) -> np.ndarray:
    """The decoder with the stored weights; ``start`` replaces the first bias, ``scale`` is (mean, σ) of z."""
    values = code if scale is None else scale[0] + scale[1] * code
    for k, layer in enumerate(layers):
        bias = np.frombuffer(layer["bias"], "<f4") if k or start is None else start
        values = values @ _restore(layer) + bias
        if k < len(layers) - 1:
            values = np.maximum(values, 0)
    return 1 / (1 + np.exp(-values))


def window(points: np.ndarray) -> tuple[np.ndarray, float]:
    """The square of the plane that shows points (N, 2): its middle, and half its side."""
    low, high = points.min(0), points.max(0)
    return (low + high) / 2, 0.54 * float((high - low).max()) or 1.0


def _points(plane: Mapping[str, Any]) -> np.ndarray:
    return _restore(plane["points"])


def _store_plane(name: str, decoder: Any, codes: Any, count: int) -> dict[str, Any]:
    """One plane: its decoder, and the codes of the digits."""
    layers = _layers(decoder, f"planes[{name!r}]")
    if layers[0][0].shape[0] != 2:
        raise ValueError(
            f"planes[{name!r}] decodes {layers[0][0].shape[0]} numbers; expected 2, a plane"
        )
    points = encode.to_numpy(codes).astype(np.float64)
    encode.check_shape(f"planes[{name!r}]'s codes", points, (count, 2))
    encode.check_finite(f"planes[{name!r}]'s codes", points)
    return {
        "name": name,
        "layers": [_store_layer(*layer) for layer in _heard(layers, _grid(*window(points)))],
        "points": _packed(points),
    }


def _store_questions(completer: Any, conditions: Any, targets: Any) -> dict[str, Any]:
    """The conditional decoder, with what each condition adds to its first layer summed up beforehand."""
    if conditions is None or targets is None:
        raise ValueError("completer needs conditions and targets; one of them is None")
    asked, truth = encode.to_numpy(conditions), encode.to_numpy(targets)
    count = len(asked)
    encode.check_whole("number of conditions", count, 1, 32)
    encode.check_shape("conditions", asked, (count, 2, SIDE, SIDE))
    encode.check_shape("targets", truth, (count, 1, SIDE, SIDE))
    if completer.latent != 2:
        raise ValueError(f"completer has {completer.latent} latent numbers; expected 2, a plane")
    (weight, bias), *rest = _layers(completer.decoder, "completer")
    seen = weight.shape[0] - 2
    starts = asked.reshape(count, seen) @ weight[:seen] + bias
    prior, posterior = completer.prior(conditions), completer.posterior(conditions, targets)
    mean, deviation = (encode.to_numpy(v) for v in (prior.mean, prior.deviation))
    truths = (encode.to_numpy(posterior.mean) - mean) / deviation
    codes = mean + deviation * _grid(np.zeros(2), REACH)[:, None]  # (P, Q, 2)
    first = np.maximum(starts + codes @ weight[seen:], 0).reshape(-1, len(bias))
    kept = first.max(0) > 0
    rest = _heard([(rest[0][0][kept], rest[0][1]), *rest[1:]], first[:, kept])
    return {
        "layers": [
            _store_layer(weight[seen:, kept], np.zeros(kept.sum())),
            *(_store_layer(*layer) for layer in rest),
        ],
        "starts": _packed(starts[:, kept]),
        "priors": np.stack([mean, deviation], 1).astype("<f4").tobytes(),
        "truths": truths.astype("<f4").tobytes(),
        "pictures": np.rint(truth * INK).astype(np.uint8).tobytes(),
        "visible": np.packbits(asked[:, 1].reshape(count, PIXELS) > 0.5).tobytes(),
    }
