"""Average precision as COCO measures it (Lin et al., 2014): twelve numbers, by class, and the curve."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lessons_lib.data.rle import encode_rle, rle_area
from lessons_lib.detection.coco_match import AREAS, THRESHOLDS, Matches, match
from lessons_lib.detection.coco_read import Floats, Kind, Source, read_problem

RECALLS = np.linspace(0, 1, 101)
"""The recalls at which precision is read off."""


def average_precision(
    ground_truth: Source, detections: Source, kind: Kind = "boxes"
) -> dict[str, float]:
    """COCO's twelve numbers.

    AP is the mean precision over 101 recalls, ten IoU thresholds (0.50, 0.55, …, 0.95) and all classes
    that have truths; AP50 and AP75 are those of one threshold; APs, APm and APl count truths of up to
    32², 32² to 96² and from 96² px². AR1, AR10 and AR100 are the mean recall with so many detections a
    picture and class; ARs, ARm, ARl are AR100 by area.

    Args:
        ground_truth: a dict in COCO's form with ``images``, ``annotations`` and ``categories``, or the
            path of its JSON. Annotations have ``image_id``, ``category_id``, ``area``, ``bbox`` (x, y,
            width, height) or ``segmentation``, and ``iscrowd``.
        detections: a list of dicts with ``image_id``, ``category_id``, ``score`` and ``bbox`` or
            ``segmentation``, or the path of its JSON. At most 100 a picture and class count.
        kind: whether boxes or masks are compared. Masks are polygons or run lengths, compressed or not.

    Returns:
        AP, AP50, AP75, APs, APm, APl, AR1, AR10, AR100, ARs, ARm, ARl in 0..1; -1 where there is no
        truth.

    Raises:
        DataError: naming the entry of either file and the rule that it breaks.

    The numbers are those of COCO's own code, with two departures. That code forgets a match with an
    annotation whose id is 0; here ids do not matter. And a detection that has both a box and a mask gets
    the mask's area when masks are compared, where that code takes the box's.
    """
    scores = score_matches(match(read_problem(ground_truth, detections, kind)))
    at50, at75 = (int(np.argmin(abs(THRESHOLDS - t))) for t in (0.5, 0.75))
    everything, small, medium, large = range(len(AREAS))
    precision, recall = scores.precision, scores.recall
    return {
        "AP": _mean(precision[:, everything]),
        "AP50": _mean(precision[:, everything, at50]),
        "AP75": _mean(precision[:, everything, at75]),
        "APs": _mean(precision[:, small]),
        "APm": _mean(precision[:, medium]),
        "APl": _mean(precision[:, large]),
        "AR1": _mean(scores.recall_at[1]),
        "AR10": _mean(scores.recall_at[10]),
        "AR100": _mean(recall[:, everything]),
        "ARs": _mean(recall[:, small]),
        "ARm": _mean(recall[:, medium]),
        "ARl": _mean(recall[:, large]),
    }


def average_precision_by_class(
    ground_truth: Source,
    detections: Source,
    kind: Kind = "boxes",
    *,
    iou_threshold: float | None = 0.5,
) -> dict[str, float]:
    """AP of each category by its name, at one threshold; -1 for one without truths.

    Args:
        ground_truth, detections, kind: as :func:`average_precision`.
        iou_threshold: in 0..1; ``None`` for the mean over COCO's ten.

    Raises:
        ValueError: for a threshold outside of 0..1, or two categories of one name.
    """
    problem = read_problem(ground_truth, detections, kind)
    if len(set(problem.names)) < len(problem.names):
        raise ValueError(f"ground_truth: two categories have one name: {problem.names}")
    thresholds = THRESHOLDS if iou_threshold is None else _one(iou_threshold)
    precision = score_matches(match(problem, thresholds)).precision[:, 0]
    return {name: _mean(p) for name, p in zip(problem.names, precision, strict=True)}


@dataclass(frozen=True)
class PrecisionRecall:
    """The curve of one class; row k is what holds if only the k + 1 best detections count.

    Attributes:
        score: float64 (N,), falling.
        hit: bool (N,), whether this detection took a truth.
        precision, recall: float64 (N,).
        envelope: float64 (N,), the greatest precision at this recall or a higher one.
        sampled: float64 (101,), the envelope at the recalls 0, 0.01, …, 1; 0 beyond the last one.
        average_precision: their mean; -1 without truths.
    """

    score: Floats
    hit: np.ndarray
    precision: Floats
    recall: Floats
    envelope: Floats
    sampled: Floats
    average_precision: float


def precision_recall(
    ground_truth: Source,
    detections: Source,
    category: Any,
    kind: Kind = "boxes",
    *,
    iou_threshold: float = 0.5,
) -> PrecisionRecall:
    """Precision against recall of one class at one threshold, over all areas.

    Args:
        ground_truth, detections, kind: as :func:`average_precision`.
        category: id or name of the class.
        iou_threshold: in 0..1.

    Raises:
        ValueError: for a class that the truth does not list, or a threshold outside of 0..1.
    """
    problem = read_problem(ground_truth, detections, kind)
    if category in problem.categories:
        k = problem.categories.index(category)
    elif category in problem.names:
        k = problem.names.index(category)
    else:
        raise ValueError(f"category is {category!r}; ground_truth has {problem.names}")
    matches = match(problem, _one(iou_threshold))
    chosen = np.flatnonzero((matches.category == k) & ~matches.ignored[:, 0, 0])
    chosen = chosen[np.argsort(-matches.score[chosen], kind="stable")]
    hit = matches.matched[chosen, 0, 0]
    truth_count = int(matches.truth_count[k, 0])
    right = np.cumsum(hit)
    precision = right / (np.arange(len(hit)) + 1.0)
    recall = right / max(truth_count, 1)
    envelope, sampled = _envelope(precision[:, None], recall[:, None])
    return PrecisionRecall(
        matches.score[chosen],
        hit,
        precision,
        recall,
        envelope[:, 0],
        sampled[0],
        float(sampled.mean()) if truth_count else -1.0,
    )


@dataclass(frozen=True)
class Scores:
    """Precision (classes, areas, thresholds, 101 recalls), recall (classes, areas, thresholds), and
    recall (classes, thresholds) with 1 and 10 detections a picture; -1 where there is no truth."""

    precision: Floats
    recall: Floats
    recall_at: dict[int, Floats]


def score_matches(matches: Matches) -> Scores:
    """Precision and recall from what became of each detection."""
    class_count, area_count = matches.truth_count.shape
    threshold_count = matches.matched.shape[2]
    precision = np.full((class_count, area_count, threshold_count, len(RECALLS)), -1.0)
    recall = np.full((class_count, area_count, threshold_count), -1.0)
    recall_at = {most: np.full((class_count, threshold_count), -1.0) for most in (1, 10)}
    bounds = np.searchsorted(matches.category, np.arange(class_count + 1))
    right, wrong = matches.matched & ~matches.ignored, ~matches.matched & ~matches.ignored
    for k in range(class_count):
        begin, end = bounds[k], bounds[k + 1]
        order = begin + np.argsort(-matches.score[begin:end], kind="stable")
        hits = np.cumsum(right[order], 0)  # (D, areas, thresholds)
        misses = np.cumsum(wrong[order], 0)
        for area, truth_count in enumerate(matches.truth_count[k].tolist()):
            if not truth_count:
                continue
            share = hits[:, area] / truth_count
            recall[k, area] = share[-1] if end > begin else 0
            ratio = hits[:, area] / (hits[:, area] + misses[:, area] + np.spacing(1))
            precision[k, area] = _envelope(ratio, share)[1]
        if matches.truth_count[k, 0]:
            for most, values in recall_at.items():
                kept = right[begin:end, 0][matches.rank[begin:end] < most]
                values[k] = kept.sum(0) / matches.truth_count[k, 0]
    return Scores(precision, recall, recall_at)


def _envelope(precision: Floats, recall: Floats) -> tuple[Floats, Floats]:
    """The greatest precision from each row (N, T) on, and that at 101 recalls (T, 101)."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    padded = np.concatenate((envelope, np.zeros((1, precision.shape[1]))))
    sampled = [padded[np.searchsorted(recall[:, t], RECALLS), t] for t in range(precision.shape[1])]
    return envelope, np.array(sampled).reshape(-1, len(RECALLS))


