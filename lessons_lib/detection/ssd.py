"""SSD: boxes of many sizes from maps of many sizes, in one look (Liu et al., ECCV 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from .boxes import box_iou, clip_boxes, full_precision
from .coder import BoxCoder
from .faster_rcnn import scale_targets, unscale
from .matching import BACKGROUND
from .nms import batched_nms
from .pictures import PictureScaler
from .ssd_backbones import SmallSSDMaps, SSDMaps, fresh
from .ssd_boxes import DefaultBoxes, match_default_boxes
from .targets import Target
from .torchvision_copy import check_ssd, load_published, scaler_of, ssd_settings

CAFFE = PictureScaler(
    mean=(0.48235, 0.45882, 0.40784), std=(1 / 255, 1 / 255, 1 / 255), divisor=1, fixed=(300, 300)
)
"""Pictures as VGG16's authors had them: the mean colour is taken off, and values stay as large as 255."""


@dataclass(frozen=True)
class SSDSettings:
    """What SSD learns from and what it reports; the defaults are those of torchvision's ``ssd300_vgg16``.

    Attributes:
        threshold: IoU from which a default box belongs to an object.
        negative_ratio: background boxes that enter the loss for each box with an object, the hardest.
        score_threshold: detections must score more.
        candidates: most of them of a class that go into NMS.
        nms_threshold: IoU above which the worse of two detections of one class goes.
        detections: most of them in a picture.
    """

    threshold: float = 0.5
    negative_ratio: float = 3.0
    score_threshold: float = 0.01
    candidates: int = 400
    nms_threshold: float = 0.45
    detections: int = 200


class SSDHead(nn.Module):
    """A 3 × 3 convolution of its own for every map (section 2.1): values for each default box of a cell.

    Args:
        channels: of each map.
        counts: default boxes in a cell of each map.
        values: numbers for each box: as many as classes, or four moves.
    """

    def __init__(self, channels: Sequence[int], counts: Sequence[int], values: int) -> None:
        super().__init__()
        self.values = values
        self.module_list = nn.ModuleList(
            nn.Conv2d(width, count * values, 3, padding=1)
            for width, count in zip(channels, counts, strict=True)
        )
        fresh(self.module_list)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """(B, boxes of all maps, values), in full precision; map by map, cells row by row."""
        said = [
            convolution(features).permute(0, 2, 3, 1).reshape(len(features), -1, self.values)
            for convolution, features in zip(self.module_list, maps, strict=True)
        ]
        return full_precision(torch.cat(said, 1))


