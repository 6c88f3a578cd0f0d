"""YOLOv3: three scales, and classes that do not exclude each other (Redmon and Farhadi, 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.backbones import SmallResNet

from .anchors import Shape
from .boxes import box_area, full_precision
from .darknet import ConvBlock, Darknet53
from .faster_rcnn import scale_targets, unscale
from .pictures import PictureScaler
from .roi_heads import RoISettings
from .targets import Target
from .yolo_grid import (
    DETECTIONS,
    best_iou,
    cells_of,
    decode_grid,
    encode_grid,
    first_of_each,
    gather_objects,
    grid_detections,
    nearest_shape,
)

COCO_ANCHORS = (
    ((10.0, 13.0), (16.0, 30.0), (33.0, 23.0)),
    ((30.0, 61.0), (62.0, 45.0), (59.0, 119.0)),
    ((116.0, 90.0), (156.0, 198.0), (373.0, 326.0)),
)
"""The nine clusters of COCO's boxes, three for each scale, px, finest first (section 2.3)."""
HAND_ANCHORS = (
    ((24.0, 24.0), (34.0, 17.0), (17.0, 34.0)),
    ((48.0, 48.0), (68.0, 34.0), (34.0, 68.0)),
    ((72.0, 72.0), (102.0, 51.0), (51.0, 102.0)),
)
"""Nine shapes for pictures of 128 px by hand: a size for each scale, in three ratios."""


def yolo_v3_loss(
    raw: Sequence[Tensor],
    targets: Sequence[Target],
    anchors: Sequence[Tensor],
    strides: Sequence[tuple[float, float]],
    *,
    ignore: float = 0.5,
) -> dict[str, Tensor]:
    """Logistic regression of objectness and classes, and the place; each a mean over the pictures.

    An object belongs to the one anchor, of all scales, whose shape fits it best, in the cell of its
    centre (section 2.1). Only that anchor learns box and classes, and its objectness learns 1. All
    others learn 0, except those whose predicted box overlaps an object by more than ``ignore``. (The
    predicted box, as in the released code; the paper speaks of the anchor. 0.5 is the paper's; the
    released settings have 0.7.)

    tw and th learn by squared error. So do tx and ty in the paper; the released code's step for them,
    truth - σ(t), is that of a cross-entropy with a target between 0 and 1, and so it is here. From the
    released code, too: the place of an object weighs 2 minus the share of the picture that it covers.

    Args:
        raw: of each scale (B, h, w, A, 5 + C): tx, ty, tw, th, to, and the scores of the classes.
        targets: cleaned, ``boxes`` in px and ``labels`` from 1.
        anchors: of each scale (A, 2), px.
        strides: of each scale height and width of a cell, px.
        ignore: IoU from which a box without an object of its own is left alone.

    Returns:
        ``box``, ``object``, ``no_object`` and ``class``.
    """
    found = gather_objects(targets)
    choice = nearest_shape(found.boxes, torch.cat(list(anchors)))
    count, first = len(raw[0]), 0
    sums: dict[str, list[Tensor]] = {"box": [], "object": [], "no_object": [], "class": []}
    for said, shapes, stride in zip(raw, anchors, strides, strict=True):
        rows, columns = said.shape[1:3]
        mine = ((choice >= first) & (choice < first + len(shapes))).nonzero()[:, 0]
        own, shape = found.rows(mine), choice[mine] - first
        first += len(shapes)
        cells = cells_of(own.boxes, rows, columns, stride)
        slot = ((own.picture * rows + cells[:, 0]) * columns + cells[:, 1]) * len(shapes) + shape
        one = first_of_each(slot)
        own, cells, shape = own.rows(one), cells[one], shape[one]
        at = (own.picture, cells[:, 0], cells[:, 1], shape)
        wanted = encode_grid(own.boxes, cells, shapes[shape], stride)
        with torch.no_grad():
            boxes = decode_grid(said[..., :4], shapes, stride)
            empty = (best_iou(boxes.flatten(1, 3), targets) <= ignore).view(said.shape[:4])
            empty[at] = False
        place, score, classes = said[at][:, :4], said[at][:, 4], said[at][:, 5:]
        one_hot = F.one_hot(own.labels - 1, classes.shape[1]).to(classes)
        weight = 2 - box_area(own.boxes) / (rows * stride[0] * columns * stride[1])
        centre = F.binary_cross_entropy_with_logits(place[:, :2], wanted[:, :2], reduction="none")
        # half, so that the gradient is prediction - truth, as the paper has it
        scale = (place[:, 2:] - wanted[:, 2:]).square() / 2
        sums["box"].append((weight * (centre + scale).sum(1)).sum())
        sums["object"].append(-F.logsigmoid(score).sum())
        sums["no_object"].append(F.softplus(said[..., 4][empty]).sum())
        sums["class"].append(F.binary_cross_entropy_with_logits(classes, one_hot, reduction="sum"))
    return {name: torch.stack(terms).sum() / count for name, terms in sums.items()}


