"""Pooling a box of any size to a grid of fixed size: readable versions.

They equal ``torchvision.ops.roi_pool`` and ``roi_align``, whose kernels the detectors use, and are
made to be read: a loop over boxes, and the arithmetic of one axis at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchvision
from torch import Tensor


def roi_pool(
    features: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
) -> Tensor:
    """The greatest value in each bin of a grid over each box (Girshick, ICCV 2015, section 2.1).

    Everything is rounded to whole cells: first the corners of the box, then the borders of the bins,
    outwards. So bins differ in size by a cell, neighbours may share a row of cells, and a box that
    moves by less than a cell may pool the same values as before, or quite others.

    Args:
        features: (B, C, H, W).
        boxes: a list of B tensors (n, 4), or one tensor (N, 5) whose first column is the picture;
            x1, y1, x2, y2 in px of the picture.
        output_size: bins along height and width.
        spatial_scale: cells a pixel of the picture: 1 / stride.

    Returns:
        (N, C, height, width of the grid); a bin without any cell is 0.

    Raises:
        ValueError: for shapes or numbers that make no grid.
    """
    rows, size = _check(features, boxes, output_size, spatial_scale)
    height, width = features.shape[2:]
    corners = _round_half_up(rows[:, 1:] * spatial_scale).long().tolist()
    pooled = features.new_zeros(len(rows), features.shape[1], *size)
    for n, (left, top, right, bottom) in enumerate(corners):
        feature_map = features[int(rows[n, 0])]
        for i, (top_i, bottom_i) in enumerate(bin_borders(top, bottom, size[0], height)):
            for j, (left_j, right_j) in enumerate(bin_borders(left, right, size[1], width)):
                cells = feature_map[:, top_i:bottom_i, left_j:right_j]
                if cells.numel():
                    pooled[n, :, i, j] = cells.amax((1, 2))
    return pooled


def bin_borders(first: int, last: int, bins: int, length: int) -> list[tuple[int, int]]:
    """The cells of each bin along one axis: from floor(i n / b) to ceil((i + 1) n / b), not included.

    Args:
        first, last: rounded borders of the box, in cells; the last cell belongs to the box.
        bins: b.
        length: cells of the map; bins are cut at its borders and may be empty.
    """
    cells = max(last - first + 1, 1)
    size = (
        torch.tensor(cells, dtype=torch.float32) / bins
    )  # in single precision, as the kernel does
    steps = torch.arange(bins + 1, dtype=torch.float32) * size
    starts = (steps[:-1].floor().long() + first).clamp(0, length)
    ends = (steps[1:].ceil().long() + first).clamp(0, length)
    return list(zip(starts.tolist(), ends.tolist(), strict=True))


def roi_align(
    features: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = -1,
    aligned: bool = False,
) -> Tensor:
    """The mean of bilinear samples in each bin of a grid over each box (He et al., 2017, section 3).

    Nothing is rounded. A bin is sampled on a regular grid of points; bilinear interpolation is
    separable, so a box needs one small matrix for its rows and one for its columns.

    Args:
        features, boxes, output_size, spatial_scale: as in :func:`roi_pool`.
        sampling_ratio: points a bin along each axis; 0 or less takes the bin's size in cells, rounded
            up.
        aligned: whether a cell's value lies in its middle, so that half a cell is taken off every
            coordinate. Without, as in torchvision's default, boxes are at least one cell large and
            everything is half a cell off.

    Returns:
        (N, C, height, width of the grid).

    Raises:
        ValueError: as :func:`roi_pool`.
    """
    rows, size = _check(features, boxes, output_size, spatial_scale)
    corners = rows[:, 1:] * spatial_scale - (0.5 if aligned else 0.0)
    extent = corners[:, 2:] - corners[:, :2]
    if not aligned:
        extent = extent.clamp(min=1)
    pooled = [features.new_zeros(0, features.shape[1], *size)]
    for n in range(len(rows)):
        down, across = (
            _sampling_matrix(corners[n, k], extent[n, k], size[1 - k], length, sampling_ratio)
            for k, length in [(1, features.shape[2]), (0, features.shape[3])]
        )
        feature_map = features[int(rows[n, 0])]
        pooled.append(torch.einsum("ih,chw,jw->cij", down, feature_map, across)[None])
    return torch.cat(pooled)


def _sampling_matrix(start: Tensor, extent: Tensor, bins: int, length: int, ratio: int) -> Tensor:
    """What each cell of an axis contributes to each bin: (bins, length)."""
    size = extent / bins
    points = ratio if ratio > 0 else int(size.ceil())
    matrix = size.new_zeros(bins, length)
    if points < 1:
        return matrix
    inside = (torch.arange(points).to(size) + 0.5) * size / points
    at = start + torch.arange(bins).to(size)[:, None] * size + inside
    counts = ((at >= -1) & (at <= length)).to(size) / points  # further out a sample is 0
    at = at.clamp(0, length - 1)
    low = at.floor().long().clamp(max=length - 1)
    high = (low + 1).clamp(max=length - 1)
    share = at - low
    matrix.scatter_add_(1, low, counts * (1 - share))
    return matrix.scatter_add_(1, high, counts * share)


def spatial_pyramid_pool(
    features: Tensor,
    boxes: Tensor | Sequence[Tensor],
    levels: Sequence[int] = (1, 2, 4),
    spatial_scale: float = 1.0,
) -> Tensor:
    """Grids of several sizes over each box, flattened side by side (He et al., ECCV 2014, section 2.2).

    A box of any size becomes a vector of one length. RoI pooling is the special case of one level.
    Corners are rounded as in :func:`roi_pool`; the paper's appendix shrinks them slightly instead.

    Args:
        features, boxes, spatial_scale: as in :func:`roi_pool`.
        levels: bins along each side of each grid; the paper has 1, 2, 3, 6 for detection.

    Returns:
        (N, C · sum of squares of the levels), level by level, channels before bins.

    Raises:
        ValueError: as :func:`roi_pool`, and for no levels.
    """
    if not levels or min(levels) < 1:
        raise ValueError(f"levels is {tuple(levels)}; it must be at least one number from 1 on")
    rows, _ = _check(features, boxes, 1, spatial_scale)
    grids = [torchvision.ops.roi_pool(features, rows, level, spatial_scale) for level in levels]
    return torch.cat([grid.flatten(1) for grid in grids], 1)


def _round_half_up(values: Tensor) -> Tensor:
    """C's ``round`` of numbers: halves away from zero, where torch rounds them to even."""
    return values.sign() * (values.abs() + 0.5).floor()


