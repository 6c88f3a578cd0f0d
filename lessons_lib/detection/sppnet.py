"""SPP-net: convolutions once a picture, then a pyramid for each proposal (He et al., ECCV 2014)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.backbones import SmallResNet

from .fast_rcnn import SMALL, last_map
from .pictures import PictureBatch
from .pooling import spatial_pyramid_pool
from .proposals import Search
from .roi_heads import RoISettings
from .stages import StagedDetector


class SPPNet(StagedDetector):
    """One feature map a picture; each proposal pools a spatial pyramid from it.

    The convolutions come from a classifier and stay as they are; only the dense layers are trained,
    then SVMs and regressors as in R-CNN. The paper's classifier saw ImageNet; the recipe takes the
    convolutions of R-CNN, which has learned to name single shapes. As its crops show things larger
    than pictures do, the picture is enlarged first; the paper enlarges pictures to 688 px, where its
    classifier saw 224.

    Args:
        num_classes: with the background.
        backbone: from an image to maps by name, of which the last is pooled; ``None``: a
            :class:`~lessons_lib.backbones.SmallResNet`.
        levels: bins along each side of the pyramid's grids; the paper has 1, 2, 3, 6.
        zoom: factor by which pictures are enlarged.
        width: of the two dense layers.
        settings: of sampling and of detections.
        search: what finds proposals where none are given.
    """

    def __init__(
        self,
        num_classes: int,
        backbone: nn.Module | None = None,
        *,
        levels: Sequence[int] = (1, 2, 4),
        zoom: float = 1.5,
        width: int = 80,
        settings: RoISettings = SMALL,
        search: Search | None = None,
    ) -> None:
        if not zoom > 0:
            raise ValueError(f"zoom is {zoom}; it must be positive")
        backbone = (SmallResNet() if backbone is None else backbone).requires_grad_(False)
        channels = last_map(backbone)[2]
        size = channels * sum(b * b for b in levels)
        super().__init__(backbone, size, num_classes, width, settings, search)
        self.levels, self.zoom = tuple(levels), zoom

    def train(self, mode: bool = True) -> SPPNet:
        """As every module's, except that the convolutions keep their running statistics."""
        super().train(mode)
        self.backbone.eval()
        return self

    def pooled(self, batch: PictureBatch, proposals: list[Tensor]) -> Tensor:
        tensor = batch.tensor
        if self.zoom != 1:
            tensor = F.interpolate(tensor, scale_factor=self.zoom, mode="bilinear")
        name, stride, _ = last_map(self.backbone)
        features = self.backbone(tensor)[name]
        return spatial_pyramid_pool(features, proposals, self.levels, self.zoom / stride)
