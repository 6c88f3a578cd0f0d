"""Average precision as the PASCAL VOC challenges measured it (Everingham et al., 2010)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from lessons_lib.detection.coco_match import equal_pairs
from lessons_lib.detection.coco_read import Bools, Floats, Ints


class VOCScore(NamedTuple):
    """``mean`` over the classes that have truths (nan if none has), and ``by_class``: label → AP."""

    mean: float
    by_class: dict[int, float]


def voc_average_precision(
    truths: Sequence[Mapping[str, Tensor]],
    detections: Sequence[Mapping[str, Tensor]],
    iou_threshold: float = 0.5,
    variant: Literal["2007", "2012"] = "2012",
) -> VOCScore:
    """AP at one IoU threshold, by the development kit's rules.

    A detection is compared with the truth of its class that it overlaps most, and with no other: if that
    one is taken already, the detection is wrong. (COCO looks for another one that is free.) Truths marked
    difficult are not asked for, and what overlaps them counts neither as right nor as wrong.

    Args:
        truths: one dict a picture with ``boxes`` (N, 4) as x1, y1, x2, y2, x2 and y2 exclusive, ``labels``
            int64 (N,), and ``difficult`` bool (N,) where there are such. The kit's files have inclusive
            corners from 1 on, and it adds 1 to each side; both give the same areas.
        detections: as many dicts with ``boxes``, ``labels`` and ``scores`` (N,).
        iou_threshold: in 0..1, more than 0; the threshold itself suffices.
        variant: "2007" is the mean of the greatest precision at recall 0, 0.1, …, 1 or more; "2012", in
            use since 2010, is the area under that envelope.

    Raises:
        ValueError: for another variant, a threshold outside of 0..1, or lists of unequal lengths.
    """
    if variant not in ("2007", "2012"):
        raise ValueError(f"variant is {variant!r}; it must be '2007' or '2012'")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold is {iou_threshold}; it must be in 0..1, and more than 0")
    if len(truths) != len(detections):
        raise ValueError(
            f"detections has {len(detections)} pictures and truths {len(truths)}; they must be as many"
        )
    true_boxes, true_labels, true_image = _columns(truths, "truths")
    difficult = _join(
        [t["difficult"] if "difficult" in t else np.zeros(len(t["labels"])) for t in truths]
    ).astype(bool)
    boxes, labels, image = _columns(detections, "detections")
    scores = _join([d["scores"] for d in detections]).astype(np.float64)
    if not (
        np.isfinite(scores).all() and np.isfinite(boxes).all() and np.isfinite(true_boxes).all()
    ):
        raise ValueError("boxes or scores are not finite everywhere; they must be")
    order = np.argsort(-scores, kind="stable")
    boxes, labels, image = boxes[order], labels[order], image[order]
    pictures = max(len(truths), 1)
    d, t = equal_pairs(labels * pictures + image, true_labels * pictures + true_image)
    iou = _iou(boxes[d], true_boxes[t])
    ranked = np.lexsort(
        (-t, iou, d)
    )  # the greatest overlap last, and of equal ones the first truth
    last = ranked[np.append(np.diff(d[ranked]) > 0, True)[: len(d)]]
    last = last[iou[last] >= iou_threshold]
    d, t = d[last], t[last]
    first = np.zeros(len(d), bool)
    first[np.unique(t, return_index=True)[1]] = True  # d ascends, so the best score comes first
    hit, skipped = np.zeros(len(boxes), bool), np.zeros(len(boxes), bool)
    hit[d[first & ~difficult[t]]] = True
    skipped[d[difficult[t]]] = True
    by_class = {
        int(label): _area(hit[(labels == label) & ~skipped], int(count), variant)
        for label, count in zip(
            *np.unique(true_labels[~difficult], return_counts=True), strict=True
        )
    }
    return VOCScore(float(np.mean(list(by_class.values()))) if by_class else float("nan"), by_class)


def _area(hit: Bools, truth_count: int, variant: str) -> float:
    """AP of one class from its detections by falling score."""
    right = np.cumsum(hit)
    recall, precision = right / truth_count, right / np.arange(1, len(hit) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    if variant == "2007":
        return float(envelope[np.searchsorted(recall, np.arange(11) / 10)].mean())
    steps = np.diff(recall, prepend=0.0)
    return float((steps * envelope[:-1]).sum())


def _columns(entries: Sequence[Mapping[str, Tensor]], name: str) -> tuple[Floats, Ints, Ints]:
    for n, entry in enumerate(entries):
        for key in ("labels", "scores", "difficult"):
            if key in entry and len(entry[key]) != len(entry["boxes"]):
                raise ValueError(
                    f"{name}[{n}] has {len(entry[key])} {key} and {len(entry['boxes'])} boxes"
                )
    labels = _join([entry["labels"] for entry in entries]).astype(np.int64)
    boxes = _join([entry["boxes"] for entry in entries]).astype(np.float64).reshape(-1, 4)
    image = np.repeat(np.arange(len(entries)), [len(entry["labels"]) for entry in entries])
    return boxes, labels, image


def _join(values: Sequence[Tensor | np.ndarray]) -> np.ndarray:
    arrays = [v.detach().cpu().numpy() if isinstance(v, Tensor) else v for v in values]
    arrays = [a.reshape(0) if a.size == 0 else a.reshape(-1) for a in arrays]
    return np.concatenate([np.empty(0), *arrays])


def _iou(a: Floats, b: Floats) -> Floats:
    side = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.maximum(side, 0).prod(1)
    union = (a[:, 2:] - a[:, :2]).prod(1) + (b[:, 2:] - b[:, :2]).prod(1) - shared
    return np.divide(shared, union, out=np.zeros(len(shared)), where=union > 0)