def scores_v3(raw: Tensor) -> Tensor:
    """σ(to) · σ(class): (..., C) of (..., 5 + C). Classes do not exclude each other."""
    return raw[..., 4:5].sigmoid() * raw[..., 5:].sigmoid()


class YOLONeck(nn.Module):
    """Predictions at several scales, the coarse ones helping the fine ones (section 2.3).

    At each scale a set of convolutions, 1 x 1 and 3 x 3 in turn, then a 3 x 3 convolution and the
    prediction. From the set a 1 x 1 convolution and doubling lead to the next finer map, which is
    concatenated: unlike in :class:`~lessons_lib.detection.FeaturePyramid`, not added.

    Args:
        in_channels: of the maps by name, finest first.
        widths: of the 1 x 1 convolutions at each scale, finest first; the 3 x 3 have twice that.
        repeats: pairs of convolutions in a set after its first one; the paper has 2.
        outputs: channels of each prediction.

    Shapes: maps (B, C_k, h_k, w_k) by name → predictions (B, outputs, h_k, w_k), finest first.
    """

    def __init__(
        self, in_channels: Mapping[str, int], widths: Sequence[int], repeats: int, outputs: int
    ) -> None:
        super().__init__()
        self.names = tuple(in_channels)
        self.sets, self.lateral, self.heads = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for k, (name, width) in enumerate(zip(self.names, widths, strict=True)):
            coarser = k + 1 < len(self.names)
            channels = in_channels[name] + (width if coarser else 0)
            pairs = [
                block
                for _ in range(repeats)
                for block in (ConvBlock(width, 2 * width, 3), ConvBlock(2 * width, width, 1))
            ]
            self.sets.append(nn.Sequential(ConvBlock(channels, width, 1), *pairs))
            if coarser:
                self.lateral.append(ConvBlock(widths[k + 1], width, 1))
            self.heads.append(
                nn.Sequential(ConvBlock(width, 2 * width, 3), nn.Conv2d(2 * width, outputs, 1))
            )

    def forward(self, maps: Mapping[str, Tensor]) -> list[Tensor]:
        found: list[Tensor] = []
        above: Tensor | None = None
        for k in reversed(range(len(self.names))):
            own = maps[self.names[k]]
            if above is not None:
                doubled = F.interpolate(self.lateral[k](above), own.shape[-2:], mode="nearest")
                own = torch.cat([doubled, own], 1)
            above = self.sets[k](own)
            found.append(self.heads[k](above))
        return found[::-1]


