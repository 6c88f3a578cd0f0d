"""Anchors: boxes of fixed shapes around every cell, from which a detector starts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

Shape = tuple[float, float]  # width, height, px


def anchor_shapes(sizes: Sequence[float], ratios: Sequence[float]) -> list[Shape]:
    """Widths and heights by hand: every size in every ratio of height to width, px.

    An anchor of size s and ratio r has the area s² and the sides s / sqrt(r), s sqrt(r), rounded so
    that its corners are whole pixels from its centre, as torchvision rounds them. Ratios come
    first: (size 1, ratio 1), (size 2, ratio 1), …
    """
    return [
        (2.0 * round(s / math.sqrt(r) / 2), 2.0 * round(s * math.sqrt(r) / 2))
        for r in ratios
        for s in sizes
    ]


def cluster_shapes(boxes: Tensor, count: int, *, seed: int = 0, starts: int = 10) -> list[Shape]:
    """Widths and heights from data: k-means under 1 - IoU (Redmon and Farhadi, CVPR 2017, section 2).

    Boxes are compared as if they had the same centre. A cluster's shape is the mean of its boxes'
    widths and heights. Starts are drawn as k-means++ draws them; the best of several counts.

    Args:
        boxes: (N, 4) of training objects; empty boxes are left out.
        count: shapes wanted, at most N.
        seed: of the starts.
        starts: how many.

    Returns:
        ``count`` shapes (width, height) by rising area, px.

    Raises:
        ValueError: for fewer boxes than shapes.
    """
    sizes = (boxes[:, 2:] - boxes[:, :2]).double().numpy()
    sizes = sizes[(sizes > 0).all(1)]
    if not 1 <= count <= len(sizes):
        raise ValueError(f"count is {count}; it must be in 1..{len(sizes)}, the boxes with an area")
    rng = np.random.default_rng(seed)
    found = [_cluster_once(sizes, count, rng) for _ in range(starts)]
    shapes = max(found, key=lambda shapes: shape_iou(sizes, shapes).max(1).mean())
    return [(float(w), float(h)) for w, h in shapes[np.argsort(shapes.prod(1))]]


def _cluster_once(sizes: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    shapes = sizes[rng.integers(len(sizes), size=1)]
    while len(shapes) < count:
        distance = (1 - shape_iou(sizes, shapes).max(1)).clip(1e-12) ** 2
        drawn = rng.choice(len(sizes), 1, p=distance / distance.sum())
        shapes = np.concatenate([shapes, sizes[drawn]])
    owner = np.full(len(sizes), -1)
    for _ in range(300):  # it ends far earlier, but means need not fall for ever under 1 - IoU
        nearest = shape_iou(sizes, shapes).argmax(1)
        if (nearest == owner).all():
            break
        owner = nearest
        members = [sizes[owner == k] for k in range(count)]
        pairs = zip(members, shapes, strict=True)
        shapes = np.stack([m.mean(0) if len(m) else s for m, s in pairs])
    return shapes


def shape_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU (N, M) of widths and heights (N, 2) and (M, 2), laid on the same centre."""
    overlap = np.minimum(first[:, None], second).prod(2)
    return overlap / (first.prod(1)[:, None] + second.prod(1) - overlap)


class AnchorGenerator(nn.Module):
    """All anchors of a set of feature maps (Ren et al., NeurIPS 2015, section 3.1.1).

    Args:
        shapes: for each map, finest first, the shapes (width, height) that stand in each cell, px;
            as many in each, for all maps share one head.

    Anchors are centred on the cells' upper left corners, as torchvision has them: cell (i, j) of a
    map with stride s has them around x = s j, y = s i.

    Raises:
        ValueError: for maps with different numbers of shapes, or a shape that is not positive.
    """

    def __init__(self, shapes: Sequence[Sequence[Shape]]) -> None:
        super().__init__()
        counts = {len(level) for level in shapes}
        if len(counts) != 1 or 0 in counts:
            raise ValueError(f"shapes has {counts or 'no'} shapes a map; all maps need as many")
        if min(side for level in shapes for shape in level for side in shape) <= 0:
            raise ValueError(f"shapes is {shapes}; widths and heights must be positive")
        self.shapes = [[(float(w), float(h)) for w, h in level] for level in shapes]

    @classmethod
    def by_hand(
        cls, sizes: Sequence[Sequence[float]], ratios: Sequence[float] = (0.5, 1.0, 2.0)
    ) -> AnchorGenerator:
        """One set of sizes a map, each in all ratios of height to width, by :func:`anchor_shapes`."""
        return cls([anchor_shapes(level, ratios) for level in sizes])

    @property
    def count(self) -> int:
        """Anchors in a cell."""
        return len(self.shapes[0])

    def forward(self, maps: Sequence[Tensor], size: tuple[int, int]) -> list[Tensor]:
        """The anchors of each map (B, C, h, w) of a batch of pictures of ``size`` (height, width).

        Returns:
            for each map (h · w · count, 4), row by row, the shapes of a cell together.

        Raises:
            ValueError: for another number of maps than of sets of shapes.
        """
        if len(maps) != len(self.shapes):
            raise ValueError(
                f"there are {len(maps)} maps; the shapes are made for {len(self.shapes)}"
            )
        return [self._level(m, size, shapes) for m, shapes in zip(maps, self.shapes, strict=True)]

    def _level(self, features: Tensor, size: tuple[int, int], shapes: list[Shape]) -> Tensor:
        rows, columns = features.shape[-2:]
        y = torch.arange(rows, device=features.device) * float(size[0] // rows)
        x = torch.arange(columns, device=features.device) * float(size[1] // columns)
        y, x = torch.meshgrid(y, x, indexing="ij")
        centres = torch.stack([x, y, x, y], 2).view(-1, 1, 4)
        half = torch.tensor(shapes, device=features.device) / 2
        return (centres + torch.cat([-half, half], 1)).view(-1, 4)