def _check(
    features: Tensor,
    boxes: Tensor | Sequence[Tensor],
    output_size: int | tuple[int, int],
    spatial_scale: float,
) -> tuple[Tensor, tuple[int, int]]:
    """The boxes as (N, 5), and the two sides of the grid."""
    if features.ndim != 4:
        raise ValueError(f"features has shape {tuple(features.shape)}; it must be (B, C, H, W)")
    if not isinstance(boxes, Tensor):
        if len(boxes) != len(features):
            raise ValueError(
                f"boxes has {len(boxes)} entries; it must have one a picture: {len(features)}"
            )
        for box in boxes:
            if box.ndim != 2 or box.shape[1] != 4:
                raise ValueError(f"boxes has an entry of shape {tuple(box.shape)}; each is (n, 4)")
        pictures = torch.cat([box.new_full((len(box), 1), k) for k, box in enumerate(boxes)])
        boxes = torch.cat([pictures, torch.cat(list(boxes))], 1)
    if boxes.ndim != 2 or boxes.shape[1] != 5:
        raise ValueError(f"boxes has shape {tuple(boxes.shape)}; it must be (N, 5), or a list")
    if not bool(torch.isfinite(boxes).all()):
        raise ValueError("boxes has entries that are not finite")
    if len(boxes) and not 0 <= int(boxes[:, 0].min()) <= int(boxes[:, 0].max()) < len(features):
        raise ValueError(
            f"boxes names picture {int(boxes[:, 0].max())} of {len(features)}; it counts from 0"
        )
    size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
    if len(size) != 2 or min(size) < 1:
        raise ValueError(f"output_size is {output_size}; it must be one or two numbers from 1 on")
    if not spatial_scale > 0:
        raise ValueError(f"spatial_scale is {spatial_scale}; it must be positive")
    return boxes.to(features.dtype), (size[0], size[1])