class YOLOv3(nn.Module):
    """A backbone, a neck of three scales, three anchors in every cell of each.

    Args:
        backbone: from an image (B, 3, H, W) to maps by name.
        names: of the maps to use, finest first.
        num_classes: with the background.
        anchors: widths and heights for each map, px, as many for each.
        widths, repeats: see :class:`YOLONeck`.
        scaler: how pictures are prepared.
        settings: of the detections.

    Raises:
        ValueError: for fewer than two classes, or anchors that do not fit the maps.
    """

    def __init__(
        self,
        backbone: Any,
        names: Sequence[str],
        num_classes: int,
        anchors: Sequence[Sequence[Shape]],
        *,
        widths: Sequence[int] = (128, 256, 512),
        repeats: int = 2,
        scaler: PictureScaler = PictureScaler(),
        settings: RoISettings = DETECTIONS,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(
                f"num_classes is {num_classes}; it must be at least 2, background included"
            )
        counts = [len(level) for level in anchors]
        if len(counts) != len(names) or len(set(counts)) != 1 or counts[0] == 0:
            raise ValueError(
                f"anchors has {counts} shapes a map; {len(names)} maps need as many each, at least 1"
            )
        self.num_classes, self.scaler, self.settings = num_classes, scaler, settings
        self.backbone = backbone
        self.register_buffer("anchors", torch.tensor(anchors).float(), persistent=False)
        outputs = counts[0] * (4 + num_classes)
        channels = {name: backbone.out_channels[name] for name in names}
        self.neck = YOLONeck(channels, widths, repeats, outputs)

    anchors: Tensor

    def forward(
        self, images: Sequence[Tensor] | Tensor, targets: Sequence[Target] | None = None
    ) -> Any:
        """Detections, or in training mode ``box``, ``object``, ``no_object`` and ``class``.

        Images, targets and detections are those of
        :meth:`FasterRCNN.forward <lessons_lib.detection.FasterRCNN.forward>`.

        Raises:
            ValueError: for pictures or targets that do not fit, or training without targets.
        """
        pictures = self.scaler(images, training=self.training)
        raw = self.predict(pictures.tensor)
        height, width = pictures.tensor.shape[-2:]
        strides = [(height / level.shape[1], width / level.shape[2]) for level in raw]
        if self.training:
            cleaned = scale_targets(targets, pictures, self.num_classes)
            return yolo_v3_loss(raw, cleaned, list(self.anchors), strides)
        parts = zip(raw, self.anchors, strides, strict=True)
        boxes = torch.cat([decode_grid(r[..., :4], a, s).flatten(1, 3) for r, a, s in parts], 1)
        scores = torch.cat([scores_v3(level).flatten(1, 3) for level in raw], 1)
        rows = zip(boxes, scores, pictures.sizes, strict=True)
        return unscale(
            [grid_detections(b, s, size, self.settings) for b, s, size in rows], pictures
        )

    def predict(self, image: Tensor) -> list[Tensor]:
        """What every anchor says, (B, h, w, A, 5 + C) of each scale, of a prepared image."""
        levels = self.neck(self.backbone(image))
        shape = (self.anchors.shape[1], -1)
        return [full_precision(m).permute(0, 2, 3, 1).unflatten(-1, shape) for m in levels]

    @classmethod
    def paper(cls, num_classes: int = 81) -> YOLOv3:
        """Darknet-53 with the nine anchors of COCO, pictures of 416 x 416 px."""
        return cls(
            Darknet53(),
            ("c3", "c4", "c5"),
            num_classes,
            COCO_ANCHORS,
            scaler=PictureScaler(fixed=(416, 416), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        )

    @classmethod
    def small(
        cls,
        num_classes: int,
        *,
        anchors: Sequence[Sequence[Shape]] = HAND_ANCHORS,
        channels: tuple[int, int, int, int] = (16, 32, 64, 96),
        widths: tuple[int, int, int] = (24, 32, 40),
        scaler: PictureScaler = PictureScaler(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    ) -> YOLOv3:
        """A detector of some 300,000 parameters for pictures of about 128 px, for two processor cores.

        Its scales have strides 4, 8 and 16, for the paper's 8, 16 and 32.

        Args:
            num_classes: with the background.
            anchors: widths and heights for each scale, px.
            channels: of the backbone's four stages.
            widths: see :class:`YOLONeck`; its sets have one convolution here.
            scaler: how pictures are prepared.
        """
        return cls(
            SmallResNet(channels=channels, output_stride=16),
            ("c3", "c4", "c5"),
            num_classes,
            anchors,
            widths=widths,
            repeats=0,
            scaler=scaler,
        )
