"""Faster R-CNN: proposals from the network itself (Ren et al., NeurIPS 2015), on a feature pyramid or not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torchvision
from torch import Tensor, nn

from lessons_lib.backbones import ResNet, SmallResNet

from .anchors import AnchorGenerator
from .fast_rcnn import RoIPool
from .pictures import PictureBatch, PictureScaler, resize_boxes
from .pyramid import (
    PlainBackbone,
    PyramidBackbone,
    PyramidRoIAlign,
    PyramidRoIPool,
    VGGBackbone,
)
from .roi_heads import RoIBranch, RoIHeads, RoISettings, TwoLayerHead
from .rpn import RegionProposalNetwork, RPNSettings
from .targets import Target, check_rows, clean_target, resize_keypoints, resize_masks
from .torchvision_copy import (
    check_layers,
    load_published,
    resnet_name,
    roi_settings,
    rpn_settings,
    scaler_of,
    shapes_of,
)

if TYPE_CHECKING:
    from typing_extensions import Self

COCO_SIZES = ((32,), (64,), (128,), (256,), (512,))
"""Side of the anchors of each level of the pyramid, px (Lin et al., CVPR 2017, section 4.1)."""


class FasterRCNN(nn.Module):
    """A backbone, a region proposal network and a second stage that share its features.

    Args:
        backbone: from an image (B, 3, H, W) to maps by name, finest first, all with
            ``out_channels`` channels: see :mod:`lessons_lib.detection.pyramid`.
        num_classes: with the background.
        anchors: of every map.
        pool: what cuts features out for a proposal.
        head: the second stage's dense layers upon them.
        scaler: how pictures are prepared.
        rpn: settings of the proposals.
        roi: settings of the second stage.
        branch: what the second stage predicts besides class and box.

    The parameters have torchvision's names, so that the state dict of its
    ``fasterrcnn_resnet50_fpn`` loads into :meth:`resnet_fpn`.
    """

    learns_from: ClassVar[tuple[str, ...]] = ()
    """What a target must have besides ``boxes`` and ``labels``."""

    def __init__(
        self,
        backbone: PyramidBackbone | PlainBackbone | VGGBackbone,
        num_classes: int,
        anchors: AnchorGenerator,
        *,
        pool: nn.Module,
        head: TwoLayerHead,
        scaler: PictureScaler = PictureScaler(),
        rpn: RPNSettings = RPNSettings(),
        roi: RoISettings = RoISettings(),
        branch: RoIBranch | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(
                f"num_classes is {num_classes}; it must be at least 2, background included"
            )
        self.num_classes, self.scaler = num_classes, scaler
        self.backbone = backbone
        self.rpn = RegionProposalNetwork(anchors, backbone.out_channels, rpn)
        self.roi_heads = RoIHeads(pool, head, head.width, num_classes, roi, branch)
        self.register_load_state_dict_pre_hook(_plain_names)

    def forward(
        self, images: Sequence[Tensor] | Tensor, targets: Sequence[Target] | None = None
    ) -> Any:
        """Detections, or in training mode the terms of the loss.

        Args:
            images: float (3, H, W) in [0, 1] each, of any size; or one tensor (B, 3, H, W).
            targets: in training, for each picture ``boxes`` (N, 4) in its pixels and ``labels``
                int64 (N,) in 1..num_classes - 1; crowds and empty boxes are left out, see
                :func:`~lessons_lib.detection.targets.clean_target`.

        Returns:
            in evaluation mode a list with ``boxes`` (N, 4), ``labels`` (N,) and ``scores`` (N,) of
            each picture, best first; in training mode ``rpn_objectness``, ``rpn_box``, ``class``, ``box``.

        Raises:
            ValueError: for pictures or targets that do not fit, or training without targets.
        """
        pictures = self.scaler(images, training=self.training)
        maps = self.backbone(pictures.tensor)
        if not self.training:
            proposals, _ = self.rpn(maps, pictures)
            found, _ = self.roi_heads(maps, proposals, pictures.sizes)
            return self.unscale(found, pictures)
        cleaned = scale_targets(targets, pictures, self.num_classes, self.learns_from)
        proposals, first = self.rpn(maps, pictures, cleaned)
        _, second = self.roi_heads(maps, proposals, pictures.sizes, cleaned)
        return {**first, **second}

    def unscale(
        self, found: list[dict[str, Tensor]], pictures: PictureBatch
    ) -> list[dict[str, Tensor]]:
        """Detections in the pixels of the original pictures."""
        return unscale(found, pictures)

    @classmethod
    def resnet_fpn(
        cls,
        num_classes: int = 91,
        name: str = "resnet50",
        *,
        frozen_norm: bool = False,
        scaler: PictureScaler = PictureScaler(shorter=(800,)),
        rpn: RPNSettings = RPNSettings(),
        roi: RoISettings = RoISettings(),
        branch: RoIBranch | None = None,
    ) -> Self:
        """The COCO model: a ResNet, five levels with 15 anchors in all a place, two layers of 1024.

        Args:
            num_classes: with the background; 91 for COCO's category ids as torchvision has them.
            name: of the ResNet.
            frozen_norm: batch normalisation whose statistics and scale never change, as for small
                batches upon ImageNet's or COCO's weights.
            scaler, rpn, roi, branch: see the class.
        """
        body = ResNet(name, frozen_norm=frozen_norm)
        return cls(
            PyramidBackbone(body, ("c2", "c3", "c4", "c5")),
            num_classes,
            AnchorGenerator.by_hand(COCO_SIZES),
            pool=PyramidRoIAlign(("c2", "c3", "c4", "c5")),
            head=TwoLayerHead(256 * 7 * 7, 1024),
            scaler=scaler,
            rpn=rpn,
            roi=roi,
            branch=branch,
        )

    @classmethod
    def coco(cls) -> FasterRCNN:
        """:meth:`resnet_fpn` with the weights that torchvision publishes (37.0 AP on COCO val2017).

        Raises:
            RuntimeError: if they are not there and cannot be downloaded.
        """
        weights = torchvision.models.detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1
        model = cls.resnet_fpn(len(weights.meta["categories"]), frozen_norm=True)
        return load_published(model, weights)

    @classmethod
    def from_torchvision(cls, model: torchvision.models.detection.FasterRCNN) -> FasterRCNN:
        """A copy, in this code, of torchvision's Faster R-CNN with a ResNet and a pyramid.

        Weights, normalisation, anchors, sizes and thresholds are taken over, the mode too.

        Raises:
            ValueError: for a model that is built otherwise, saying in what.
        """
        return cls._copy_of(model)

    @classmethod
    def _copy_of(
        cls,
        model: torchvision.models.detection.FasterRCNN,
        branch: RoIBranch | None = None,
    ) -> Self:
        check_layers(model)
        body = model.backbone.body
        name, norm = resnet_name(body), body.bn1
        frozen = isinstance(norm, torchvision.ops.FrozenBatchNorm2d)
        heads = model.roi_heads
        copy = cls(
            PyramidBackbone(ResNet(name, frozen_norm=frozen), ("c2", "c3", "c4", "c5")),
            heads.box_predictor.cls_score.out_features,
            AnchorGenerator(shapes_of(model.rpn.anchor_generator)),
            pool=PyramidRoIAlign(
                ("c2", "c3", "c4", "c5"),
                heads.box_roi_pool.output_size[0],
                heads.box_roi_pool.sampling_ratio,
            ),
            head=TwoLayerHead(heads.box_head.fc6.in_features, heads.box_head.fc6.out_features),
            scaler=scaler_of(model.transform),
            rpn=rpn_settings(model.rpn),
            roi=roi_settings(heads),
            branch=branch,
        )
        for module in copy.backbone.modules():
            if isinstance(module, type(norm)):
                module.eps = norm.eps
        copy.load_state_dict(model.state_dict())
        device = next(model.parameters()).device
        return copy.to(device).train(model.training)

    @classmethod
    def vgg16(cls, num_classes: int = 21) -> FasterRCNN:
        """The model of Ren et al. for Pascal VOC: VGG16's conv5_3, nine anchors, RoI pooling, 4096 wide.

        Pictures are scaled to 600 px, at most 1000. Departures: channels are normalised by torchvision's
        mean and standard deviation, anchors that cross the border learn too, anchors are rounded as
        torchvision rounds them, and the box losses are those of torchvision.
        """
        sizes = (128.0, 256.0, 512.0)
        return cls(
            VGGBackbone(),
            num_classes,
            AnchorGenerator.by_hand([sizes]),
            pool=RoIPool("conv5", 16, 7),
            head=TwoLayerHead(512 * 7 * 7, 4096, dropout=0.5),
            scaler=PictureScaler(shorter=(600,), longer=1000, divisor=16),
            rpn=RPNSettings(before_nms=(12000, 6000), after_nms=(2000, 300)),
            roi=RoISettings(samples=128, nms_threshold=0.3),
        )

    @classmethod
    def small(
        cls,
        num_classes: int,
        *,
        pyramid: bool = True,
        channels: tuple[int, int, int, int] = (16, 32, 64, 96),
        width: int = 32,
        head_width: int = 64,
        anchors: AnchorGenerator | None = None,
        canonical_size: float = 48,
        scaler: PictureScaler = PictureScaler(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        proposals: tuple[int, int] = (200, 100),
        roi: RoISettings = RoISettings(samples=64),
        levels: tuple[str, ...] = ("c3", "c4", "c5"),
        align: bool = True,
        branch: RoIBranch | None = None,
    ) -> Self:
        """A detector of some 370,000 parameters for pictures of about 128 px, for two processor cores.

        Args:
            num_classes: with the background.
            pyramid: ``levels``, as :class:`FeaturePyramid` makes them; else the map of stride 8 alone.
            channels: of the backbone's four stages.
            width: channels of the pyramid.
            head_width: of the dense layers.
            anchors: for each level, or the one map; by default sides of 24, 48 and 72 px in three ratios.
            canonical_size: a box of this size, px, is pooled from stride 8.
            scaler: how pictures are prepared.
            proposals: after NMS, while training and when predicting.
            roi: settings of the second stage.
            levels: of the pyramid, of strides 4, 8 and 16; ``"c2"`` has 2.
            align: RoIAlign; else RoI pooling, which rounds to whole cells.
            branch: what the second stage predicts besides class and box.
        """
        sizes = (24.0, 48.0, 72.0)
        ratios = (0.5, 1.0, 2.0)
        body = SmallResNet(channels=channels, output_stride=16)
        backbone: PyramidBackbone | PlainBackbone
        if pyramid:
            names = levels
            backbone = PyramidBackbone(body, names, width, pool=False)
            anchors = anchors or AnchorGenerator.by_hand([[size] for size in sizes], ratios)
        else:
            names = ("c4",)
            backbone = PlainBackbone(body, "c4", width)
            anchors = anchors or AnchorGenerator.by_hand([sizes], ratios)
        kind = PyramidRoIAlign if align else PyramidRoIPool
        pool = kind(names, canonical_size=canonical_size, canonical_level=3)
        before = max(500, 5 * proposals[0] // 2), 3 * proposals[1]
        return cls(
            backbone,
            num_classes,
            anchors,
            pool=pool,
            head=TwoLayerHead(width * pool.output_size**2, head_width),
            scaler=scaler,
            rpn=RPNSettings(samples=64, before_nms=before, after_nms=proposals),
            roi=roi,
            branch=branch,
        )


def _plain_names(module: nn.Module, state: dict[str, Any], *_: Any) -> None:
    """torchvision wraps single convolutions in sequences in newer versions; we do not."""
    for name in list(state):
        plain = re.sub(r"(inner_blocks|layer_blocks)\.(\d+)\.0\.", r"\1.\2.", name)
        plain = re.sub(r"rpn\.head\.conv\.0\.0\.", "rpn.head.conv.", plain)
        if plain != name:
            state[plain] = state.pop(name)


def scale_targets(
    targets: Sequence[Mapping[str, Tensor]] | None,
    pictures: PictureBatch,
    num_classes: int,
    more: Sequence[str] = (),
) -> list[Target]:
    """Cleaned targets in the pixels of the batch: their boxes, and of masks and keypoints what is in ``more``.

    Raises:
        ValueError: for no targets, another number of them than of pictures, or one without an entry of
            ``more``.
    """
    if targets is None:
        raise ValueError(
            "targets is None; in training mode every picture needs its boxes and labels"
        )
    if len(targets) != len(pictures.sizes):
        raise ValueError(f"targets are {len(targets)}; there are {len(pictures.sizes)} images")
    result = []
    for target, before, after in zip(targets, pictures.original_sizes, pictures.sizes, strict=True):
        check_rows(target, before, more)
        used = ("boxes", "labels", "crowd", *more)  # a whole sample may be given
        rows = {name: target[name] for name in used if name in target}
        cleaned = clean_target(rows, before, num_classes)
        cleaned["boxes"] = resize_boxes(cleaned["boxes"], before, after)
        if "masks" in more:
            cleaned["masks"] = resize_masks(cleaned["masks"], after)
        if "keypoints" in more:
            cleaned["keypoints"] = resize_keypoints(cleaned["keypoints"], before, after)
        result.append(cleaned)
    return result


def unscale(found: Sequence[dict[str, Tensor]], pictures: PictureBatch) -> list[dict[str, Tensor]]:
    """Detections with their boxes in the pixels of the original pictures."""
    return [
        {**one, "boxes": resize_boxes(one["boxes"], size, original)}
        for one, size, original in zip(found, pictures.sizes, pictures.original_sizes, strict=True)
    ]
