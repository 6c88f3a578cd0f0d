"""Reads the settings of torchvision's detectors, so that ours can be built alike."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator as TorchvisionAnchors
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads as TorchvisionRoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork as TorchvisionRPN
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from .anchors import Shape
from .pictures import PictureScaler
from .roi_heads import RoISettings
from .rpn import RPNSettings

BLOCKS: dict[tuple[str, tuple[int, ...]], str] = {
    ("BasicBlock", (2, 2, 2, 2)): "resnet18",
    ("BasicBlock", (3, 4, 6, 3)): "resnet34",
    ("Bottleneck", (3, 4, 6, 3)): "resnet50",
    ("Bottleneck", (3, 4, 23, 3)): "resnet101",
    ("Bottleneck", (3, 8, 36, 3)): "resnet152",
}


def check_layers(model: FasterRCNN) -> None:
    """ValueError for a model whose pyramid or heads are not those of ``fasterrcnn_resnet50_fpn``."""
    if not isinstance(model.roi_heads.box_head, TwoMLPHead):
        kind = type(model.roi_heads.box_head).__name__
        raise ValueError(f"model has a box_head {kind}; it must be a TwoMLPHead, two dense layers")
    if len(model.rpn.head.conv) != 1:
        raise ValueError(
            f"model has {len(model.rpn.head.conv)} convolutions in its RPN head; it must have 1"
        )
    pooled = model.roi_heads.box_roi_pool.featmap_names
    if list(pooled) != ["0", "1", "2", "3"]:
        raise ValueError(
            f"model pools from the maps {pooled}; it must be 0 to 3, those of c2 to c5"
        )


def resnet_name(body: nn.Module) -> str:
    """Which ResNet a detector's body is.

    Raises:
        ValueError: for a body that is none, or not all of one.
    """
    layers: list[Any] = [getattr(body, f"layer{k}", ()) for k in (1, 2, 3, 4)]
    kind = type(layers[0][0]).__name__ if len(layers[0]) else type(body).__name__
    name = BLOCKS.get((kind, tuple(len(layer) for layer in layers)))
    if name is None:
        raise ValueError(f"model has a body of {kind}; it must be a ResNet with all four layers")
    return name


def scaler_of(transform: GeneralizedRCNNTransform) -> PictureScaler:
    """How torchvision's model prepares pictures."""
    return PictureScaler(
        shorter=tuple(transform.min_size),
        longer=transform.max_size,
        mean=tuple(transform.image_mean),
        std=tuple(transform.image_std),
        divisor=transform.size_divisible,
    )


def shapes_of(anchors: TorchvisionAnchors) -> list[list[Shape]]:
    """Widths and heights of the anchors of each level."""
    return [
        [(float(x2 - x1), float(y2 - y1)) for x1, y1, x2, y2 in level.tolist()]
        for level in anchors.cell_anchors
    ]


def rpn_settings(rpn: TorchvisionRPN) -> RPNSettings:
    """Settings of the proposals.

    Raises:
        ValueError: for a score threshold, which ours does not have.
    """
    if rpn.score_thresh > 0:
        raise ValueError(f"model has rpn_score_thresh {rpn.score_thresh}; it must be 0")
    before, after = rpn._pre_nms_top_n, rpn._post_nms_top_n
    return RPNSettings(
        high=rpn.proposal_matcher.high_threshold,
        low=rpn.proposal_matcher.low_threshold,
        samples=rpn.fg_bg_sampler.batch_size_per_image,
        positive_share=rpn.fg_bg_sampler.positive_fraction,
        before_nms=(before["training"], before["testing"]),
        after_nms=(after["training"], after["testing"]),
        nms_threshold=rpn.nms_thresh,
    )


def roi_settings(heads: TorchvisionRoIHeads) -> RoISettings:
    """Settings of the second stage.

    Raises:
        ValueError: if it leaves proposals between two thresholds out, which ours does not.
    """
    matcher = heads.proposal_matcher
    if matcher.high_threshold != matcher.low_threshold:
        raise ValueError(
            f"model has box_fg_iou_thresh {matcher.high_threshold} and box_bg_iou_thresh "
            f"{matcher.low_threshold}; they must be equal"
        )
    return RoISettings(
        threshold=matcher.high_threshold,
        samples=heads.fg_bg_sampler.batch_size_per_image,
        positive_share=heads.fg_bg_sampler.positive_fraction,
        weights=tuple(heads.box_coder.weights),
        score_threshold=heads.score_thresh,
        nms_threshold=heads.nms_thresh,
        detections=heads.detections_per_img,
    )
