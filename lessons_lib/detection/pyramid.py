"""Feature pyramids: fine maps that know what the coarse ones know (Lin et al., CVPR 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from .boxes import box_area, full_precision


class FeaturePyramid(nn.Module):
    """Top-down path with lateral connections (Lin et al., section 3).

    A 1 × 1 convolution brings every map to the same channels; from coarse to fine each is added to
    the coarser sum, doubled by nearest neighbours; a 3 × 3 convolution smooths every sum.

    Args:
        in_channels: channels of the maps, finest first, by name.
        out_channels: of every level.
        pool: whether to add one coarser level that takes every second cell of the coarsest.

    Shapes: a dict of maps (B, C_k, h_k, w_k) → the same names with (B, out_channels, h_k, w_k), and
    ``pool`` with half the size of the last.
    """

    def __init__(
        self, in_channels: Mapping[str, int], out_channels: int = 256, *, pool: bool = True
    ) -> None:
        super().__init__()
        self.names = tuple(in_channels)
        self.pool = pool
        self.inner_blocks = nn.ModuleList(
            nn.Conv2d(channels, out_channels, 1) for channels in in_channels.values()
        )
        self.layer_blocks = nn.ModuleList(
            nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in in_channels
        )
        for convolution in (*self.inner_blocks, *self.layer_blocks):
            nn.init.kaiming_uniform_(convolution.weight, a=1)
            nn.init.zeros_(convolution.bias)

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        sums: list[Tensor] = []
        for name, inner in reversed(list(zip(self.names, self.inner_blocks, strict=True))):
            lateral = inner(maps[name])
            if sums:
                lateral = lateral + F.interpolate(sums[-1], lateral.shape[-2:], mode="nearest")
            sums.append(lateral)
        levels = {
            name: smooth(total)
            for name, smooth, total in zip(
                self.names, self.layer_blocks, reversed(sums), strict=True
            )
        }
        if self.pool:
            levels["pool"] = levels[self.names[-1]][..., ::2, ::2]
        return levels


class PyramidBackbone(nn.Module):
    """A classification network and the pyramid upon some of its maps.

    Args:
        body: from :mod:`lessons_lib.backbones`.
        names: its maps to use, finest first.
        out_channels: of every level.
        pool: see :class:`FeaturePyramid`.
    """

    def __init__(
        self, body: Any, names: Sequence[str], out_channels: int = 256, *, pool: bool = True
    ) -> None:
        super().__init__()
        self.body = body
        self.fpn = FeaturePyramid({n: body.out_channels[n] for n in names}, out_channels, pool=pool)
        self.out_channels = out_channels

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Levels of the pyramid by name, finest first, of an image (B, 3, H, W)."""
        return self.fpn(self.body(image))


class PlainBackbone(nn.Module):
    """One map of a classification network, by a 1 × 1 convolution: what a pyramid is compared with."""

    def __init__(self, body: Any, name: str, out_channels: int = 256) -> None:
        super().__init__()
        self.body, self.name, self.out_channels = body, name, out_channels
        self.lateral = nn.Conv2d(body.out_channels[name], out_channels, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {self.name: self.lateral(self.body(image)[self.name])}


class VGGBackbone(nn.Module):
    """VGG16 up to conv5_3, before its last pooling: one map of stride 16 with 512 channels.

    The parameters are those of ``torchvision.models.vgg16().features``, by the same names.
    """

    out_channels = 512

    def __init__(self) -> None:
        super().__init__()
        self.features = torchvision.models.vgg16(weights=None).features[:30]

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"conv5": self.features(image)}


def assign_levels(
    boxes: Tensor,
    lowest: int,
    highest: int,
    *,
    canonical_size: float = 224,
    canonical_level: int = 4,
) -> Tensor:
    """The pyramid level that each box is pooled from: k = floor(k0 + log2(sqrt(w h) / s0)) (eq. 1).

    Args:
        boxes: (N, 4).
        lowest, highest: levels that there are; level k has stride 2^k px.
        canonical_size: s0, px: a box of this size ...
        canonical_level: ... belongs to this level, k0.

    Returns:
        int64 (N,) in lowest..highest.
    """
    size = box_area(boxes).sqrt()
    level = (canonical_level + torch.log2(size / canonical_size) + 1e-6).floor()
    return level.clamp(lowest, highest).long()


class PyramidRoIAlign(nn.Module):
    """RoIAlign from the level that suits each box (Lin et al., section 4.2).

    Args:
        names: maps to pool from, finest first, each of half the size of the one before.
        output_size: cells to a side.
        sampling_ratio: points to a side of a cell; torchvision's kernel averages them.
        canonical_size, canonical_level: see :func:`assign_levels`.
    """

    def __init__(
        self,
        names: Sequence[str],
        output_size: int = 7,
        sampling_ratio: int = 2,
        *,
        canonical_size: float = 224,
        canonical_level: int = 4,
    ) -> None:
        super().__init__()
        self.names, self.output_size, self.sampling_ratio = (
            tuple(names),
            output_size,
            sampling_ratio,
        )
        self.canonical_size, self.canonical_level = canonical_size, canonical_level

    def forward(
        self, maps: Mapping[str, Tensor], boxes: Sequence[Tensor], size: tuple[int, int]
    ) -> Tensor:
        """Features (sum of N, C, output_size, output_size) of the boxes (N, 4) of each picture.

        ``size`` is the height and width of the largest picture in the batch, px: the stride of a
        map is the power of two nearest to their ratio.
        """
        rois = torch.cat([_with_index(k, b) for k, b in enumerate(boxes)])
        strides = [2 ** round(math.log2(size[0] / maps[name].shape[-2])) for name in self.names]
        lowest, highest = int(math.log2(strides[0])), int(math.log2(strides[-1]))
        if lowest == highest:
            return self._pool(maps[self.names[0]], rois, strides[0])
        level = assign_levels(
            rois[:, 1:],
            lowest,
            highest,
            canonical_size=self.canonical_size,
            canonical_level=self.canonical_level,
        )
        first = maps[self.names[0]]
        side = self.output_size
        result = full_precision(first.new_zeros((len(rois), first.shape[1], side, side)))
        for name, stride in zip(self.names, strides, strict=True):
            rows = (level == int(math.log2(stride))).nonzero()[:, 0]
            result[rows] = self._pool(maps[name], rois[rows], stride).to(result.dtype)
        return result

    def _pool(self, features: Tensor, rois: Tensor, stride: int) -> Tensor:
        return torchvision.ops.roi_align(
            features, rois.to(features.dtype), self.output_size, 1 / stride, self.sampling_ratio
        )


class PyramidRoIPool(PyramidRoIAlign):
    """RoI pooling from the level that suits each box: :class:`PyramidRoIAlign` with everything rounded
    to whole cells, and the greatest value instead of the mean. What Mask R-CNN is compared with."""

    def _pool(self, features: Tensor, rois: Tensor, stride: int) -> Tensor:
        return torchvision.ops.roi_pool(
            features, rois.to(features.dtype), self.output_size, 1 / stride
        )


def _with_index(index: int, boxes: Tensor) -> Tensor:
    return F.pad(boxes, (1, 0), value=float(index))
