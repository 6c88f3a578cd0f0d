"""Keeping touching cells apart: the gap between them, and its weight (Ronneberger et al., 2015, eq. 2)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor


def border_weight_map(instances: Tensor, *, w0: float = 10.0, sigma: float = 5.0) -> Tensor:
    """How much each pixel counts in U-Net's loss: much in the narrow gaps between two cells.

    .. math:: w(x) = 1 + w_0 \\exp(-(d_1(x) + d_2(x))^2 / (2 \\sigma^2))

    on the background, where :math:`d_1` and :math:`d_2` are the distances from pixel x to the nearest
    and to the second nearest cell, in px from pixel centre to pixel centre; 1 on the cells. The
    paper's additional class weights, which balance the classes, are left to the caller.

    Distances are followed as far as the second term exceeds 0.0005 ``w0`` (3.9 ``sigma``); beyond
    that it is 0, so each cell is looked at in a small box only.

    Args:
        instances: int64 (H, W) or (B, H, W), 0 = background. Cells that touch leave no background
            between them: see :func:`separate_touching`.
        w0: height of the second term (paper: 10).
        sigma: its width, px (paper: 5).

    Returns:
        float32 of the same shape.

    Raises:
        ValueError: for another shape, or w0 < 0, or sigma <= 0.
    """
    if w0 < 0 or sigma <= 0:
        raise ValueError(f"w0 is {w0} and sigma {sigma}; w0 must be at least 0, sigma positive")
    if instances.ndim == 3:
        return torch.stack([border_weight_map(one, w0=w0, sigma=sigma) for one in instances])
    if instances.ndim != 2:
        raise ValueError(
            f"instances has shape {tuple(instances.shape)}; it must be (H, W) or (B, H, W)"
        )
    labels = instances.cpu().numpy()
    reach = 3.9 * sigma
    nearest = np.full(labels.shape, np.inf)
    second = nearest.copy()
    for box, mask in _boxes(labels, int(np.ceil(reach))):
        distance = exact_distance(~mask)
        closer = distance < nearest[box]
        second[box] = np.where(closer, nearest[box], np.minimum(second[box], distance))
        nearest[box] = np.where(closer, distance, nearest[box])
    together = nearest + second
    gap = np.where(together <= reach, np.exp(-(together**2) / (2 * sigma**2)), 0)
    weights = np.where(labels == 0, 1 + w0 * gap, 1).astype(np.float32)
    return torch.from_numpy(weights).to(instances.device)


def separate_touching(instances: Tensor) -> Tensor:
    """Opens a gap between cells that touch, so that foreground pieces can be counted.

    A pixel becomes background if one of its eight neighbours belongs to another cell.

    Args:
        instances: int64 (H, W), 0 = background.

    Returns:
        int64 (H, W).
    """
    labels = instances.cpu().numpy().astype(np.int32)
    window = np.ones((3, 3), np.uint8)
    # of all neighbours that are cells: the largest id, and the smallest (turned over to skip the 0)
    top = int(labels.max(initial=0)) + 1
    largest = cv2.dilate(labels.astype(np.float32), window)
    turned = np.where(labels > 0, top - labels, 0).astype(np.float32)
    smallest = top - cv2.dilate(turned, window)
    touching = (labels > 0) & (largest != smallest)
    return torch.from_numpy(np.where(touching, 0, labels).astype(np.int64)).to(instances.device)


def exact_distance(outside: np.ndarray) -> np.ndarray:
    """For each pixel of a mask the distance to the nearest pixel that is not in it, float64, px.

    The squares are whole numbers. Rounding them makes OpenCV's answer, good to some 1e-6, exact.
    """
    distance = cv2.distanceTransform(outside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.sqrt(np.rint(distance.astype(np.float64) ** 2))


def _boxes(labels: np.ndarray, reach: int) -> list[tuple[tuple[slice, slice], np.ndarray]]:
    """For each cell the box around it, widened by ``reach``, and its mask there."""
    from scipy.ndimage import find_objects

    found = []
    for identity, box in enumerate(find_objects(labels.astype(np.int64)), 1):
        if box is not None:
            wide = tuple(slice(max(0, part.start - reach), part.stop + reach) for part in box)
            found.append(((wide[0], wide[1]), labels[wide] == identity))
    return found
