"""SSD's default boxes: which there are, and who learns which object (Liu et al., ECCV 2016, section 2.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from .matching import match_boxes


def default_shapes(scale: float, following: float, ratios: Sequence[float]) -> list[list[float]]:
    """Widths and heights of the default boxes of one map, in shares of the picture's sides.

    A square of side s_k; a square of side sqrt(s_k s_(k+1)), between this map's scale and the next
    one's; and for each ratio r two boxes of the area s_k², one r times as wide as high, one upright.

    Args:
        scale: s_k.
        following: s_(k+1), the scale of the next map.
        ratios: above 1.
    """
    between = math.sqrt(scale * following)
    shapes = [[scale, scale], [between, between]]
    for ratio in ratios:
        wide, flat = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
        shapes += [[wide, flat], [flat, wide]]
    return shapes


class DefaultBoxes(nn.Module):
    """The default boxes of all maps, as many in a cell as its map has shapes.

    Unlike an :class:`~lessons_lib.detection.anchors.AnchorGenerator` they stand in the middle of the
    cells, and their sizes are shares of the picture's. No side is longer than the picture's.

    Args:
        scales: of each map, finest first, and one more, in shares of the picture's sides.
        ratios: of each map, above 1.
        strides: of each map, px; by default the picture's side divided by the map's.

    Raises:
        ValueError: for numbers that do not fit together.
    """

    def __init__(
        self,
        scales: Sequence[float],
        ratios: Sequence[Sequence[float]],
        strides: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if len(scales) != len(ratios) + 1:
            raise ValueError(
                f"there are {len(scales)} scales for {len(ratios)} maps; there must be one more"
            )
        if strides is not None and len(strides) != len(ratios):
            raise ValueError(f"there are {len(strides)} strides for {len(ratios)} maps")
        self.shapes = [
            default_shapes(*pair, own) for pair, own in zip(pairwise(scales), ratios, strict=True)
        ]
        self.strides = strides

    @property
    def counts(self) -> list[int]:
        """Default boxes in a cell of each map."""
        return [len(shapes) for shapes in self.shapes]

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """The boxes of each map (B, C, h, w) of a batch of pictures of ``size`` (height, width).

        Returns:
            for each map (h · w · count, 4), px, row by row, the boxes of a cell together.

        Raises:
            ValueError: for another number of maps than of ratios.
        """
        if len(maps) != len(self.shapes):
            raise ValueError(
                f"there are {len(maps)} maps; the default boxes are made for {len(self.shapes)}"
            )
        return [self._level(k, m.shape[-2:], size, m.device) for k, m in enumerate(maps)]

    def _level(
        self, number: int, cells: Sequence[int], size: tuple[int, int], device: torch.device
    ) -> Tensor:
        rows, columns = cells
        down, across = (
            (rows, columns)
            if self.strides is None
            else (size[0] / self.strides[number], size[1] / self.strides[number])
        )
        y = (torch.arange(rows, device=device) + 0.5) / down
        x = (torch.arange(columns, device=device) + 0.5) / across
        y, x = torch.meshgrid(y, x, indexing="ij")
        centre = torch.stack([x, y], 2).view(-1, 1, 2)
        half = torch.tensor(self.shapes[number], device=device).clamp(max=1) / 2
        sides = torch.tensor([size[1], size[0]] * 2, device=device)
        return (torch.cat([centre - half, centre + half], 2) * sides).view(-1, 4)


def match_default_boxes(iou: Tensor, threshold: float = 0.5) -> Tensor:
    """The object of each default box: the one it overlaps by ``threshold``, and each object's best box.

    First every box learns the object that it overlaps most, if by ``threshold`` or more. Then every
    object takes the one box that overlaps it most, whatever that box had, so that none goes without;
    if two objects want the same box the later one has it, as in torchvision. An object that no box
    touches gets none.

    Args:
        iou: (T, N), of T objects and N default boxes.
        threshold: in [0, 1].

    Returns:
        int64 (N,): index of the object or :data:`~lessons_lib.detection.matching.BACKGROUND`.
    """
    matches = match_boxes(iou, threshold, threshold)
    if iou.shape[0] == 0 or iou.shape[1] == 0:
        return matches
    most, best = iou.max(1)
    objects = torch.arange(len(best), device=iou.device)[most > 0]
    # of several objects for one box the largest number stays, on every device
    return matches.scatter_reduce(0, best[most > 0], objects, "amax", include_self=False)
