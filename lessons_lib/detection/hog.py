"""Histograms of oriented gradients (Dalal and Triggs, CVPR 2005)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def gradients(image: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients along rows and columns (B, H, W) of the channel where they are longest.

    The mask is (-1, 0, 1), the best that the paper tried (section 6.2); there is no smoothing before.
    On the picture's border a gradient across it is 0.

    Args:
        image: (B, C, H, W).
    """
    along_rows, along_columns = torch.zeros_like(image), torch.zeros_like(image)
    along_rows[:, :, 1:-1] = image[:, :, 2:] - image[:, :, :-2]
    along_columns[..., 1:-1] = image[..., 2:] - image[..., :-2]
    up, across = along_rows[:, 0], along_columns[:, 0]
    for channel in range(1, image.shape[1]):  # a few wheres are much faster than argmax and gather
        other_up, other_across = along_rows[:, channel], along_columns[:, channel]
        longer = torch.hypot(other_up, other_across) > torch.hypot(up, across)
        up, across = torch.where(longer, other_up, up), torch.where(longer, other_across, across)
    return up, across


def cell_histograms(
    image: Tensor, cell: int = 8, bins: int = 9, *, interpolate: bool = False
) -> Tensor:
    """For each cell, how much gradient points in each direction: (B, bins, rows, columns).

    Directions are unsigned: 0 to 180 degrees, 0 is a gradient along the columns (an upright edge), and it
    turns with y pointing down. Each pixel votes with its gradient's length; a bin is the sum of the votes
    over the cell's area in px². Pixels right and below of the last whole cell are left out.

    Args:
        image: (B, C, H, W).
        cell: side of a cell, px.
        bins: directions, of equal width.
        interpolate: False: a vote goes to one cell and one bin, as in scikit-image. True: it is shared
            between the nearest two bins, and between the nearest cells, by distance of their centres, as
            in the paper (section 6.3). Departure: the paper does this within each block and weights the
            block's pixels by a Gaussian; here the whole picture shares one set of histograms.
    """
    rows, columns = image.shape[2] // cell, image.shape[3] // cell
    along_rows, along_columns = gradients(image)
    length = torch.hypot(along_rows, along_columns)
    angle = torch.rad2deg(torch.atan2(along_rows, along_columns)) % 180
    votes = length.new_zeros(len(image), bins, *length.shape[1:])
    if not interpolate:
        edges = torch.arange(1, bins + 1, dtype=angle.dtype, device=angle.device) * (180 / bins)
        at = torch.bucketize(angle.contiguous(), edges, right=True) % bins
        votes.scatter_(1, at[:, None], length[:, None])
        votes = votes[:, :, : rows * cell, : columns * cell]
        return F.avg_pool2d(votes, cell)
    place = angle * (bins / 180) - 0.5  # in bins, from the centre of the first
    below = place.floor()
    share = place - below
    for at, part in ((below, 1 - share), (below + 1, share)):
        votes.scatter_add_(1, (at.long() % bins)[:, None], (length * part)[:, None])
    # a tent as wide as two cells, its top on the cell's centre
    offset = torch.arange(2 * cell, dtype=image.dtype, device=image.device) - cell // 2
    tent = (1 - (offset - (cell - 1) / 2).abs() / cell).clamp(min=0) / cell
    kernel = (tent[:, None] * tent).expand(bins, 1, -1, -1)
    margin = [cell // 2, 2 * cell, cell // 2, 2 * cell]  # left, right, top, bottom
    summed = F.conv2d(F.pad(votes, margin), kernel, stride=cell, groups=bins)
    return summed[:, :, :rows, :columns]


def normalize_blocks(cells: Tensor, block: int = 2, *, clip: float = 0.2) -> Tensor:
    """Blocks of cells, each scaled by its own length: (B, rows, columns, block, block, bins).

    "L2-Hys" of the paper (section 6.4): divide by the length, cut at ``clip``, divide by the new length.
    Blocks overlap; a step is one cell.

    Args:
        cells: (B, bins, rows, columns), as from :func:`cell_histograms`.
    """
    tiny = 1e-5**2
    blocks = cells.unfold(2, block, 1).unfold(3, block, 1)  # (B, bins, rows, columns, block, block)
    blocks = blocks.permute(0, 2, 3, 4, 5, 1)
    last = (3, 4, 5)
    blocks = blocks / (blocks.square().sum(last, keepdim=True) + tiny).sqrt()
    blocks = blocks.clamp(max=clip)
    return blocks / (blocks.square().sum(last, keepdim=True) + tiny).sqrt()


def hog(
    image: Tensor, cell: int = 8, block: int = 2, bins: int = 9, *, interpolate: bool = False
) -> Tensor:
    """Histograms of oriented gradients, block by block.

    Args:
        image: (H, W), (C, H, W) or (B, C, H, W), floating point.
        cell: side of a cell, px; the paper's people have 8 (or 6, which was best).
        block: side of a block in cells, 2 in the paper (or 3).
        bins: directions over 180 degrees.
        interpolate: whether votes are shared between neighbouring bins and cells
            (:func:`cell_histograms`).

    Returns:
        (rows, columns, block, block, bins) of the image's type, with the batch in front if it had one;
        ``.flatten()`` is the vector of scikit-image's ``hog``.

    Raises:
        TypeError: for whole numbers.
        ValueError: for another shape, settings below 1, or a picture smaller than a block.
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        kind = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"image is {kind}; it must be a tensor of floating point")
    if not 2 <= image.ndim <= 4:
        raise ValueError(
            f"image has the shape {tuple(image.shape)}; it must be (H, W), (C, H, W) or (B, C, H, W)"
        )
    for name, value in [("cell", cell), ("block", block), ("bins", bins)]:
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    if min(image.shape[-2:]) < cell * block:
        raise ValueError(
            f"image is {image.shape[-2]} x {image.shape[-1]} px; a block of {block} x {block} cells "
            f"needs {cell * block} px"
        )
    batch = image.reshape((1,) * (4 - image.ndim) + tuple(image.shape))
    blocks = normalize_blocks(cell_histograms(batch, cell, bins, interpolate=interpolate), block)
    return blocks if image.ndim == 4 else blocks[0]
