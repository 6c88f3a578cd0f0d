"""How many pixels are predicted as salient at each threshold, rightly and wrongly: one histogram for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .pairs import Pairs

LEVELS = 256


@dataclass(frozen=True)
class ThresholdCounts:
    """Counts of B pictures; a map that is cut at a threshold predicts what is at or above it.

    Attributes:
        hits: float64 (B, 256), salient pixels at or above each of the thresholds 0, 1/255, …, 1.
        alarms: float64 (B, 256), the other pixels at or above it.
        adaptive_hits: float64 (B,), the same at twice the map's mean (at most 1).
        adaptive_alarms: float64 (B,).
        salient: float64 (B, 1), salient pixels of the truth.
        pixels: of one picture.
    """

    hits: Tensor
    alarms: Tensor
    adaptive_hits: Tensor
    adaptive_alarms: Tensor
    salient: Tensor
    pixels: int

    @classmethod
    def join(cls, parts: Sequence[ThresholdCounts]) -> ThresholdCounts:
        """Those of several batches with pictures of one size, one after another."""
        names = ("hits", "alarms", "adaptive_hits", "adaptive_alarms", "salient")
        joined = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
        return cls(**joined, pixels=parts[0].pixels)

    def score(self, measure: Callable[[Tensor, Tensor, Tensor, int], Tensor]) -> ThresholdScores:
        """A measure that depends on the counts alone, at all thresholds and at the adaptive one.

        Args:
            measure: of hits and alarms (B, N), salient pixels (B, 1) and the number of pixels; gives (B, N).
        """
        # the adaptive threshold is one more of them
        hits = torch.cat([self.hits, self.adaptive_hits[:, None]], 1)
        alarms = torch.cat([self.alarms, self.adaptive_alarms[:, None]], 1)
        values = measure(hits, alarms, self.salient, self.pixels)
        return ThresholdScores(values[:, :LEVELS], values[:, LEVELS])


@dataclass(frozen=True)
class ThresholdScores:
    """A measure of binary maps, made one of gray maps by cutting them.

    Attributes:
        curve: float64 (B, 256), or (256,) of a single picture: the measure at the thresholds 0, 1/255, …, 1.
        adaptive: float64 (B,) or (): at twice the map's mean value, at most 1 (Achanta et al., 2009).
    """

    curve: Tensor
    adaptive: Tensor

    @property
    def maximum(self) -> Tensor:
        """(B,) or (): at the best threshold of each picture.

        The maximum that papers print is another one: of the *mean curve* of all pictures, so that one
        threshold serves them all (:class:`SaliencyScores` computes it).
        """
        return self.curve.amax(-1)

    @property
    def mean(self) -> Tensor:
        """(B,) or (): over the 256 thresholds."""
        return self.curve.mean(-1)


def count_thresholds(pairs: Pairs) -> ThresholdCounts:
    """One pass over the pixels: a histogram by truth, by level, and by side of the adaptive threshold.

    The level of a pixel is ``floor(255 · prediction)``: a threshold k / 255 keeps the levels from k on. Where
    2 · mean equals a pixel's value, rounding decides about that pixel, here as elsewhere.
    """
    prediction, truth = pairs.prediction, pairs.truth
    pictures, pixels = len(truth), truth[0].numel()
    adaptive = (2 * prediction.mean((1, 2), keepdim=True)).clamp(max=1)
    cell = (prediction * (LEVELS - 1)).int()
    cell.add_(prediction >= adaptive, alpha=LEVELS)
    cell.add_(truth, alpha=2 * LEVELS)
    cell.add_(torch.arange(pictures, device=cell.device).int()[:, None, None], alpha=4 * LEVELS)
    bins = torch.bincount(cell.view(-1), minlength=4 * LEVELS * pictures).double()
    # by picture, truth, side of the adaptive threshold, level
    bins = bins.view(pictures, 2, 2, LEVELS)
    from_here_up = bins.sum(2).flip(-1).cumsum(-1).flip(-1)
    above = bins[:, :, 1].sum(-1)
    return ThresholdCounts(
        hits=from_here_up[:, 1],
        alarms=from_here_up[:, 0],
        adaptive_hits=above[:, 1],
        adaptive_alarms=above[:, 0],
        salient=from_here_up[:, 1, :1],
        pixels=pixels,
    )
