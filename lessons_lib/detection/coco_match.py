"""COCO's matching of detections to truths, for all pictures, areas and thresholds at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lessons_lib.detection.coco_read import Bools, Floats, Ints, Problem, pair_iou

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""The ten thresholds of the IoU over which AP is averaged."""
AREAS = {
    "all": (0.0, 1e10),
    "small": (0.0, 1024.0),
    "medium": (1024.0, 9216.0),
    "large": (9216.0, 1e10),
}
"""Ranges of area in px², both ends included: small is up to 32 x 32, large from 96 x 96."""
MOST = 100
"""Detections of one category that count in a picture, those of the highest scores."""


@dataclass(frozen=True)
class Matches:
    """What became of each detection, sorted by category, picture and falling score.

    Attributes:
        row: int64 (D,), the detection's row in the file.
        category: int64 (D,).
        rank: int64 (D,), how many of its picture and category stand before it.
        score: float64 (D,).
        matched: bool (D, areas, thresholds), whether it took a truth.
        ignored: bool (D, areas, thresholds), whether it counts neither as right nor as wrong.
        truth_count: int64 (categories, areas), truths to be found.
    """

    row: Ints
    category: Ints
    rank: Ints
    score: Floats
    matched: Bools
    ignored: Bools
    truth_count: Ints


def match(problem: Problem, thresholds: Floats = THRESHOLDS) -> Matches:
    """Every detection, best score first, takes the free truth of its class that it overlaps most.

    Truths outside the area's range, and crowds, are ignored: they are taken only if no other truth
    fits, and a detection that takes one is ignored too. Crowds may be taken many times. A detection
    that takes nothing is ignored if its own area lies outside the range. Of equal overlaps the truth
    that stands later in the file wins, as in COCO's own code.

    Only pairs above the lowest threshold matter. They are worked through in rounds: in round r the r-th
    detection of each picture and class chooses, all pictures at once.
    """
    truths, found = problem.truths, problem.detections
    low, high = np.array(list(AREAS.values())).T
    outside = (truths.area[:, None] < low) | (truths.area[:, None] > high)
    truth_ignored = outside | truths.crowd[:, None]  # (G, areas)
    row = np.lexsort((-found.score, found.image, found.category))
    rank = _ranks(found.category[row] * len(problem.images) + found.image[row])
    row, rank = row[rank < MOST], rank[rank < MOST]
    detection, truth = equal_pairs(
        found.category[row] * len(problem.images) + found.image[row],
        truths.category * len(problem.images) + truths.image,
    )
    iou = pair_iou(problem, row[detection], truth)
    floor = np.minimum(thresholds, 1 - 1e-10)
    near = iou >= floor.min()
    detection, truth, iou = detection[near], truth[near], iou[near]
    order = np.lexsort((truth, iou, detection, rank[detection]))  # of one detection the best last
    detection, truth, iou = detection[order], truth[order], iou[order]
    shape = (len(row), len(AREAS), len(thresholds))
    matched, ignored = np.zeros(shape, bool), np.zeros(shape, bool)
    taken = np.zeros((len(truths.area), *shape[1:]), bool)
    rounds = np.searchsorted(rank[detection], np.arange(MOST + 1))
    for begin, end in pairwise(rounds.tolist()):
        if begin == end:
            continue
        d, t = detection[begin:end], truth[begin:end]
        free = ~taken[t] | truths.crowd[t, None, None]
        fits = free & (iou[begin:end, None] >= floor)[:, None]
        # The choice is the greatest number: a truth that counts is worth more than any ignored one.
        worth = np.arange(len(d))[:, None] + len(d) * ~truth_ignored[t]
        choice = np.where(fits, worth[:, :, None], -1)
        opens = np.flatnonzero(np.diff(d, prepend=-1))
        best = np.maximum.reduceat(choice, opens)
        n, area, threshold = np.nonzero(best >= 0)
        value = best[n, area, threshold]
        chosen = t[value % len(d)]
        matched[d[opens[n]], area, threshold] = True
        ignored[d[opens[n]], area, threshold] = value < len(d)
        taken[chosen, area, threshold] = True
    own = found.area[row, None]
    ignored |= ~matched & ((own < low) | (own > high))[:, :, None]
    counts = np.zeros((len(problem.categories), len(AREAS)), np.int64)
    np.add.at(counts, truths.category, ~truth_ignored)
    return Matches(row, found.category[row], rank, found.score[row], matched, ignored, counts)


def _ranks(key: Ints) -> Ints:
    """How many of the same key stand before each of sorted keys."""
    opens = np.diff(key, prepend=-1) > 0
    return np.arange(len(key)) - np.flatnonzero(opens)[np.cumsum(opens) - 1]


def equal_pairs(detection_key: Ints, truth_key: Ints) -> tuple[Ints, Ints]:
    """All pairs (detection, truth) with the same key."""
    order = np.argsort(truth_key, kind="stable")
    ordered = truth_key[order]
    begin = np.searchsorted(ordered, detection_key, "left")
    many = np.searchsorted(ordered, detection_key, "right") - begin
    detection = np.repeat(np.arange(len(detection_key)), many)
    within = np.arange(len(detection)) - np.repeat(np.cumsum(many) - many, many)
    return detection, order[within + begin[detection]]
