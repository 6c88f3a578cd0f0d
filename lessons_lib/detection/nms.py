"""Non-maximum suppression: of boxes that overlap, the one with the best score stays."""

from __future__ import annotations

import torch
import torchvision
from torch import Tensor

from .boxes import box_iou


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """The boxes that survive, best score first, by torchvision's kernel.

    The best box stays, and every box that overlaps it by more than ``threshold`` goes; then the best
    of the rest. No truth is involved. Of equal scores the earlier box comes first.

    Args:
        boxes: (N, 4), x1, y1, x2, y2.
        scores: (N,).
        threshold: IoU in [0, 1] above which the worse of two boxes goes.

    Returns:
        int64 (K,), indices of the survivors by falling score.

    Raises:
        ValueError: for a threshold outside [0, 1], or shapes that do not fit.
    """
    _check(boxes, scores, threshold)
    return torchvision.ops.nms(boxes, scores, threshold)


def nms_plain(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """:func:`nms` as a loop, to be read: the same indices, a few hundred times slower."""
    _check(boxes, scores, threshold)
    left = scores.argsort(descending=True, stable=True)
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        overlap = box_iou(boxes[best][None], boxes[left])[0]
        left = left[overlap.double() <= threshold]  # the kernel compares in float64 too
    return torch.stack(kept) if kept else left


def batched_nms(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """:func:`nms` within each label: boxes of different labels leave each other alone.

    Args:
        boxes: (N, 4).
        scores: (N,).
        labels: int64 (N,), classes or levels of a pyramid.
        threshold: IoU in [0, 1].

    Returns:
        int64 (K,), indices of the survivors by falling score.
    """
    _check(boxes, scores, threshold)
    if labels.shape != scores.shape:
        raise ValueError(
            f"labels has the shape {tuple(labels.shape)}; it must be that of scores, "
            f"{tuple(scores.shape)}"
        )
    return torchvision.ops.batched_nms(boxes, scores, labels, threshold)


def _check(boxes: Tensor, scores: Tensor, threshold: float) -> None:
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is {threshold}; an IoU is in [0, 1]")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise ValueError(
            f"boxes has the shape {tuple(boxes.shape)} and scores {tuple(scores.shape)}; "
            "they must be (N, 4) and (N,)"
        )
