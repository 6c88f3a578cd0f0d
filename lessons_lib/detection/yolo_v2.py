"""YOLOv2: anchors from the data, no dense layers (Redmon and Farhadi, CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.backbones import SmallResNet

from .anchors import Shape
from .boxes import full_precision
from .darknet import ConvBlock, Darknet19
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
    paired_iou,
)

VOC_ANCHORS = (
    (1.3221, 1.73145),
    (3.19275, 4.00944),
    (5.05587, 8.09892),
    (9.47112, 4.84053),
    (11.2364, 10.0071),
)
"""Widths and heights that the authors found on VOC, in cells of 32 px (``yolov2-voc.cfg``)."""
HAND_ANCHORS = ((24.0, 24.0), (68.0, 34.0), (48.0, 48.0), (34.0, 68.0), (72.0, 72.0))
"""Widths and heights for pictures of 128 px by hand: three sizes, the middle one in three ratios."""


def yolo_v2_loss(
    raw: Tensor,
    targets: Sequence[Target],
    anchors: Tensor,
    stride: tuple[float, float],
    *,
    ignore: float = 0.6,
    object_weight: float = 5.0,
) -> dict[str, Tensor]:
    """Squared errors of place and objectness, cross-entropy of classes; each a mean over the pictures.

    The paper gives no formula; this is what the released code follows. An object belongs to the cell of
    its centre and there to the anchor whose shape fits it best. That anchor's σ(tx), σ(ty), tw, th
    learn the object's place, σ(to) learns the IoU of the box with the object, a softmax its class.
    Every other anchor's σ(to) learns 0, except where the predicted box overlaps an object by more than
    ``ignore``. Left out: the first 12,800 pictures, in which all boxes are drawn to their anchors.

    Args:
        raw: (B, h, w, A, 5 + C): tx, ty, tw, th, to, and the scores of the classes.
        targets: cleaned, ``boxes`` in px and ``labels`` from 1.
        anchors: (A, 2), px.
        stride: height and width of a cell, px.
        ignore: IoU from which a box without an object of its own is left alone.
        object_weight: of the objectness of boxes that have an object.

    Returns:
        ``box``, ``object``, ``no_object`` and ``class``, weighted.
    """
    count, rows, columns = raw.shape[:3]
    moves, objectness, classes = raw[..., :4], raw[..., 4].sigmoid(), raw[..., 5:]
    found = gather_objects(targets)
    cells = cells_of(found.boxes, rows, columns, stride)
    shape = nearest_shape(found.boxes, anchors)
    slot = ((found.picture * rows + cells[:, 0]) * columns + cells[:, 1]) * len(anchors) + shape
    one = first_of_each(slot)
    found, cells, shape = found.rows(one), cells[one], shape[one]
    at = (found.picture, cells[:, 0], cells[:, 1], shape)
    wanted = encode_grid(found.boxes, cells, anchors[shape], stride)
    said = torch.cat([moves[at][:, :2].sigmoid(), moves[at][:, 2:]], 1)

    with torch.no_grad():
        boxes = decode_grid(moves, anchors, stride)
        own = paired_iou(boxes[at], found.boxes)
        nearest = best_iou(boxes.flatten(1, 3), targets).view_as(objectness)
        empty = nearest <= ignore
        empty[at] = False
    return {
        "box": (said - wanted).square().sum() / count,
        "object": object_weight * (objectness[at] - own).square().sum() / count,
        "no_object": objectness[empty].square().sum() / count,
        "class": F.cross_entropy(classes[at], found.labels - 1, reduction="sum") / count,
    }


def scores_v2(raw: Tensor) -> Tensor:
    """Pr(object) · Pr(class | object): (..., C) of (..., 5 + C), from σ and a softmax."""
    return raw[..., 4:5].sigmoid() * raw[..., 5:].softmax(-1)


class YOLOv2(nn.Module):
    """Convolutions, a passthrough from a finer map, and a few anchors in every cell.

    Args:
        backbone: from an image (B, 3, H, W) to maps by name.
        names: of the map to use and of one of half its stride, which is brought to its size by
            placing 2 x 2 neighbours side by side as channels (the passthrough layer). Released code
            orders these channels otherwise; what follows can learn either.
        num_classes: with the background.
        anchors: widths and heights, px.
        deep: channels of the 3 x 3 convolutions upon the coarse map.
        passthrough: channels to which a 1 x 1 convolution brings the finer map, as in the released code.
        width: channels of the last 3 x 3 convolution.
        scaler: how pictures are prepared.
        settings: of the detections.

    Raises:
        ValueError: for fewer than two classes, or no anchors.
    """

    anchors: Tensor

    def __init__(
        self,
        backbone: Any,
        names: tuple[str, str],
        num_classes: int,
        anchors: Sequence[Shape],
        *,
        deep: Sequence[int] = (1024, 1024),
        passthrough: int = 64,
        width: int = 1024,
        scaler: PictureScaler = PictureScaler(),
        settings: RoISettings = DETECTIONS,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(
                f"num_classes is {num_classes}; it must be at least 2, background included"
            )
        if len(anchors) == 0:
            raise ValueError("anchors is empty; a cell needs at least one")
        self.num_classes, self.scaler, self.settings = num_classes, scaler, settings
        self.names = names
        self.backbone = backbone
        self.register_buffer("anchors", torch.tensor(anchors).float(), persistent=False)
        coarse, fine = (backbone.out_channels[name] for name in names)
        before = (coarse, *deep)
        self.deep = nn.Sequential(*(ConvBlock(i, o, 3) for i, o in zip(before, deep, strict=False)))
        self.passthrough = ConvBlock(fine, passthrough, 1)
        self.joined = ConvBlock(before[-1] + 4 * passthrough, width, 3)
        self.output = nn.Conv2d(width, len(anchors) * (4 + num_classes), 1)

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
        stride = (height / raw.shape[1], width / raw.shape[2])
        if self.training:
            cleaned = scale_targets(targets, pictures, self.num_classes)
            return yolo_v2_loss(raw, cleaned, self.anchors, stride)
        boxes = decode_grid(raw[..., :4], self.anchors, stride).flatten(1, 3)
        scores = scores_v2(raw).flatten(1, 3)
        parts = zip(boxes, scores, pictures.sizes, strict=True)
        return unscale(
            [grid_detections(b, s, size, self.settings) for b, s, size in parts], pictures
        )

    def predict(self, image: Tensor) -> Tensor:
        """What every anchor of every cell says, (B, h, w, A, 5 + C), of a prepared image."""
        maps = self.backbone(image)
        fine = F.pixel_unshuffle(self.passthrough(maps[self.names[1]]), 2)
        joined = self.joined(torch.cat([fine, self.deep(maps[self.names[0]])], 1))
        output = full_precision(self.output(joined)).permute(0, 2, 3, 1)
        return output.unflatten(-1, (len(self.anchors), -1))

    @classmethod
    def paper(cls, num_classes: int = 21) -> YOLOv2:
        """Darknet-19 with five anchors for VOC, pictures of 416 x 416 px, as released."""
        return cls(
            Darknet19(),
            ("c5", "c4"),
            num_classes,
            [(32 * w, 32 * h) for w, h in VOC_ANCHORS],
            scaler=PictureScaler(fixed=(416, 416), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        )

    @classmethod
    def small(
        cls,
        num_classes: int,
        *,
        anchors: Sequence[Shape] = HAND_ANCHORS,
        channels: tuple[int, int, int, int] = (16, 32, 64, 96),
        width: int = 64,
        scaler: PictureScaler = PictureScaler(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    ) -> YOLOv2:
        """A detector of some 360,000 parameters for pictures of about 128 px, for two processor cores.

        Args:
            num_classes: with the background.
            anchors: widths and heights, px.
            channels: of the backbone's four stages.
            width: channels of the two 3 x 3 convolutions upon it.
            scaler: how pictures are prepared.
        """
        return cls(
            SmallResNet(channels=channels, output_stride=16),
            ("c5", "c4"),
            num_classes,
            anchors,
            deep=(width,),
            passthrough=16,
            width=width,
            scaler=scaler,
        )
