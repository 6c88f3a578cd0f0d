"""Boxes: their formats, areas, overlaps. Everywhere x1, y1, x2, y2 in pixels, x2 and y2 exclusive."""

from __future__ import annotations

import torch
from torch import Tensor

FORMATS = ("xyxy", "xywh", "cxcywh")


def convert_boxes(boxes: Tensor, source: str, target: str) -> Tensor:
    """Boxes in another format.

    ``xyxy`` is left, top, right, bottom; ``xywh`` (COCO) is left, top, width, height; ``cxcywh``
    (YOLO) is centre, width, height. All are in the same unit, whatever that is.

    Args:
        boxes: (..., 4), floating point.
        source: the format they are in.
        target: the format wanted.

    Returns:
        (..., 4), a new tensor.

    Raises:
        ValueError: for an unknown format, another shape, or whole numbers (a centre may need halves).
    """
    for name, value in [("source", source), ("target", target)]:
        if value not in FORMATS:
            raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(FORMATS)}")
    if boxes.shape[-1:] != (4,):
        raise ValueError(
            f"boxes has the shape {tuple(boxes.shape)}; its last axis must have 4 entries"
        )
    if not boxes.is_floating_point():
        raise ValueError(f"boxes is {boxes.dtype}; it must be floating point")
    a, b, c, d = boxes.unbind(-1)
    if source == target:
        return boxes.clone()
    if source == "xyxy":
        left, top, width, height = a, b, c - a, d - b
    elif source == "xywh":
        left, top, width, height = a, b, c, d
    else:
        left, top, width, height = a - c / 2, b - d / 2, c, d
    if target == "xyxy":
        parts = (left, top, left + width, top + height)
    elif target == "xywh":
        parts = (left, top, width, height)
    else:
        parts = (left + width / 2, top + height / 2, width, height)
    return torch.stack(parts, -1)


def box_area(boxes: Tensor) -> Tensor:
    """Areas (N,) of boxes (N, 4), px²; a box whose right is left of its left is empty: 0."""
    _check("boxes", boxes)
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of every pair.

    Args:
        first: (N, 4).
        second: (M, 4).

    Returns:
        (N, M) in [0, 1]; two boxes without any area have 0, where torchvision has NaN.

    Raises:
        ValueError: for other shapes.
    """
    intersection, union = _overlaps(first, second)
    return torch.where(union > 0, intersection / union, 0.0)


def generalized_box_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU minus the share of the common hull that neither box fills (Rezatofighi et al., CVPR 2019).

    Unlike IoU it still says how far apart two boxes are that do not touch.

    Args:
        first: (N, 4).
        second: (M, 4).

    Returns:
        (N, M) in [-1, 1]; 0 where the hull itself has no area.
    """
    intersection, union = _overlaps(first, second)
    low = torch.minimum(first[:, None, :2], second[:, :2])
    high = torch.maximum(first[:, None, 2:], second[:, 2:])
    hull = (high - low).clamp(min=0).prod(2)
    iou = torch.where(union > 0, intersection / union, 0.0)
    return torch.where(hull > 0, iou - (hull - union) / hull, 0.0)


def clip_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) cut at the borders of a picture of ``size`` = (height, width), px."""
    height, width = size
    limits = boxes.new_tensor([width, height, width, height])
    return torch.minimum(boxes.clamp(min=0), limits)


def full_precision(values: Tensor) -> Tensor:
    """Half-precision numbers as float32, for coordinates need more than eleven bits; others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _overlaps(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    _check("first", first)
    _check("second", second)
    low = torch.maximum(first[:, None, :2], second[:, :2])
    high = torch.minimum(first[:, None, 2:], second[:, 2:])
    intersection = (high - low).clamp(min=0).prod(2)
    return intersection, box_area(first)[:, None] + box_area(second) - intersection


def _check(name: str, boxes: Tensor) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f"{name} has the shape {tuple(boxes.shape)}; it must be (N, 4)")
