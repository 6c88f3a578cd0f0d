"""Reads the settings of torchvision's detectors, so that ours can be built alike."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torchvision
from torch import nn
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator as TorchvisionAnchors
from torchvision.models.detection.faster_rcnn import TwoMLPHead
from torchvision.models.detection.roi_heads import RoIHeads as TorchvisionRoIHeads
from torchvision.models.detection.rpn import RegionProposalNetwork as TorchvisionRPN
from torchvision.models.detection.ssd import SSD, SSDFeatureExtractorVGG
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from .anchors import Shape
from .pictures import PictureScaler
from .roi_heads import RoISettings
from .rpn import RPNSettings

Model = TypeVar("Model", bound=nn.Module)

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


def check_mask_layers(model: FasterRCNN) -> tuple[int, int]:
    """Number of convolutions of a model's mask branch, and their channels.

    Raises:
        ValueError: for a model without one, or with another than ``maskrcnn_resnet50_fpn``.
    """
    heads: Any = model.roi_heads
    if not heads.has_mask():
        raise ValueError(
            f"model is a {type(model).__name__} without a mask branch; it must have one"
        )
    if list(heads.mask_roi_pool.featmap_names) != ["0", "1", "2", "3"]:
        raise ValueError(
            f"model pools masks from the maps {heads.mask_roi_pool.featmap_names}; it must be 0 to 3"
        )
    convolutions = [module for module in heads.mask_head.modules() if isinstance(module, nn.Conv2d)]
    widths = {module.out_channels for module in convolutions}
    if len(convolutions) != len(heads.mask_head) or any(c.bias is None for c in convolutions):
        raise ValueError("model normalises in its mask head; it must be convolutions and ReLU")
    widths.add(heads.mask_predictor.conv5_mask.out_channels)
    if len(widths) > 1 or any(c.dilation != (1, 1) for c in convolutions):
        raise ValueError(
            f"model has a mask head of {sorted(widths)} channels, or dilated; it must have one width"
        )
    return len(convolutions), widths.pop()


def check_keypoint_layers(model: FasterRCNN) -> tuple[int, int]:
    """Number of convolutions of a model's keypoint branch, and their channels.

    Raises:
        ValueError: for a model without one, or with another than ``keypointrcnn_resnet50_fpn``.
    """
    heads: Any = model.roi_heads
    if not heads.has_keypoint():
        raise ValueError(
            f"model is a {type(model).__name__} without a keypoint branch; it must have one"
        )
    if list(heads.keypoint_roi_pool.featmap_names) != ["0", "1", "2", "3"]:
        names = heads.keypoint_roi_pool.featmap_names
        raise ValueError(f"model pools keypoints from the maps {names}; it must be 0 to 3")
    convolutions = [m for m in heads.keypoint_head if isinstance(m, nn.Conv2d)]
    widths = {module.out_channels for module in convolutions}
    if 2 * len(convolutions) != len(heads.keypoint_head) or len(widths) != 1:
        raise ValueError(
            "model has another keypoint head; it must be convolutions of one width, each with a ReLU"
        )
    return len(convolutions), widths.pop()


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
    """How torchvision's model prepares pictures; its fixed size is (width, height)."""
    fixed = transform.fixed_size
    return PictureScaler(
        shorter=tuple(transform.min_size),
        longer=transform.max_size,
        mean=tuple(transform.image_mean),
        std=tuple(transform.image_std),
        divisor=transform.size_divisible,
        fixed=None if fixed is None else (fixed[1], fixed[0]),
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


def load_published(model: Model, weights: Any) -> Model:
    """Puts weights that torchvision publishes into a model of ours; in evaluation mode.

    Raises:
        RuntimeError: if they are not there and cannot be downloaded; says where to put the file.
    """
    try:
        state = weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        file = weights.url.rsplit("/", 1)[-1]
        raise RuntimeError(
            f"the COCO weights could not be fetched ({error}): put {weights.url} at "
            f"{torch.hub.get_dir()}/checkpoints/{file}"
        ) from error
    model.load_state_dict(state)
    return without_epsilon(model).eval()


def without_epsilon(model: Model) -> Model:
    """The model as the published statistics want it: they were fitted without an epsilon."""
    for module in model.modules():
        if isinstance(module, torchvision.ops.FrozenBatchNorm2d):
            module.eps = 0.0
    return model


def check_retinanet(model: RetinaNet) -> None:
    """ValueError for a model whose pyramid or heads are not those of ``retinanet_resnet50_fpn``."""
    extra = model.backbone.fpn.extra_blocks if hasattr(model.backbone, "fpn") else None
    if not isinstance(extra, LastLevelP6P7) or not extra.use_P5:
        raise ValueError("model has another pyramid; it must make P6 and P7 from P5")
    if any(isinstance(m, nn.GroupNorm | nn.BatchNorm2d) for m in model.head.modules()):
        raise ValueError("model normalises in its heads; they must be convolutions and ReLU")
    if model.head.regression_head._loss_type != "l1":
        kind = model.head.regression_head._loss_type
        raise ValueError(f"model has the box loss {kind!r}; it must be 'l1'")


def retinanet_settings(model: RetinaNet) -> dict[str, Any]:
    """Settings of RetinaNet; torchvision's focal loss is fixed at gamma 2 and alpha 0.25."""
    return {
        "high": model.proposal_matcher.high_threshold,
        "low": model.proposal_matcher.low_threshold,
        "score_threshold": model.score_thresh,
        "candidates": model.topk_candidates,
        "nms_threshold": model.nms_thresh,
        "detections": model.detections_per_img,
    }


def check_ssd(model: SSD) -> None:
    """ValueError for a model that is not built as ``ssd300_vgg16``."""
    extra = getattr(model.backbone, "extra", None)
    if not isinstance(model.backbone, SSDFeatureExtractorVGG) or len(extra or ()) != 5:
        kind = type(model.backbone).__name__
        raise ValueError(f"model has the backbone {kind}; it must be that of ssd300_vgg16")
    if not model.anchor_generator.clip:
        raise ValueError("model does not clip its default boxes; it must")


def ssd_settings(model: SSD) -> dict[str, Any]:
    """Settings of SSD."""
    return {
        "threshold": model.proposal_matcher.high_threshold,
        "negative_ratio": model.neg_to_pos_ratio,
        "score_threshold": model.score_thresh,
        "candidates": model.topk_candidates,
        "nms_threshold": model.nms_thresh,
        "detections": model.detections_per_img,
    }
