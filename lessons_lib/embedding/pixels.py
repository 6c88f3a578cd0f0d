"""The pixels of a batch's instances: whose they are, and their vectors block by block."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 2**14  # pixels at a time


def number_instances(
    instances: Tensor, ignore_index: int = -1
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Numbers the instances of a batch 0, 1, 2, … in order of picture and id.

    Args:
        instances: integer (B, H, W); 0 = background.
        ignore_index: id that is treated like the background.

    Returns:
        ``pixel`` (P,): positions of the instances' pixels in the flattened (B·H·W); ``None`` = all;
        ``segment`` (P,): number of the instance that each belongs to;
        ``picture`` (C,): index of the picture that each instance is in.
    """
    batch = instances.shape[0]
    ids = instances.flatten(1).long()  # (B, H·W)
    inside = (ids != 0) & (ids != ignore_index)
    pixel = None if inside.all() else inside.flatten().nonzero()[:, 0]
    if len(ids) == 0 or (pixel is not None and len(pixel) == 0):
        nothing = ids.new_zeros(0)
        return nothing, nothing, nothing
    chosen = ids.flatten() if pixel is None else ids.flatten()[pixel]
    low, high = (int(value) for value in chosen.aminmax())
    span = high - low + 1
    if batch * span > 4 * ids.numel() + 1024:
        # ids far apart: sort them, since a table over their whole range would be large
        values, ids = torch.unique(ids, return_inverse=True)
        low, span = 0, len(values)
    key = ids + (torch.arange(batch, device=ids.device) * span - low)[:, None]
    key = key.flatten() if pixel is None else key.flatten()[pixel]
    present = torch.zeros(batch * span, dtype=torch.long, device=ids.device)
    present[key] = 1
    segment = (present.cumsum(0) - 1)[key]
    return pixel, segment, present.nonzero()[:, 0] // span


class Pixels:
    """Some or all vectors of (B, D, H, W), read and written in blocks of pixels.

    ``pixel`` (P,) holds positions in the flattened (B·H·W); ``None`` stands for all of them, which
    can be read without copying. The values must be contiguous or channels-last.
    """

    def __init__(self, values: Tensor, pixel: Tensor | None) -> None:
        self.values, self.pixel = values, pixel
        self.dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
        batch, channels, height, width = values.shape
        self.area = height * width
        self.channels_last = not values.is_contiguous()
        if self.channels_last:
            self.rows = values.permute(0, 2, 3, 1).view(-1, channels)  # (B·H·W, D)
        else:
            self.planes = values.view(batch, channels, -1)  # (B, D, H·W)
            if pixel is not None:
                self.picture, self.place = pixel // self.area, pixel % self.area

    def blocks(self) -> Iterator[slice]:
        """Stretches of the P pixels, none across two pictures where all are taken."""
        end = self.values.shape[0] * self.area if self.pixel is None else len(self.pixel)
        piece = self.area if self.pixel is None else max(end, 1)
        for first in range(0, end, piece):
            last = min(first + piece, end)
            for start in range(first, last, BLOCK):
                yield slice(start, min(start + BLOCK, last))

    def take(self, where: slice) -> Tensor:
        """Vectors (N, D), float32 or float64; perhaps a view, not to be changed."""
        if self.channels_last:
            chosen = (
                self.rows[where]
                if self.pixel is None
                else self.rows.index_select(0, self.pixel[where])
            )
        elif self.pixel is None:
            chosen = self._stretch(where).t().contiguous()
        else:
            chosen = self.planes[self.picture[where], :, self.place[where]]
        return chosen.to(self.dtype)

    def put(self, where: slice, vectors: Tensor) -> None:
        """Replaces the vectors of a block by (N, D)."""
        vectors = vectors.to(self.values.dtype)
        if self.channels_last:
            if self.pixel is None:
                self.rows[where] = vectors
            else:
                self.rows.index_copy_(0, self.pixel[where], vectors)
        elif self.pixel is None:
            self._stretch(where).copy_(vectors.t())
        else:
            self.planes[self.picture[where], :, self.place[where]] = vectors

    def _stretch(self, where: slice) -> Tensor:
        """(D, N), a view into one picture."""
        picture, start = divmod(where.start, self.area)
        return self.planes[picture, :, start : start + where.stop - where.start]
