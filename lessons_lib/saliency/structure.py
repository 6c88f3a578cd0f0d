"""The S-measure: structure of objects and of regions, for gray maps as they are (Fan et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .pairs import Map, Pairs, as_pairs

EPS = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class QuarterSums:
    """What the S-measure must know of B pictures that are cut into four at the object's centre.

    All are float64 (B, 2, 4), by truth (0 = background, 1 = salient) and quarter (upper left, upper right,
    lower left, lower right); a variance takes ``squares`` from ``mean``, so that nothing cancels.

    Attributes:
        count: pixels.
        mean: of the prediction over them, 0 where there are none.
        squares: sum of the squared distances from that mean.
    """

    count: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def join(cls, parts: Sequence[QuarterSums]) -> QuarterSums:
        """Those of several batches, one after another."""
        return cls(*map(torch.cat, zip(*(vars(part).values() for part in parts), strict=True)))

    def pooled(self, axis: int) -> QuarterSums:
        """Both truths (axis 1) or all quarters (axis 2) of a picture together; the axis stays, of length 1."""
        count = self.count.sum(axis, keepdim=True)
        mean = (self.count * self.mean).sum(axis, keepdim=True) / count.clamp(min=1)
        apart = self.count * (self.mean - mean) ** 2
        return QuarterSums(count, mean, (self.squares + apart).sum(axis, keepdim=True))

    def mean_absolute_error(self) -> Tensor:
        """(B,): the prediction's sum outside the object, and what it lacks inside, over all pixels."""
        lacking = torch.stack([self.mean[:, 0], 1 - self.mean[:, 1]], 1)
        return (self.count * lacking).sum((1, 2)) / self.count.sum((1, 2))


def s_measure(prediction: Map, truth: Map, normalize: bool = False, alpha: float = 0.5) -> Tensor:
    """The structure measure α · S_object + (1 − α) · S_region, not below 0.

    S_object compares means and spreads: μ · O_FG + (1 − μ) · O_BG, where μ is the salient share of the picture, and
    O = 2x̄ / (x̄² + 1 + σ) of the prediction on the object (FG), and of 1 − prediction outside (BG). S_region cuts
    both maps into four at the object's centre, and weights the structural similarity of each quarter by its area
    (Fan et al., "Structure-measure: A New Way to Evaluate Foreground Maps", 2017).

    As in the authors' code: an empty truth scores 1 − mean, a full one the mean of the prediction; a quarter
    in which prediction and truth are constant scores 1. In pysodmetrics (1.6) two things differ: there rounding
    decides whether a constant quarter has a variance of 0, and an object at the picture's last row or column,
    which leaves two quarters without a pixel, gives NaN. Here a quarter without pixels counts nothing.

    Args:
        prediction: float in [0, 1] or uint8, (B, 1, H, W) or (H, W); see :func:`as_pairs`.
        truth: bool or gray, of the same shape.
        normalize: stretch each prediction to 0..1 first.
        alpha: weight of the objects, in [0, 1].

    Returns:
        float64 (B,), or () for a single picture.

    Raises:
        TypeError, ValueError: as :func:`as_pairs`; ValueError for ``alpha`` out of [0, 1].
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must be in [0, 1]")
    pairs = as_pairs(prediction, truth, normalize)
    return pairs.result(s_scores(sum_quarters(pairs), alpha))


def s_scores(sums: QuarterSums, alpha: float = 0.5) -> Tensor:
    """The S-measure (B,) from sums."""
    whole = sums.pooled(2)
    background, salient = whole.count[:, 0, 0], whole.count[:, 1, 0]
    structure = alpha * _object_score(whole) + (1 - alpha) * _region_score(sums)
    mean = whole.pooled(1).mean[:, 0, 0]
    structure = torch.where(salient == 0, 1 - mean, structure.clamp(min=0))
    return torch.where(background == 0, mean, structure)


def _object_score(whole: QuarterSums) -> Tensor:
    """μ · O_FG + (1 − μ) · O_BG, (B,)."""
    share = whole.count / whole.count.sum(1, keepdim=True)
    deviation = (whole.squares / (whole.count - 1).clamp(min=1)).sqrt()
    # outside the object 1 − prediction is asked for: another mean, the same spread
    outside = torch.tensor([True, False], device=share.device)[:, None]
    mean = torch.where(outside, 1 - whole.mean, whole.mean)
    return (share * 2 * mean / (mean**2 + 1 + deviation + EPS)).sum((1, 2))


def _region_score(sums: QuarterSums) -> Tensor:
    """Structural similarity of the quarters, weighted by their areas, (B,)."""
    both = sums.pooled(1)
    count, x, salient = both.count[:, 0], both.mean[:, 0], sums.count[:, 1]
    y = salient / count.clamp(min=1)
    free = (count - 1).clamp(min=1)
    variance_x = both.squares[:, 0] / free
    variance_y = salient * (1 - y) / free  # of zeros and ones
    covariance = salient * (1 - y) * (sums.mean[:, 1] - sums.mean[:, 0]) / free
    above = 4 * x * y * covariance
    below = (x**2 + y**2) * (variance_x + variance_y)
    similarity = torch.where(above == 0, (below == 0).double(), above / (below + EPS))
    return (count / count.sum(1, keepdim=True) * similarity).sum(1)


def sum_quarters(pairs: Pairs) -> QuarterSums:
    """One pass over the pixels: products with zeros and ones add up rows and columns of the quarters.

    Sums are of the distance from a corner of the picture, which is a pixel of its quarter: in a quarter that
    is constant they are exactly 0, and squares of small differences are not lost beside large means.
    """
    prediction, truth = pairs.prediction, pairs.truth.double()
    rows, columns = _halves(truth.sum(2)), _halves(truth.sum(1))  # (B, 2, H), (B, 2, W)
    corners = prediction[:, [0, -1]][:, :, [0, -1]]

    def add(values: Tensor) -> Tensor:
        return torch.bmm(torch.bmm(rows, values), columns.transpose(1, 2)).flatten(1)  # (B, 4)

    # in place from here on: fresh memory for each product would cost more than the products
    distance = (rows.transpose(1, 2) @ corners @ columns).neg_().add_(prediction)
    count, total = add(truth), add(distance)
    salient = truth.mul_(distance)
    first, second = add(salient), add(salient.mul_(distance))
    squares = add(distance.mul_(distance))
    area = (rows.sum(2)[:, :, None] * columns.sum(2)[:, None]).flatten(1)
    counts = torch.stack([area - count, count], 1)
    firsts = torch.stack([total - first, first], 1)
    seconds = torch.stack([squares - second, second], 1)
    shift = firsts / counts.clamp(min=1)
    return QuarterSums(
        counts,
        torch.where(counts > 0, corners.flatten(1)[:, None] + shift, 0),
        (seconds - shift * firsts).clamp(min=0),
    )


def _halves(salient: Tensor) -> Tensor:
    """Zeros and ones (B, 2, N): which rows (or columns) lie up to the object's centre, and which beyond.

    Args:
        salient: salient pixels of each, (B, N). The mean index is rounded, a half to the even one.
    """
    place = torch.arange(salient.shape[1], device=salient.device)
    centre = (salient @ place.double() / salient.sum(1).clamp(min=1)).round()
    upper = place <= centre[:, None]
    return torch.stack([upper, ~upper], 1).double()
