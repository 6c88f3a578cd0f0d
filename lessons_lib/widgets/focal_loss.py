"""The focal loss and where its gradient goes: the real answers of a detector, weighed anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import traitlets
from PIL import Image, ImageDraw

from lessons_lib.widgets import encode
from lessons_lib.widgets.figure import Figure

LOWEST, WIDTH, BINS = -12.0, 0.25, 96
"""The histogram: bins of the logit of p_t, from −12 to 12."""
COLOURS = {"easy": (138, 143, 152), "hard": (0, 114, 178), "positive": (213, 94, 0)}
_INK = (60, 66, 78)


class FocalLossExplorer(Figure):
    """Loss curves on the left; on the right a detector's answers, and what each of them pulls.

    An answer is one yes or no: one anchor about one class. It is positive where the truth is yes. A
    negative is easy where more than half the probability is on the truth, p_t > 0.5, else hard. The
    reader drags gamma and alpha and reads who holds which share of the gradient: the sum of
    the size of d loss / d logit over all answers. Make one with :meth:`from_answers`.

    Attributes:
        gamma: Exponent of the focal loss, 0 to 5.
        alpha: Weight of the positives, 0 to 1; negatives have 1 − alpha.
        stage: Which of the networks is shown, counted from 0.
    """

    gamma = traitlets.Float(0.0, min=0.0, max=5.0).tag(sync=True)
    alpha = traitlets.Float(0.25, min=0.0, max=1.0).tag(sync=True)
    stage = traitlets.Int(0, min=0).tag(sync=True)

    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    counts: traitlets.List[Any] = traitlets.List().tag(
        sync=True
    )  # a network: [negatives, positives]
    bins = traitlets.List(traitlets.Float(), default_value=[LOWEST, WIDTH]).tag(sync=True)

    @classmethod
    def from_answers(
        cls,
        answers: Mapping[str, tuple[Any, Any]],
        *,
        gamma: float = 0.0,
        alpha: float = 0.25,
        stage: int = 0,
        alt: str | None = None,
    ) -> FocalLossExplorer:
        """Store histograms of what one network, or several, answered.

        Args:
            answers: By the name of the network, logits (N,) and truth bool (N,): for each answer the
                logit of yes, and whether yes is right. At least one positive and one negative.
            gamma, alpha: Where the sliders begin.
            stage: The network to begin with, counted from 0.
            alt: What the figure shows; default: a sentence with its numbers.

        Raises:
            ValueError: If an argument is not as above; the message names it.
        """
        if not answers:
            raise ValueError("answers is empty; expected at least one network")
        counts = [_histograms(name, *pair) for name, pair in answers.items()]
        encode.check_whole("stage", stage, 0, len(counts) - 1)
        negatives, positives = (sum(part) for part in counts[stage])
        return cls(
            names=list(answers),
            counts=counts,
            gamma=gamma,
            alpha=alpha,
            stage=stage,
            alt=alt
            or f"The focal loss against the probability of the truth, and {negatives + positives} answers "
            f"of a detector, {positives} of them positive, with each group's share of the gradient.",
        )

    def shares(self) -> dict[str, float]:
        """Return each group's share of the gradient: easy and hard negatives, and positives."""
        middle = self.bins[0] + self.bins[1] * (np.arange(BINS) + 0.5)
        right = 1 / (1 + np.exp(-middle))
        slope = (1 - right) ** self.gamma * (1 - right - self.gamma * right * np.log(right))
        negatives, positives = (np.asarray(part) for part in self.counts[self.stage])
        pull = (1 - self.alpha) * negatives * slope
        sums = {
            "easy": pull[middle > 0].sum(),
            "hard": pull[middle <= 0].sum(),
            "positive": (self.alpha * positives * slope).sum(),
        }
        whole = sum(sums.values())
        return {name: float(value / whole) if whole > 0 else 0.0 for name, value in sums.items()}

    def describe(self) -> str:
        """Return the settings and the share of the positives."""
        if not self.counts:
            return ""
        return (
            f"{self.names[self.stage]}, gamma {self.gamma:g}, alpha {self.alpha:g}: positives hold "
            f"{100 * self.shares()['positive']:.0f} % of the gradient"
        )

    def poster(self) -> Image.Image:
        """Return the loss curves for five gammas, and the shares as a bar."""
        canvas = Image.new("RGB", (640, 288), "white")
        draw = ImageDraw.Draw(canvas)
        p = np.linspace(0.01, 1, 200)
        for gamma, tone in [(0, 0), (0.5, 40), (1, 80), (2, 120), (5, 160)]:
            loss = -((1 - p) ** gamma) * np.log(p)
            points = [
                (20 + 260 * x, 268 - 250 * min(y, 5) / 5) for x, y in zip(p, loss, strict=True)
            ]
            draw.line(points, fill=(tone, 80 + tone // 2, 178), width=2)
        draw.rectangle([20, 18, 280, 268], outline=_INK)
        draw.text((150, 274), "probability of the truth", fill=_INK, anchor="ma")
        left = 320.0
        for name, share in self.shares().items():
            draw.rectangle([left, 110, left + 300 * share, 170], fill=COLOURS[name])
            left += 300 * share
        draw.text((320, 90), "share of the gradient", fill=_INK)
        for k, (name, share) in enumerate(self.shares().items()):
            label = name if name == "positive" else f"{name} negative"
            draw.rectangle([320, 186 + 22 * k, 332, 198 + 22 * k], fill=COLOURS[name])
            draw.text((340, 186 + 22 * k), f"{label}: {100 * share:.1f} %", fill=_INK)
        return canvas


def _histograms(name: str, logits: Any, truth: Any) -> list[list[int]]:
    """Counts of negatives and positives in each bin of the logit of p_t."""
    values, right = encode.to_numpy(logits).astype(np.float64), encode.to_numpy(truth)
    if values.ndim != 1 or right.shape != values.shape or right.dtype != bool:
        raise ValueError(
            f"answers[{name!r}] has logits of shape {values.shape} and truth {right.dtype} "
            f"{right.shape}; expected (N,) and bool (N,)"
        )
    encode.check_finite(f"answers[{name!r}]", values)
    if right.all() or not right.any():
        raise ValueError(f"answers[{name!r}] has no positive or no negative; expected some of both")
    place = np.floor((np.where(right, values, -values) - LOWEST) / WIDTH).astype(int)
    place = place.clip(0, BINS - 1)
    return [np.bincount(place[mask], minlength=BINS).tolist() for mask in (~right, right)]