def _mean(values: Floats) -> float:
    there = values[values > -1]
    return float(there.mean()) if there.size else -1.0


def _one(threshold: float) -> Floats:
    if not 0 < threshold <= 1:
        raise ValueError(f"iou_threshold is {threshold}; it must be in 0..1, and more than 0")
    return np.array([threshold], np.float64)


def coco_form(
    truths: Sequence[Mapping[str, Any]],
    detections: Sequence[Mapping[str, Any]],
    names: Sequence[str] | None = None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO's two structures from tensors, one dict a picture.

    Args:
        truths: ``boxes`` (N, 4) as x1, y1, x2, y2, ``labels`` (N,), and if there are masks ``masks``,
            bool (N, H, W) or a list of their N run lengths, see
            :func:`~lessons_lib.data.rle.encode_rle`. A truth's area is that of its mask, else that of
            its box. ``crowd`` bool (N,) where there are crowds.
        detections: the same with ``scores`` (N,); as many dicts, in the same order.
        names: of the labels from 0 (background) on. Without it the categories are the labels that occur.

    Returns:
        The truth as a dict and the detections as a list, for :func:`average_precision`. Ids of pictures
        and annotations count from 1.

    Raises:
        ValueError: for unequal lengths, of the lists or within a dict, or labels beyond the names.
    """
    if len(truths) != len(detections):
        raise ValueError(
            f"detections has {len(detections)} pictures and truths {len(truths)}; they must be as many"
        )
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    for number, (truth, found) in enumerate(zip(truths, detections, strict=True), 1):
        images.append({"id": number})
        for entry in (truth, found):
            if size := _size_of(entry.get("masks", [])):
                images[-1]["height"], images[-1]["width"] = size
        rows = _rows(truth, f"truths[{number - 1}]", number)
        crowd = truth["crowd"].tolist() if "crowd" in truth else [False] * len(rows)
        for row, is_crowd in zip(rows, crowd, strict=True):
            row |= {"id": len(annotations) + 1, "iscrowd": int(is_crowd)}
            annotations.append(row)
        scores = found["scores"].tolist()
        rows = _rows(found, f"detections[{number - 1}]", number)
        if len(scores) != len(rows):
            raise ValueError(
                f"detections[{number - 1}] has {len(scores)} scores and {len(rows)} boxes"
            )
        results += [row | {"score": score} for row, score in zip(rows, scores, strict=True)]
    labels = sorted({row["category_id"] for row in (*annotations, *results)})
    if names is not None:
        if labels and not 0 <= labels[0] <= labels[-1] < len(names):
            raise ValueError(f"labels go from {labels[0]} to {labels[-1]}; names has {len(names)}")
        labels = list(range(1, len(names)))
    categories = [{"id": n, "name": names[n] if names is not None else str(n)} for n in labels]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def _size_of(masks: Any) -> Sequence[int] | None:
    """Height and width of masks; ``None`` for an empty list of run lengths, which does not say."""
    if isinstance(masks, Tensor):
        return tuple(masks.shape[-2:])
    return masks[0]["size"] if masks else None


def _rows(entry: Mapping[str, Any], name: str, image_id: int) -> list[dict[str, Any]]:
    boxes, labels = entry["boxes"].detach().reshape(-1, 4).cpu().double(), entry["labels"]
    if len(labels) != len(boxes):
        raise ValueError(f"{name} has {len(labels)} labels and {len(boxes)} boxes")
    sides = boxes[:, 2:] - boxes[:, :2]
    values = (labels.tolist(), torch.cat([boxes[:, :2], sides], 1).tolist(), sides.prod(1).tolist())
    rows = [
        {"image_id": image_id, "category_id": label, "bbox": box, "area": area}
        for label, box, area in zip(*values, strict=True)
    ]
    if "masks" in entry:
        if len(entry["masks"]) != len(rows):
            raise ValueError(f"{name} has {len(entry['masks'])} masks and {len(rows)} boxes")
        for row, mask in zip(rows, entry["masks"], strict=True):
            row["segmentation"] = encode_rle(mask) if isinstance(mask, Tensor) else mask
            row["area"] = float(rle_area(row["segmentation"]))
    return rows
