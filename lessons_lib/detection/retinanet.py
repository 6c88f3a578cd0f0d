"""RetinaNet: one stage, a feature pyramid, and a loss that forgives the easy ones (Lin et al., ICCV 2017)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from lessons_lib.backbones import ResNet, SmallResNet

from .anchors import AnchorGenerator
from .boxes import box_iou, clip_boxes
from .coder import BoxCoder
from .faster_rcnn import scale_targets, unscale
from .focal import focal_loss
from .matching import IGNORED, match_boxes
from .nms import batched_nms
from .pictures import PictureScaler
from .retina_head import RetinaHead
from .tall_pyramid import TallPyramid
from .targets import Target
from .torchvision_copy import (
    check_retinanet,
    load_published,
    resnet_name,
    retinanet_settings,
    scaler_of,
    shapes_of,
)


def three_sizes(sizes: Sequence[float]) -> list[list[float]]:
    """For each level its size s and s times 2^(1/3) and 2^(2/3), rounded down: thirds of an octave (section 4)."""
    return [[s, float(int(s * 2 ** (1 / 3))), float(int(s * 2 ** (2 / 3)))] for s in sizes]


COCO_SIZES = three_sizes((32.0, 64.0, 128.0, 256.0, 512.0))
"""Sides of the anchors of P3 to P7, px."""


@dataclass(frozen=True)
class RetinaSettings:
    """What RetinaNet learns from and what it reports; the defaults are those of torchvision's COCO model.

    Attributes:
        gamma, alpha: of the focal loss.
        high, low: IoU from which an anchor is an object, below which it is background.
        score_threshold: detections must score more.
        candidates: most of them that a level sends into NMS.
        nms_threshold: IoU above which the worse of two detections of one class goes.
        detections: most of them in a picture; the paper has 100.
    """

    gamma: float = 2.0
    alpha: float | None = 0.25
    high: float = 0.5
    low: float = 0.4
    score_threshold: float = 0.05
    candidates: int = 1000
    nms_threshold: float = 0.5
    detections: int = 300


class RetinaNet(nn.Module):
    """A backbone with a tall pyramid, and a head that classifies and moves every anchor at once.

    As in torchvision, and unlike the paper (section 4): each object's best anchors learn it however
    little they overlap it; the box loss is L1, not smooth L1; and both terms are divided by the
    positive anchors of each picture, then averaged over pictures.

    Every class has its own yes or no, so that no class for the background is needed; torchvision has
    a logit for it all the same, which is never to be a yes. Ours has it too, so that weights can be
    exchanged, and never reports it.

    Args:
        backbone: from an image (B, 3, H, W) to maps by name, finest first, all with ``out_channels``.
        num_classes: with the background.
        anchors: of every map.
        scaler: how pictures are prepared.
        settings: see :class:`RetinaSettings`.
        prior, spread: of a fresh head, see :class:`RetinaHead`.
    """

    def __init__(
        self,
        backbone: TallPyramid,
        num_classes: int,
        anchors: AnchorGenerator,
        *,
        scaler: PictureScaler = PictureScaler(),
        settings: RetinaSettings = RetinaSettings(),
        prior: float = 0.01,
        spread: float | None = 0.01,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(
                f"num_classes is {num_classes}; it must be at least 2, background included"
            )
        self.num_classes, self.scaler, self.settings = num_classes, scaler, settings
        self.backbone, self.anchors = backbone, anchors
        self.head = RetinaHead(
            backbone.out_channels, anchors.count, num_classes, prior=prior, spread=spread
        )
        self.coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
        self.register_load_state_dict_pre_hook(_plain_names)

    def forward(
        self, images: Sequence[Tensor] | Tensor, targets: Sequence[Target] | None = None
    ) -> Any:
        """Detections, or in training mode the terms of the loss.

        Args:
            images: float (3, H, W) in [0, 1] each, of any size; or one tensor (B, 3, H, W).
            targets: in training, for each picture ``boxes`` (N, 4) in its pixels and ``labels``
                int64 (N,) in 1..num_classes - 1; crowds and empty boxes are left out.

        Returns:
            in evaluation mode a list with ``boxes`` (N, 4), ``labels`` (N,) and ``scores`` (N,) of
            each picture, best first; in training mode ``class`` and ``box``.

        Raises:
            ValueError: for pictures or targets that do not fit, or training without targets.
        """
        pictures = self.scaler(images, training=self.training)
        logits, moves, anchors = self.raw(pictures.tensor)
        if self.training:
            cleaned = scale_targets(targets, pictures, self.num_classes)
            return self.loss(torch.cat(logits, 1), torch.cat(moves, 1), torch.cat(anchors), cleaned)
        found = [
            self._detections(
                [level[k] for level in logits], [level[k] for level in moves], anchors, size
            )
            for k, size in enumerate(pictures.sizes)
        ]
        return unscale(found, pictures)

    def raw(self, tensor: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """What the network says of a prepared batch (B, 3, H, W), and about which anchors.

        Returns:
            of each level, finest first, logits (B, N, num_classes), moves (B, N, 4) and anchors (N, 4).
        """
        levels = list(self.backbone(tensor).values())
        said = [self.head(level) for level in levels]
        height, width = tensor.shape[-2:]
        return [s[0] for s in said], [s[1] for s in said], self.anchors(levels, (height, width))

    def loss(
        self, logits: Tensor, moves: Tensor, anchors: Tensor, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Focal loss of all anchors that are not ignored, L1 of the positive ones' moves.

        Args:
            logits: (B, N, num_classes).
            moves: (B, N, 4).
            anchors: (N, 4).
            targets: cleaned, of each picture.
        """
        s = self.settings
        matches = self.match(anchors, targets)
        positive = matches >= 0
        count = positive.sum(1).clamp(min=1)
        truth, wanted = torch.zeros_like(logits), torch.zeros_like(moves)
        for row, (target, match) in enumerate(zip(targets, matches, strict=True)):
            own = (match >= 0).nonzero()[:, 0]
            truth[row, own, target["labels"][match[own]]] = 1
            wanted[row, own] = self.coder.encode(target["boxes"][match[own]], anchors[own])
        focal = focal_loss(logits, truth, s.gamma, s.alpha).sum(2) * (matches != IGNORED)
        # a move that is not positive is multiplied by nothing, so that it has no gradient at all
        distance = torch.where(positive[..., None], (moves - wanted).abs(), 0).sum((1, 2))
        return {"class": (focal.sum(1) / count).mean(), "box": (distance / count).mean()}

    @torch.no_grad()
    def match(self, anchors: Tensor, targets: Sequence[Target]) -> Tensor:
        """The object of each anchor (N, 4) in each picture, as :func:`match_boxes` says it: int64 (B, N)."""
        s = self.settings
        overlaps = [box_iou(t["boxes"], anchors) for t in targets]
        return torch.stack([match_boxes(iou, s.high, s.low, keep_best=True) for iou in overlaps])

    @torch.inference_mode()
    def answers(
        self, images: Sequence[Tensor] | Tensor, targets: Sequence[Target]
    ) -> tuple[Tensor, Tensor]:
        """What the network says in evaluation mode, and whether it is right: one anchor about one class.

        Args:
            images, targets: as in training.

        Returns:
            the logits of yes and whether yes is right, float and bool (A,), of all anchors that are
            not ignored and all classes but the background, whose logit never has to be a yes.
        """
        pictures = self.scaler(images)
        cleaned = scale_targets(targets, pictures, self.num_classes)
        training = self.training
        try:
            logits, _, anchors = self.eval().raw(pictures.tensor)
        finally:
            self.train(training)
        matches, said = self.match(torch.cat(anchors), cleaned), torch.cat(logits, 1)
        truth = torch.zeros_like(said, dtype=torch.bool)
        for row, (target, match) in enumerate(zip(cleaned, matches, strict=True)):
            own = (match >= 0).nonzero()[:, 0]
            truth[row, own, target["labels"][match[own]]] = True
        keep = matches != IGNORED
        return said[keep][:, 1:].flatten(), truth[keep][:, 1:].flatten()

    def _detections(
        self,
        logits: Sequence[Tensor],
        moves: Sequence[Tensor],
        anchors: Sequence[Tensor],
        size: tuple[int, int],
    ) -> dict[str, Tensor]:
        """The best of each level above the threshold, moved, cut at the border, and thinned by NMS."""
        s = self.settings
        boxes, labels, scores = [], [], []
        for logit, move, anchor in zip(logits, moves, anchors, strict=True):
            score = logit[:, 1:].sigmoid().flatten()
            above = (score > s.score_threshold).nonzero()[:, 0]
            best, order = score[above].topk(min(s.candidates, len(above)))
            chosen = above[order]
            row = chosen // (self.num_classes - 1)
            boxes.append(clip_boxes(self.coder.decode(move[row], anchor[row])[:, 0], size))
            labels.append(1 + chosen % (self.num_classes - 1))
            scores.append(best)
        box, label, score = torch.cat(boxes), torch.cat(labels), torch.cat(scores)
        keep = batched_nms(box, score, label, s.nms_threshold)[: s.detections]
        return {"boxes": box[keep], "labels": label[keep], "scores": score[keep]}

    @classmethod
    def resnet_fpn(
        cls,
        num_classes: int = 91,
        name: str = "resnet50",
        *,
        frozen_norm: bool = False,
        scaler: PictureScaler = PictureScaler(shorter=(800,)),
        settings: RetinaSettings = RetinaSettings(),
    ) -> RetinaNet:
        """The COCO model: a ResNet, P3 to P7 with 256 channels, nine anchors a cell.

        Args:
            num_classes: with the background; 91 for COCO's category ids as torchvision has them.
            name: of the ResNet.
            frozen_norm: batch normalisation whose statistics and scale never change.
            scaler, settings: see the class.
        """
        body = ResNet(name, frozen_norm=frozen_norm)
        return cls(
            TallPyramid(body, ("c3", "c4", "c5")),
            num_classes,
            AnchorGenerator.by_hand(COCO_SIZES),
            scaler=scaler,
            settings=settings,
        )

    @classmethod
    def coco(cls) -> RetinaNet:
        """:meth:`resnet_fpn` with the weights that torchvision publishes (36.4 AP on COCO val2017).

        Raises:
            RuntimeError: if they are not there and cannot be downloaded.
        """
        weights = torchvision.models.detection.RetinaNet_ResNet50_FPN_Weights.COCO_V1
        model = cls.resnet_fpn(len(weights.meta["categories"]), frozen_norm=True)
        return load_published(model, weights)

    @classmethod
    def from_torchvision(cls, model: torchvision.models.detection.RetinaNet) -> RetinaNet:
        """A copy, in this code, of torchvision's ``retinanet_resnet50_fpn``, or one with another ResNet.

        Weights, normalisation, anchors, sizes and thresholds are taken over, the mode too.

        Raises:
            ValueError: for a model that is built otherwise, saying in what.
        """
        check_retinanet(model)
        body = model.backbone.body
        frozen = isinstance(body.bn1, torchvision.ops.FrozenBatchNorm2d)
        copy = cls(
            TallPyramid(
                ResNet(resnet_name(body), frozen_norm=frozen),
                ("c3", "c4", "c5"),
                model.backbone.out_channels,
            ),
            model.head.classification_head.num_classes,
            AnchorGenerator(shapes_of(model.anchor_generator)),
            scaler=scaler_of(model.transform),
            settings=RetinaSettings(**retinanet_settings(model)),
        )
        for module in copy.backbone.modules():
            if isinstance(module, type(body.bn1)):
                module.eps = body.bn1.eps
        copy.load_state_dict(model.state_dict())
        device = next(model.parameters()).device
        return copy.to(device).train(model.training)

    @classmethod
    def small(
        cls,
        num_classes: int,
        *,
        channels: tuple[int, int, int, int] = (16, 32, 64, 96),
        width: int = 32,
        levels: tuple[str, ...] = ("c4", "c5"),
        extra: int = 1,
        sizes: tuple[float, ...] = (24.0, 48.0, 96.0),
        scaler: PictureScaler = PictureScaler(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
        settings: RetinaSettings = RetinaSettings(detections=100),
        prior: float = 0.01,
    ) -> RetinaNet:
        """A detector of some 370,000 parameters for pictures of about 128 px, for two processor cores.

        By default it has levels of strides 8, 16 and 32, the last by a strided convolution.

        Args:
            num_classes: with the background.
            channels: of the backbone's four stages.
            width: channels of the pyramid and of the heads.
            levels: the backbone's maps that it starts from, finest first; ``c3`` has stride 4.
            extra: levels above them, by strided convolutions.
            sizes: side of the smallest anchors of each level, px; the others are thirds of an octave
                above it.
            scaler: how pictures are prepared.
            settings: see :class:`RetinaSettings`.
            prior: of a fresh head.
        """
        body = SmallResNet(channels=channels, output_stride=16)
        return cls(
            TallPyramid(body, levels, width, extra=extra),
            num_classes,
            AnchorGenerator.by_hand(three_sizes(sizes)),
            scaler=scaler,
            settings=settings,
            prior=prior,
            spread=None,
        )


def _plain_names(module: nn.Module, state: dict[str, Any], *_: Any) -> None:
    """torchvision's names, old and new: it wraps convolutions in sequences, and P6 in its pyramid."""
    for name in list(state):
        plain = re.sub(r"(inner_blocks|layer_blocks)\.(\d+)\.0\.", r"\1.\2.", name)
        plain = plain.replace("backbone.fpn.extra_blocks.", "backbone.extra_blocks.")
        plain = re.sub(r"(_head\.conv)\.(\d+)\.0\.", lambda m: f"{m[1]}.{2 * int(m[2])}.", plain)
        if plain != name:
            state[plain] = state.pop(name)