class SSD(nn.Module):
    """Maps of falling resolution, each of which classifies and moves its own default boxes.

    A softmax over all classes and the background, as in the two-stage detectors; what keeps the
    background from drowning the rest is the choice of the hardest of it, :func:`hard_negatives`.

    Args:
        backbone: from an image (B, 3, H, W) to a list of maps, finest first, with ``out_channels``.
        num_classes: with the background.
        boxes: the default boxes of every map.
        scaler: how pictures are prepared; a detector with default boxes brings all to one size.
        settings: see :class:`SSDSettings`.

    The parameters have torchvision's names, so that the state dict of its ``ssd300_vgg16`` loads
    into :meth:`vgg16`.
    """

    def __init__(
        self,
        backbone: SSDMaps | SmallSSDMaps,
        num_classes: int,
        boxes: DefaultBoxes,
        *,
        scaler: PictureScaler,
        settings: SSDSettings = SSDSettings(),
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(
                f"num_classes is {num_classes}; it must be at least 2, background included"
            )
        if settings.negative_ratio < 0:
            raise ValueError(f"negative_ratio is {settings.negative_ratio}; it must be at least 0")
        self.num_classes, self.scaler, self.settings = num_classes, scaler, settings
        self.backbone, self.boxes = backbone, boxes
        self.head = nn.ModuleDict(
            {
                "classification_head": SSDHead(backbone.out_channels, boxes.counts, num_classes),
                "regression_head": SSDHead(backbone.out_channels, boxes.counts, 4),
            }
        )
        self.coder = BoxCoder((10.0, 10.0, 5.0, 5.0))  # one over the paper's variances 0.1 and 0.2

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
        logits, moves, boxes = self.raw(pictures.tensor)
        if self.training:
            cleaned = scale_targets(targets, pictures, self.num_classes)
            return self.loss(logits, moves, boxes, cleaned)
        scores = logits.softmax(2)
        found = [
            self._detections(score, self.coder.decode(move, boxes)[:, 0], size)
            for score, move, size in zip(scores, moves, pictures.sizes, strict=True)
        ]
        return unscale(found, pictures)

    def raw(self, tensor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, N, num_classes), moves (B, N, 4) and default boxes (N, 4) of a batch (B, 3, H, W)."""
        maps = self.backbone(tensor)
        height, width = tensor.shape[-2:]
        boxes = torch.cat(self.boxes(maps, (height, width)))
        return self.head["classification_head"](maps), self.head["regression_head"](maps), boxes

    def loss(
        self, logits: Tensor, moves: Tensor, boxes: Tensor, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Cross-entropy of positives and hard negatives, smooth L1 of the positives' moves (equations 1 to 3).

        Both are sums over the batch divided by its positives; a batch without any has a loss of 0.

        Args:
            logits: (B, N, num_classes).
            moves: (B, N, 4).
            boxes: default boxes (N, 4).
            targets: cleaned, of each picture.
        """
        s = self.settings
        labels = torch.zeros(logits.shape[:2], dtype=torch.int64, device=logits.device)
        moved, wanted = [], []
        for row, target in enumerate(targets):
            match = match_default_boxes(box_iou(target["boxes"], boxes), s.threshold)
            own = (match != BACKGROUND).nonzero()[:, 0]
            labels[row, own] = target["labels"][match[own]]
            moved.append(moves[row, own])
            wanted.append(self.coder.encode(target["boxes"][match[own]], boxes[own]))
        count = (labels > 0).sum().clamp(min=1)
        each = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        chosen = (labels > 0) | hard_negatives(each, labels > 0, s.negative_ratio)
        box = F.smooth_l1_loss(torch.cat(moved), torch.cat(wanted), reduction="sum")
        return {"class": torch.where(chosen, each, 0).sum() / count, "box": box / count}

    def _detections(
        self, scores: Tensor, boxes: Tensor, size: tuple[int, int]
    ) -> dict[str, Tensor]:
        """The best of each class above the threshold, cut at the border and thinned by NMS."""
        s = self.settings
        best, row = scores[:, 1:].topk(min(s.candidates, len(scores)), 0)
        labels = torch.arange(1, self.num_classes, device=scores.device).expand_as(best)
        keep = (best > s.score_threshold).T  # class by class
        score, label, row = best.T[keep], labels.T[keep], row.T[keep]
        box = clip_boxes(boxes[row], size)
        kept = batched_nms(box, score, label, s.nms_threshold)[: s.detections]
        return {"boxes": box[kept], "labels": label[kept], "scores": score[kept]}

    @classmethod
    def vgg16(cls, num_classes: int = 91, *, settings: SSDSettings = SSDSettings()) -> SSD:
        """SSD300: VGG16 with four further blocks, six maps of 38 to 1 cells a side, 8732 default boxes.

        Every picture is brought to 300 × 300 px, whatever its form.

        Args:
            num_classes: with the background; 91 for COCO's category ids as torchvision has them.
            settings: see :class:`SSDSettings`.
        """
        boxes = DefaultBoxes(
            (0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05),
            ((2,), (2, 3), (2, 3), (2, 3), (2,), (2,)),
            (8, 16, 32, 64, 100, 300),
        )
        return cls(SSDMaps(), num_classes, boxes, scaler=CAFFE, settings=settings)

    @classmethod
    def coco(cls) -> SSD:
        """:meth:`vgg16` with the weights that torchvision publishes (25.1 AP on COCO val2017).

        Raises:
            RuntimeError: if they are not there and cannot be downloaded.
        """
        weights = torchvision.models.detection.SSD300_VGG16_Weights.COCO_V1
        return load_published(cls.vgg16(len(weights.meta["categories"])), weights)

    @classmethod
    def from_torchvision(cls, model: torchvision.models.detection.ssd.SSD) -> SSD:
        """A copy, in this code, of torchvision's ``ssd300_vgg16``.

        Weights, default boxes, size and thresholds are taken over, the mode too.

        Raises:
            ValueError: for a model that is built otherwise, saying in what.
        """
        check_ssd(model)
        generator = model.anchor_generator
        copy = cls(
            SSDMaps(),
            model.head.classification_head.num_columns,
            DefaultBoxes(generator.scales, generator.aspect_ratios, generator.steps),
            scaler=scaler_of(model.transform),
            settings=SSDSettings(**ssd_settings(model)),
        )
        copy.load_state_dict(model.state_dict())
        device = next(model.parameters()).device
        return copy.to(device).train(model.training)

    @classmethod
    def small(
        cls,
        num_classes: int,
        *,
        channels: tuple[int, int, int, int] = (16, 32, 64, 96),
        size: tuple[int, int] = (128, 128),
        scales: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8),
        settings: SSDSettings = SSDSettings(detections=100),
    ) -> SSD:
        """A detector of some 370,000 parameters for pictures of about 128 px, for two processor cores.

        Maps of strides 8, 16 and 32, six default boxes in each cell.

        Args:
            num_classes: with the background.
            channels: of the backbone's four stages.
            size: height and width that every picture is brought to, px; multiples of 32.
            scales: of the three maps and one more, in shares of the picture's sides.
            settings: see :class:`SSDSettings`.
        """
        backbone = SmallSSDMaps(channels)
        scaler = PictureScaler(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), fixed=size)
        boxes = DefaultBoxes(scales, [(2, 3)] * len(backbone.out_channels))
        return cls(backbone, num_classes, boxes, scaler=scaler, settings=settings)


@torch.no_grad()
def hard_negatives(losses: Tensor, positive: Tensor, ratio: float) -> Tensor:
    """Of each picture's background boxes those with the largest loss, ``ratio`` for each positive (section 2.2).

    Args:
        losses: (B, N).
        positive: bool (B, N), boxes that belong to objects.
        ratio: 3 in the paper; a picture without positives gets none.

    Returns:
        bool (B, N), the chosen.
    """
    wanted = ratio * positive.sum(1, keepdim=True)
    order = losses.masked_fill(positive, -torch.inf).argsort(1, descending=True)
    rank = order.argsort(1)  # the permutation's inverse: 0 for the hardest
    return (rank < wanted) & ~positive
