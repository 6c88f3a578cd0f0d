"""All saliency measures over a data set, in constant memory."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor

from .alignment import e_scores
from .boundary_f import TOLERANCE, boundary_f_scores
from .counts import LEVELS, ThresholdCounts, count_thresholds
from .pairs import Map, Pairs, as_blocks
from .region_f import f_scores
from .structure import QuarterSums, s_scores, sum_quarters
from .weighted_f import weighted_f_scores

# What one step writes the next should find in the processor's cache: float64 pixels at a time on a CPU.
BLOCK = 1 << 18


class SaliencyScores:
    """Adds up the measures of any number of pictures; what it keeps does not grow with them.

    The maximum of F and of E is that of the *mean curve* over all pictures, as the field reports it: one
    threshold for all. The mean of each picture's own maximum is larger or equal.

    Args:
        normalize: stretch each prediction to 0..1 first, as the evaluation codes of the field do.
        weighted_f: compute the weighted F-measure too, which takes several times as long as all others.
        boundary_f: compute the boundary F-measure too.
        tolerance: of the boundary F-measure, as a share of the diagonal.

    Attributes:
        pictures: how many were added.
    """

    def __init__(
        self,
        *,
        normalize: bool = False,
        weighted_f: bool = False,
        boundary_f: bool = False,
        tolerance: float = TOLERANCE,
    ) -> None:
        self.normalize, self.weighted_f, self.boundary_f = normalize, weighted_f, boundary_f
        self.tolerance = tolerance
        self.reset()

    def reset(self) -> None:
        """Forgets all pictures."""
        self.pictures = 0
        self._names = ["MAE", "S", "F_adaptive", "E_adaptive"]
        self._names += ["F_weighted"] * self.weighted_f + ["F_boundary"] * self.boundary_f
        self._sums = torch.zeros(len(self._names), dtype=torch.float64)
        self._curves = torch.zeros(2, LEVELS, dtype=torch.float64)  # of F and of E

    def update(self, prediction: Map, truth: Map) -> list[dict[str, float]]:
        """Adds pictures of one size; the next call may bring another.

        Args:
            prediction: float in [0, 1] or uint8, (B, 1, H, W) or (H, W); see :func:`as_pairs`.
            truth: bool or gray, of the same shape.

        Returns:
            The measures of each picture, by the names of :meth:`compute`; its maxima are its own.

        Raises:
            TypeError, ValueError: as :func:`as_pairs`; nothing is added then.
        """
        # on a GPU all pictures at once
        elsewhere = isinstance(prediction, Tensor) and prediction.device.type != "cpu"
        pixels = None if elsewhere else BLOCK
        values, curves = self._measure(as_blocks(prediction, truth, self.normalize, pixels))
        self.pictures += len(values)
        self._sums += values.sum(0)
        self._curves += curves.sum(0)
        return [self._named(*one) for one in zip(values, curves, strict=True)]

    def compute(self) -> dict[str, float]:
        """The measures of all pictures: MAE, S, F_max, F_mean, F_adaptive, E_max, E_mean, E_adaptive, and
        F_weighted and F_boundary if they were asked for.

        Raises:
            ValueError: without a picture.
        """
        if self.pictures == 0:
            raise ValueError("no picture was added; call update first")
        return self._named(self._sums / self.pictures, self._curves / self.pictures)

    @property
    def curves(self) -> tuple[Tensor, Tensor]:
        """The mean curves of F and of E, float64 (256,) each, at the thresholds 0, 1/255, …, 1."""
        f, e = self._curves / max(self.pictures, 1)
        return f, e

    def merge(self, other: SaliencyScores) -> SaliencyScores:
        """Adds the pictures of another one, and returns itself.

        Raises:
            ValueError: if the other has other measures, or treats the maps otherwise.
        """
        for name in ("normalize", "weighted_f", "boundary_f", "tolerance"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise ValueError(f"other has {name}={theirs}; this one has {name}={mine}")
        self.pictures += other.pictures
        self._sums += other._sums
        self._curves += other._curves
        return self

    def reduce(self) -> SaliencyScores:
        """The sum over all processes of ``torch.distributed``, as a new one; every process must call it."""
        total = SaliencyScores(
            normalize=self.normalize,
            weighted_f=self.weighted_f,
            boundary_f=self.boundary_f,
            tolerance=self.tolerance,
        )
        numbers = torch.cat(
            [torch.tensor([float(self.pictures)]).double(), self._sums, self._curves.flatten()]
        )
        if dist.is_available() and dist.is_initialized():
            if dist.get_backend() == dist.Backend.NCCL:  # sums on GPUs only
                numbers = numbers.cuda()
            dist.all_reduce(numbers)
        pictures, sums, curves = numbers.cpu().split([1, len(self._sums), self._curves.numel()])
        total.pictures, total._sums = int(pictures), sums
        total._curves = curves.view_as(self._curves)
        return total

    def _measure(self, blocks: Iterable[Pairs]) -> tuple[Tensor, Tensor]:
        """Of each picture its values (B, names) and its curves (B, 2, 256), on the CPU."""
        parts = [self._sum(pairs) for pairs in blocks]
        counts = ThresholdCounts.join([part[0] for part in parts])
        quarters = QuarterSums.join([part[1] for part in parts])
        f, e = f_scores(counts), e_scores(counts)
        values = [quarters.mean_absolute_error(), s_scores(quarters), f.adaptive, e.adaptive]
        values += map(torch.cat, zip(*(part[2] for part in parts), strict=True))
        return torch.stack(values, 1).cpu(), torch.stack([f.curve, e.curve], 1).cpu()

    def _sum(self, pairs: Pairs) -> tuple[ThresholdCounts, QuarterSums, list[Tensor]]:
        """What needs the pixels, of one block: two kinds of sums, and the measures that were asked for."""
        others = [weighted_f_scores(pairs)] if self.weighted_f else []
        others += [boundary_f_scores(pairs, self.tolerance)] if self.boundary_f else []
        return count_thresholds(pairs), sum_quarters(pairs), others

    def _named(self, values: Tensor, curves: Tensor) -> dict[str, float]:
        named = dict(zip(self._names, values.tolist(), strict=True))
        for name, curve in zip("FE", curves, strict=True):
            named |= {f"{name}_max": float(curve.max()), f"{name}_mean": float(curve.mean())}
        order = ["MAE", "S", "F_max", "F_mean", "F_adaptive", "E_max", "E_mean", "E_adaptive"]
        return {name: named[name] for name in order + self._names[4:]}
