"""What the YOLO detectors share: objects in cells, boxes from cells, detections from boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .boxes import box_area, box_iou
from .roi_heads import RoISettings, detections
from .targets import Target

DETECTIONS = RoISettings(score_threshold=0.01, nms_threshold=0.5, detections=100)
"""Least score, NMS and number of detections by default; what it says of sampling is not used."""


class Objects(NamedTuple):
    """The objects of a whole batch in one list.

    Attributes:
        picture: int64 (T,), the picture each is in.
        boxes: (T, 4), px.
        labels: int64 (T,), 1 and up.
    """

    picture: Tensor
    boxes: Tensor
    labels: Tensor

    def rows(self, index: Tensor) -> Objects:
        """Some of them."""
        return Objects(*(values[index] for values in self))


def gather_objects(targets: Sequence[Target]) -> Objects:
    """All objects of a batch, picture after picture."""
    counts = torch.tensor([len(target["labels"]) for target in targets])
    labels = torch.cat([target["labels"] for target in targets])
    boxes = torch.cat([target["boxes"] for target in targets])
    picture = torch.arange(len(targets)).repeat_interleave(counts)
    return Objects(picture.to(labels.device), boxes, labels)


def cells_of(boxes: Tensor, rows: int, columns: int, stride: tuple[float, float]) -> Tensor:
    """The cell that each box's centre falls into: int64 (T, 2), row and column.

    Args:
        boxes: (T, 4), px; a centre on the lower or right border belongs to the last cell.
        rows, columns: of the grid.
        stride: height and width of a cell, px.
    """
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    row = (centre[:, 1] / stride[0]).long().clamp(0, rows - 1)
    column = (centre[:, 0] / stride[1]).long().clamp(0, columns - 1)
    return torch.stack([row, column], 1)


def first_of_each(slots: Tensor) -> Tensor:
    """Indices of the first of every value in ``slots`` (T,): a place has room for one object.

    The papers do not say who wins; the released code of v1 keeps the first, too.
    """
    order = slots.argsort(stable=True)
    sorted_slots = slots[order]
    is_first = torch.ones_like(sorted_slots, dtype=torch.bool)
    is_first[1:] = sorted_slots[1:] != sorted_slots[:-1]
    return order[is_first].sort()[0]


def decode_grid(moves: Tensor, anchors: Tensor, stride: tuple[float, float]) -> Tensor:
    """Direct location (Redmon and Farhadi, CVPR 2017, section 2; 2018, section 2.1).

    bx = (σ(tx) + cx) · stride, by likewise; bw = pw · exp(tw), bh = ph · exp(th). The centre cannot
    leave its cell, for σ is in 0..1.

    Args:
        moves: (B, h, w, A, 4), tx, ty, tw, th.
        anchors: (A, 2), widths pw and heights ph, px.
        stride: height and width of a cell, px.

    Returns:
        (B, h, w, A, 4), x1, y1, x2, y2 in px. Scales are kept below exp(8), so that they do not overflow.
    """
    rows, columns = moves.shape[1:3]
    y = torch.arange(rows, device=moves.device)[:, None, None]
    x = torch.arange(columns, device=moves.device)[None, :, None]
    centre_x = (moves[..., 0].sigmoid() + x) * stride[1]
    centre_y = (moves[..., 1].sigmoid() + y) * stride[0]
    half = anchors.to(moves) * moves[..., 2:].clamp(max=8).exp() / 2
    centre = torch.stack([centre_x, centre_y], -1)
    return torch.cat([centre - half, centre + half], -1)


def encode_grid(
    boxes: Tensor, cells: Tensor, anchors: Tensor, stride: tuple[float, float]
) -> Tensor:
    """What a cell should say of a box: σ(tx), σ(ty) in 0..1, tw and th.

    Args:
        boxes: (T, 4), px.
        cells: int64 (T, 2), from :func:`cells_of`.
        anchors: (T, 2), the anchor of each box, px.
        stride: height and width of a cell, px.

    Returns:
        (T, 4). The first two are not inverted through σ: on a cell's border that would be infinite.
    """
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    offset = centre / centre.new_tensor([stride[1], stride[0]]) - cells.flip(1)
    return torch.cat([offset, (size / anchors).log()], 1)


def paired_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU (...) of boxes (..., 4) and (..., 4), each with its own partner; 0 where both are empty."""
    low = torch.maximum(first[..., :2], second[..., :2])
    high = torch.minimum(first[..., 2:], second[..., 2:])
    overlap = (high - low).clamp(min=0).prod(-1)
    areas = [(b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1) for b in (first, second)]
    union = areas[0] + areas[1] - overlap
    return torch.where(union > 0, overlap / union.clamp(min=1e-12), 0.0)


def best_iou(boxes: Tensor, targets: Sequence[Target]) -> Tensor:
    """How well each predicted box (B, N, 4) fits its best object: (B, N), 0 without objects."""
    rows = [
        box_iou(predicted, target["boxes"].to(predicted)).amax(1)
        if len(target["boxes"])
        else predicted.new_zeros(len(predicted))
        for predicted, target in zip(boxes, targets, strict=True)
    ]
    return torch.stack(rows)


def nearest_shape(boxes: Tensor, anchors: Tensor) -> Tensor:
    """The anchor (A, 2) whose shape fits each box (T, 4) best, both laid on one centre: int64 (T,)."""
    laid = boxes.new_zeros(len(anchors), 4)
    laid[:, 2:] = anchors.to(boxes)
    at_origin = torch.zeros_like(boxes)
    at_origin[:, 2:] = boxes[:, 2:] - boxes[:, :2]
    # argmax of an empty axis is an error; there are always anchors, but perhaps no boxes
    return box_iou(at_origin, laid).argmax(1)


def grid_detections(
    boxes: Tensor, scores: Tensor, size: tuple[int, int], settings: RoISettings
) -> dict[str, Tensor]:
    """Thresholds and NMS of each class over boxes (N, 4) that all classes share.

    Args:
        boxes: (N, 4), px.
        scores: (N, C), of each class without the background.
        size: height and width of the picture, px.
        settings: ``score_threshold``, ``nms_threshold`` and ``detections`` are used.
    """
    likely = (scores > settings.score_threshold).any(1) & (box_area(boxes) > 0)
    boxes, scores = boxes[likely], scores[likely]
    with_background = torch.cat([torch.zeros_like(scores[:, :1]), scores], 1)
    shared = boxes[:, None].expand(-1, with_background.shape[1], -1)
    return detections(shared, with_background, size, settings)
