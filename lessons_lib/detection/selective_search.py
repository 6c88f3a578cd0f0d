"""Selective search: places where a thing may be, by merging the regions of a picture (Uijlings,
van de Sande, Gevers and Smeulders, 2013).

A graph segmentation (Felzenszwalb and Huttenlocher, 2004) cuts the picture into small regions. The
two neighbours that are most alike are merged, and so on until one region is left. The box of every
region that ever existed is a proposal: things of all sizes, without a sliding window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.segmentation import felzenszwalb
from torch import Tensor

from .region_features import (
    Floats,
    directional_derivatives,
    histograms,
    neighbours,
    region_boxes,
    to_colours,
)

SIMILARITIES = ("colour", "texture", "size", "fill")
COLOUR_BINS = 25
TEXTURE_BINS = 10


@dataclass(frozen=True)
class MergeTree:
    """What became of S regions: a binary tree with 2S - 1 nodes.

    Attributes:
        labels: int64 (H, W), the region 0..S-1 of each pixel before the first merge.
        pairs: int64 (S - 1, 2); merge k made node S + k of these two.
        similarity: float64 (S - 1,), how alike the two were.
        boxes: float32 (2S - 1, 4) of all nodes; x1, y1, x2, y2 in px, the ends exclusive.
    """

    labels: NDArray[np.int64]
    pairs: NDArray[np.int64]
    similarity: Floats
    boxes: NDArray[np.float32]

    def regions(self, merges: int) -> NDArray[np.int64]:
        """The node of each pixel after so many merges, int64 (H, W).

        Raises:
            ValueError: for a number that is not in 0..S-1.
        """
        if not 0 <= merges <= len(self.pairs):
            raise ValueError(f"merges is {merges}; it must be in 0..{len(self.pairs)}")
        leaves = len(self.pairs) + 1
        node = np.arange(2 * leaves - 1)
        for k in range(merges - 1, -1, -1):  # from the last one down, parents before children
            node[self.pairs[k]] = node[leaves + k]
        return node[:leaves][self.labels]


def selective_search(
    image: Tensor,
    *,
    scale: float | Sequence[float] = 20.0,
    sigma: float = 0.5,
    min_size: int = 20,
    colours: Sequence[str] = ("lab",),
    similarities: Sequence[str] = SIMILARITIES,
    smallest: float = 0.0,
    most: int | None = None,
) -> Tensor:
    """Boxes that may hold a thing, the regions that were merged last first.

    With several scales and colour spaces every combination gives a tree, and what one tree misses
    another may find: the paper's diversification (section 3.2). The order is that of the paper's
    section 3.3 without its random factor: by the place in the tree, counted from the root, all trees
    side by side. Of equal boxes only the first is kept.

    Args:
        image: float (3, H, W) or (1, H, W), values in [0, 1].
        scale: of the graph segmentation, one or several; larger gives larger first regions.
        sigma: width of the Gaussian that smooths the picture before it, px.
        min_size: smallest first region, px.
        colours: colour spaces, of ``"rgb"``, ``"lab"``, ``"hsv"``, ``"gray"``.
        similarities: which of ``"colour"``, ``"texture"``, ``"size"``, ``"fill"`` are summed.
        smallest: least width and height of a box that is kept, px.
        most: greatest number of boxes; ``None`` keeps all.

    Returns:
        boxes float32 (N, 4); x1, y1, x2, y2 in px, the ends exclusive.

    Raises:
        ValueError: for a picture of another shape or type, or a setting outside its range.
    """
    if most is not None and most < 1:
        raise ValueError(f"most is {most}; it must be at least 1, or None")
    if smallest < 0:
        raise ValueError(f"smallest is {smallest}; it must be at least 0")
    scales = [float(s) for s in scale] if isinstance(scale, Sequence) else [float(scale)]
    for name, values in [("scale", scales), ("colours", colours)]:
        if len(values) == 0:
            raise ValueError(f"{name} is empty; it must name at least one")
    trees = [
        merge_regions(
            image, scale=s, sigma=sigma, min_size=min_size, colours=c, similarities=similarities
        )
        for s in scales
        for c in colours
    ]
    ranks = np.concatenate([np.arange(len(tree.boxes)) for tree in trees])
    boxes = np.concatenate([tree.boxes[::-1] for tree in trees])[np.argsort(ranks, kind="stable")]
    boxes = boxes[((boxes[:, 2:] - boxes[:, :2]) >= smallest).all(1)]
    first = np.sort(np.unique(boxes, axis=0, return_index=True)[1])[:most]
    return torch.from_numpy(boxes[first])


def merge_regions(
    image: Tensor,
    *,
    scale: float = 20.0,
    sigma: float = 0.5,
    min_size: int = 20,
    colours: str = "lab",
    similarities: Sequence[str] = SIMILARITIES,
) -> MergeTree:
    """Merges the two most similar neighbours until one region is left (section 3.1).

    Args:
        image, scale, sigma, min_size, colours, similarities: as in :func:`selective_search`, with
            one scale and one colour space.

    Raises:
        ValueError: as there.
    """
    picture = _check(image, scale, sigma, min_size, similarities)
    picture = to_colours(picture, colours)
    labels = felzenszwalb(picture, scale=scale, sigma=sigma, min_size=min_size, channel_axis=-1)
    regions = _Regions.of(picture, labels, similarities)
    count = len(regions.size)
    alike = np.full((count, count), -np.inf)
    a, b = neighbours(labels)
    alike[a, b] = alike[b, a] = regions.similarity(a, b)
    best = alike.max(1, initial=-np.inf)  # of each row, so that no merge has to look at all pairs
    node = np.arange(count)  # which node lives in which row
    pairs = np.empty((count - 1, 2), np.int64)
    similarity = np.empty(count - 1)
    boxes = np.concatenate([regions.boxes, np.empty((count - 1, 4))])
    for k in range(count - 1):
        i = int(best.argmax())
        j = int(alike[i].argmax())
        pairs[k], similarity[k] = (node[i], node[j]), alike[i, j]
        touching = np.maximum(alike[i], alike[j]) > -np.inf
        touching[[i, j]] = False
        regions.merge(i, j)
        node[i], boxes[count + k] = count + k, regions.boxes[i]
        alike[[i, j]] = alike[:, [i, j]] = -np.inf
        (others,) = touching.nonzero()
        alike[i, others] = alike[others, i] = regions.similarity(np.array([i]), others)
        changed = np.append(others, [i, j])
        best[changed] = alike[changed].max(1)
    return MergeTree(labels, pairs, similarity, boxes.astype(np.float32))


@dataclass
class _Regions:
    """What is known of each region, one row each; a merge writes into one of its two rows.

    Histograms are of the region's pixels and sum to 1 (section 3.2).
    """

    colour: Floats  # (S, 25 C)
    texture: Floats  # (S, 8 · 10 · C)
    size: Floats  # (S,) pixels
    boxes: Floats  # (S, 4)
    area: int  # pixels of the picture
    similarities: Sequence[str]

    @classmethod
    def of(cls, picture: NDArray[Any], labels: Any, similarities: Sequence[str]) -> _Regions:
        count = int(labels.max()) + 1
        size = np.bincount(labels.ravel(), minlength=count).astype(float)
        strength = directional_derivatives(picture)
        return cls(
            colour=histograms(picture, labels, COLOUR_BINS, (0.0, 1.0)),
            texture=histograms(strength, labels, TEXTURE_BINS, (0.0, float(strength.max()))),
            size=size,
            boxes=region_boxes(labels, count),
            area=labels.size,
            similarities=similarities,
        )

    def similarity(self, i: NDArray[np.int64], j: NDArray[np.int64]) -> Floats:
        """The chosen similarities, summed (section 3.2), of pairs of rows; one may be a single row."""
        size = (self.size[i] + self.size[j]) / self.area
        total = np.zeros(size.shape)
        if "colour" in self.similarities:
            total += np.minimum(self.colour[i], self.colour[j]).sum(1)
        if "texture" in self.similarities:
            total += np.minimum(self.texture[i], self.texture[j]).sum(1)
        if "size" in self.similarities:
            total += 1 - size
        if "fill" in self.similarities:
            union = _union(self.boxes[i], self.boxes[j])
            total += 1 - (union[:, 2:] - union[:, :2]).prod(1) / self.area + size
        return total

    def merge(self, i: int, j: int) -> None:
        """Row i becomes the union: histograms are means weighted by size (section 3.2)."""
        weight = self.size[[i, j]] / self.size[[i, j]].sum()
        self.colour[i] = weight @ self.colour[[i, j]]
        self.texture[i] = weight @ self.texture[[i, j]]
        self.size[i] += self.size[j]
        self.boxes[i] = _union(self.boxes[i : i + 1], self.boxes[j : j + 1])[0]


def _union(a: Floats, b: Floats) -> Floats:
    return np.concatenate([np.minimum(a[:, :2], b[:, :2]), np.maximum(a[:, 2:], b[:, 2:])], 1)


def _check(
    image: Tensor, scale: float, sigma: float, min_size: int, similarities: Sequence[str]
) -> NDArray[np.float32]:
    """The picture as float32 (H, W, 3)."""
    if image.ndim != 3 or image.shape[0] not in (1, 3) or image.numel() == 0:
        raise ValueError(f"image has shape {tuple(image.shape)}; it must be (3, H, W) or (1, H, W)")
    if not image.is_floating_point() or not bool(((image >= 0) & (image <= 1)).all()):
        raise ValueError(f"image is {image.dtype}; it must be float with values in [0, 1]")
    for name, value, least in [("scale", scale, 0), ("sigma", sigma, 0), ("min_size", min_size, 1)]:
        if not value >= least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")
    unknown = sorted(set(similarities) - set(SIMILARITIES))
    if unknown or not similarities:
        raise ValueError(
            f"similarities is {tuple(similarities)}; it must name some of {', '.join(SIMILARITIES)}"
        )
    pixels = image.detach().cpu().float().expand(3, -1, -1).permute(1, 2, 0)
    return np.ascontiguousarray(pixels.numpy())
