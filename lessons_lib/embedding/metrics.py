"""How well two label maps agree: every measure from one overlap table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

THRESHOLDS = tuple(round(0.5 + 0.05 * k, 2) for k in range(10))  # 0.5, 0.55, …, 0.95


@dataclass(frozen=True)
class Overlap:
    """How many pixels each predicted instance shares with each true one.

    ``shared`` int64 (P, T); ``predicted_ids`` (P,) and ``true_ids`` (T,) in ascending order;
    ``predicted_area`` (P,) and ``true_area`` (T,) in pixels.
    """

    shared: NDArray[np.int64]
    predicted_ids: NDArray[np.int64]
    true_ids: NDArray[np.int64]
    predicted_area: NDArray[np.int64]
    true_area: NDArray[np.int64]

    @property
    def union(self) -> NDArray[np.int64]:
        """(P, T): pixels in either of the two."""
        return self.predicted_area[:, None] + self.true_area[None, :] - self.shared

    @property
    def iou(self) -> NDArray[np.float64]:
        """(P, T): intersection over union."""
        return self.shared / self.union

    @property
    def dice(self) -> NDArray[np.float64]:
        """(P, T): 2·intersection over the sum of the areas."""
        return 2 * self.shared / (self.predicted_area[:, None] + self.true_area[None, :])


@dataclass(frozen=True)
class Matching:
    """What :func:`match_instances` found at one threshold.

    ``pairs`` holds (predicted id, true id, IoU) of the true positives. A ratio without a denominator
    is 1 when neither map has an instance, and 0 when only one has.
    """

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    pairs: tuple[tuple[int, int, float], ...]

    @property
    def precision(self) -> float:
        """TP / (TP + FP)."""
        return self._ratio(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """TP / (TP + FN)."""
        return self._ratio(self.true_positives, self.true_positives + self.false_negatives)

    @property
    def f1(self) -> float:
        """2 TP / (2 TP + FP + FN); also the recognition quality RQ of Kirillov et al. (2019)."""
        return self._ratio(
            2 * self.true_positives,
            2 * self.true_positives + self.false_positives + self.false_negatives,
        )

    @property
    def dsb_score(self) -> float:
        """TP / (TP + FP + FN), at one threshold; the 2018 Data Science Bowl (Caicedo et al., 2019)
        averaged it over ten (:func:`mean_dsb_score`)."""
        return self._ratio(
            self.true_positives, self.true_positives + self.false_positives + self.false_negatives
        )

    @property
    def segmentation_quality(self) -> float:
        """Mean IoU of the true positives (SQ of Kirillov et al., 2019)."""
        return self._ratio(sum(iou for _, _, iou in self.pairs), self.true_positives)

    @property
    def panoptic_quality(self) -> float:
        """PQ = SQ · RQ (Kirillov et al., 2019, equation 1)."""
        return self.segmentation_quality * self.f1

    def _ratio(self, numerator: float, denominator: float) -> float:
        if denominator:
            return numerator / denominator
        return float(self.false_positives + self.false_negatives == 0)


def overlap(predicted: ArrayLike | Tensor, truth: ArrayLike | Tensor) -> Overlap:
    """Counts shared pixels of two label maps (H, W) of integers, 0 = background; any other ids.

    Raises:
        TypeError: for maps that are not integer.
        ValueError: for maps of different shapes, or not two-dimensional.
    """
    a, b = _label_map("predicted", predicted), _label_map("truth", truth)
    if a.shape != b.shape:
        raise ValueError(
            f"predicted has shape {a.shape} and truth {b.shape}; they must be the same"
        )
    ids_a, a = np.unique(a, return_inverse=True)
    ids_b, b = np.unique(b, return_inverse=True)
    table = np.bincount(a.ravel() * len(ids_b) + b.ravel(), minlength=len(ids_a) * len(ids_b))
    table = table.reshape(len(ids_a), len(ids_b))
    keep_a, keep_b = ids_a != 0, ids_b != 0
    return Overlap(
        shared=table[np.ix_(keep_a, keep_b)],
        predicted_ids=ids_a[keep_a],
        true_ids=ids_b[keep_b],
        predicted_area=table.sum(1)[keep_a],
        true_area=table.sum(0)[keep_b],
    )


def match_instances(
    predicted: ArrayLike | Tensor, truth: ArrayLike | Tensor, threshold: float = 0.5
) -> Matching:
    """Matches instances one to one where their IoU exceeds the threshold.

    At 0.5 and above an instance can exceed it with one partner only. Below, the assignment with the
    most pairs is taken, and among those the one of greatest total IoU.

    Args:
        predicted, truth: integer (H, W), 0 = background.
        threshold: of the IoU, in [0, 1), exclusive.

    Raises:
        ValueError: for a threshold outside [0, 1), and as :func:`overlap`.
    """
    return _match(overlap(predicted, truth), threshold)


def _match(table: Overlap, threshold: float) -> Matching:
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold is {threshold}; it must be in [0, 1)")
    iou = table.iou
    exceeds = iou > threshold
    if threshold >= 0.5:
        rows, columns = exceeds.nonzero()
    else:
        # a pair is worth more than all IoUs together, so that first the number of pairs counts
        rows, columns = linear_sum_assignment(
            np.where(exceeds, min(iou.shape, default=0) + 1 + iou, 0), maximize=True
        )
        kept = exceeds[rows, columns]
        rows, columns = rows[kept], columns[kept]
    return Matching(
        threshold=threshold,
        true_positives=len(rows),
        false_positives=len(table.predicted_ids) - len(rows),
        false_negatives=len(table.true_ids) - len(rows),
        pairs=tuple(
            (int(table.predicted_ids[i]), int(table.true_ids[j]), float(iou[i, j]))
            for i, j in zip(rows, columns, strict=True)
        ),
    )


def mean_dsb_score(
    predicted: ArrayLike | Tensor,
    truth: ArrayLike | Tensor,
    thresholds: tuple[float, ...] = THRESHOLDS,
) -> float:
    """Mean of TP / (TP + FP + FN) over IoU thresholds, 0.5 to 0.95 by 0.05 unless told otherwise.

    Raises:
        ValueError: without thresholds, and as :func:`match_instances`.
    """
    if not thresholds:
        raise ValueError("thresholds is empty; it must hold at least one")
    table = overlap(predicted, truth)
    return float(np.mean([_match(table, t).dsb_score for t in thresholds]))


def symmetric_best_dice(predicted: ArrayLike | Tensor, truth: ArrayLike | Tensor) -> float:
    """SBD of the leaf segmentation challenge (Scharr et al., 2016): the lesser of the two best Dices.

    Best Dice in one direction is the mean, over the instances of one map, of the greatest Dice with
    any instance of the other. 1 when neither map has an instance, 0 when only one has.

    Args:
        predicted, truth: integer (H, W), 0 = background.
    """
    dice = overlap(predicted, truth).dice
    if 0 in dice.shape:
        return float(dice.shape == (0, 0))
    return float(min(dice.max(1).mean(), dice.max(0).mean()))


def count_difference(predicted: ArrayLike | Tensor, truth: ArrayLike | Tensor) -> float:
    """DiC: instances predicted less instances there (Scharr et al., 2016). ``|DiC|`` is its size."""
    table = overlap(predicted, truth)
    return float(len(table.predicted_ids) - len(table.true_ids))


def aggregated_jaccard(predicted: ArrayLike | Tensor, truth: ArrayLike | Tensor) -> float:
    """AJI (Kumar et al., 2017, algorithm 1).

    Each true instance takes the predicted one of greatest IoU with it (the same one may be taken
    twice); intersections and unions are summed, and predicted instances that nobody took add their
    area to the union. 1 when neither map has an instance.

    Args:
        predicted, truth: integer (H, W), 0 = background.
    """
    table = overlap(predicted, truth)
    if 0 in table.shared.shape:
        return float(table.shared.shape == (0, 0))
    true = np.arange(len(table.true_ids))
    best = table.iou.argmax(0)  # (T,)
    touching = table.shared[best, true] > 0
    intersection = table.shared[best, true].sum()
    union = np.where(touching, table.union[best, true], table.true_area).sum()
    taken = np.zeros(len(table.predicted_ids), bool)
    taken[best[touching]] = True
    return float(intersection / (union + table.predicted_area[~taken].sum()))


def instance_measures(predicted: ArrayLike | Tensor, truth: ArrayLike | Tensor) -> dict[str, float]:
    """What the recipes on real pictures report of one picture, by name.

    ``dsb_50``, ``dsb_75`` and ``dsb_mean`` (:attr:`Matching.dsb_score` at IoU 0.5, 0.75 and averaged over
    0.5:0.95), ``pq``, ``aji``, ``sbd``, ``absolute_dic`` and ``foreground_iou``, the IoU of all instances together.

    Args:
        predicted, truth: integer (H, W), 0 = background.
    """
    table = overlap(predicted, truth)
    half = _match(table, 0.5)
    both = np.count_nonzero(
        (_label_map("predicted", predicted) > 0) & (_label_map("truth", truth) > 0)
    )
    either = table.predicted_area.sum() + table.true_area.sum() - both
    return {
        "dsb_50": half.dsb_score,
        "dsb_75": _match(table, 0.75).dsb_score,
        "dsb_mean": float(np.mean([_match(table, t).dsb_score for t in THRESHOLDS])),
        "pq": half.panoptic_quality,
        "aji": aggregated_jaccard(predicted, truth),
        "sbd": symmetric_best_dice(predicted, truth),
        "absolute_dic": abs(count_difference(predicted, truth)),
        "foreground_iou": float(both / either) if either else 1.0,
    }


def _label_map(name: str, labels: ArrayLike | Tensor) -> NDArray[np.int64]:
    array = labels.detach().cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    if array.dtype.kind not in "iub":
        raise TypeError(f"{name} is {array.dtype}; it must be integer")
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}; it must be (H, W)")
    return array.astype(np.int64)
