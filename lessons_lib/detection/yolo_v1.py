"""YOLO: one look at the whole picture, one grid of cells (Redmon et al., CVPR 2016)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.backbones import SmallResNet

from .boxes import full_precision
from .darknet import SLOPE, ConvBlock, YOLOv1Convolutions
from .faster_rcnn import scale_targets, unscale
from .pictures import PictureScaler
from .roi_heads import RoISettings
from .targets import Target
from .yolo_grid import (
    DETECTIONS,
    cells_of,
    first_of_each,
    gather_objects,
    grid_detections,
    paired_iou,
)


def split_v1(raw: Tensor, boxes: int) -> tuple[Tensor, Tensor, Tensor]:
    """The parts of a grid (B, S, S, 5 · boxes + C).

    Returns:
        places (B, S, S, boxes, 4), confidences (B, S, S, boxes) and classes (B, S, S, C).
    """
    predictors = raw[..., : 5 * boxes].unflatten(-1, (boxes, 5))
    return predictors[..., :4], predictors[..., 4], raw[..., 5 * boxes :]


def decode_v1(places: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes in pixels from what the cells say (section 2).

    Args:
        places: (B, S, S, boxes, 4): x and y of the centre within the cell, 0..1, and the square roots
            of width and height as shares of the picture. The paper says only that the loss compares
            square roots; that the network gives them itself is the released code's way, and squares
            are never negative.
        size: height and width of the picture, px.

    Returns:
        (B, S, S, boxes, 4), x1, y1, x2, y2 in px.
    """
    rows, columns = places.shape[1:3]
    y = torch.arange(rows, device=places.device)[:, None, None]
    x = torch.arange(columns, device=places.device)[None, :, None]
    centre = torch.stack([(places[..., 0] + x) / columns, (places[..., 1] + y) / rows], -1)
    half = places[..., 2:].square() / 2
    boxes = torch.cat([centre - half, centre + half], -1)
    return boxes * boxes.new_tensor([size[1], size[0], size[1], size[0]])


def yolo_v1_loss(
    raw: Tensor,
    targets: Sequence[Target],
    size: tuple[int, int],
    *,
    boxes: int = 2,
    coord_weight: float = 5.0,
    no_object_weight: float = 0.5,
) -> dict[str, Tensor]:
    """Five sums of squared errors (eq. 3), each a mean over the pictures.

    A cell that holds an object's centre learns its class, and its *responsible* predictor, the one
    of best IoU with the object, learns box and confidence. If none overlaps the object the nearest
    is responsible, as in the released code. The confidence to learn is that IoU; of all other
    predictors, 0. Of objects with centres in one cell only the first is learned.

    Args:
        raw: (B, S, S, 5 · boxes + C), see :func:`split_v1`.
        targets: cleaned, ``boxes`` in px and ``labels`` from 1.
        size: height and width of the pictures, px.
        boxes: predictors in a cell.
        coord_weight: λ_coord.
        no_object_weight: λ_noobj.

    Returns:
        ``box``, ``object``, ``no_object`` and ``class``, weighted.
    """
    places, confidence, classes = split_v1(raw, boxes)
    count, rows, columns = raw.shape[:3]
    found = gather_objects(targets)
    cells = cells_of(found.boxes, rows, columns, (size[0] / rows, size[1] / columns))
    slot = (found.picture * rows + cells[:, 0]) * columns + cells[:, 1]
    one = first_of_each(slot)
    found, cells = found.rows(one), cells[one]
    at = (found.picture, cells[:, 0], cells[:, 1])

    limits = found.boxes.new_tensor([size[1], size[0]])
    centre = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2 / limits
    offset = centre * centre.new_tensor([columns, rows]) - cells.flip(1)
    roots = ((found.boxes[:, 2:] - found.boxes[:, :2]) / limits).sqrt()
    wanted = torch.cat([offset, roots], 1)

    with torch.no_grad():
        iou = paired_iou(decode_v1(places, size)[at], found.boxes[:, None])
        error = (places[at] - wanted[:, None]).square().sum(-1)
        fitness = torch.where(iou.amax(1, keepdim=True) > 0, iou, -error)
        responsible = fitness.argmax(1)
        best = iou.gather(1, responsible[:, None])[:, 0]

    at_one = (*at, responsible)
    empty = torch.ones_like(confidence, dtype=torch.bool)
    empty[at_one] = False
    one_hot = F.one_hot(found.labels - 1, classes.shape[-1]).to(classes)
    return {
        "box": coord_weight * (places[at_one] - wanted).square().sum() / count,
        "object": (confidence[at_one] - best).square().sum() / count,
        "no_object": no_object_weight * confidence[empty].square().sum() / count,
        "class": (classes[at] - one_hot).square().sum() / count,
    }


def scores_v1(confidence: Tensor, classes: Tensor) -> Tensor:
    """Class-specific confidences (B, S, S, boxes, C): Pr(class | object) · confidence (eq. 1).

    Both are outputs of a linear layer. Those below 0 count as 0: two of them must not make a score.
    """
    return confidence.clamp(min=0)[..., None] * classes.clamp(min=0)[..., None, :]


class SharedHead(nn.Module):
    """Convolutions in place of YOLO's dense layers: what one cell learns, all cells know.

    Not in the paper; it shows what YOLOv2 gained by leaving the dense layers out.

    Shapes: (B, channels, h, w) → (B, grid · grid · outputs), as the dense layers give it.
    """

    def __init__(self, channels: int, grid: int, outputs: int) -> None:
        super().__init__()
        self.grid = grid
        self.block = ConvBlock(channels, channels, 3)
        self.output = nn.Conv2d(channels, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        cells = F.adaptive_avg_pool2d(self.block(features), self.grid)
        return self.output(cells).permute(0, 2, 3, 1).flatten(1)


class YOLOv1(nn.Module):
    """Convolutions, two dense layers over the whole map, a grid of predictions.

    Args:
        backbone: from an image (B, 3, H, W) to maps by name.
        name: of the map to use.
        map_size: height and width of it for pictures of the scaler's size.
        num_classes: with the background.
        scaler: how pictures are prepared; the dense layers need one size, ``fixed``.
        grid: S, cells to a side.
        boxes: predictors in a cell.
        reduce: channels to which a 1 x 1 convolution brings the map first; 0 leaves it out, as the
            paper does.
        hidden: width of the first dense layer.
        dropout: after it.
        shared: a :class:`SharedHead` in place of the dense layers, to see what they cost.
        settings: of the detections.

    Raises:
        ValueError: for fewer than two classes, or a scaler without ``fixed``.
    """

    def __init__(
        self,
        backbone: Any,
        name: str,
        map_size: tuple[int, int],
        num_classes: int,
        *,
        scaler: PictureScaler,
        grid: int = 7,
        boxes: int = 2,
        reduce: int = 0,
        hidden: int = 4096,
        dropout: float = 0.5,
        shared: bool = False,
        settings: RoISettings = DETECTIONS,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(
                f"num_classes is {num_classes}; it must be at least 2, background included"
            )
        if scaler.fixed is None:
            raise ValueError("scaler has no fixed size; the dense layers need one")
        self.num_classes, self.scaler, self.settings = num_classes, scaler, settings
        self.name, self.grid, self.boxes = name, grid, boxes
        self.backbone = backbone
        channels, outputs = backbone.out_channels[name], 5 * boxes + num_classes - 1
        self.reduce: nn.Module = nn.Identity()
        self.dense = nn.Sequential()
        if shared:
            self.dense.append(SharedHead(channels, grid, outputs))
            return
        if reduce:
            self.reduce = ConvBlock(channels, reduce, 1)
        self.dense.extend(
            [
                nn.Flatten(),
                nn.Linear((reduce or channels) * map_size[0] * map_size[1], hidden),
                nn.LeakyReLU(SLOPE),
                nn.Dropout(dropout),
                nn.Linear(hidden, grid * grid * outputs),
            ]
        )

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
        size = pictures.sizes[0]
        if self.training:
            cleaned = scale_targets(targets, pictures, self.num_classes)
            return yolo_v1_loss(raw, cleaned, size, boxes=self.boxes)
        places, confidence, classes = split_v1(raw, self.boxes)
        boxes = decode_v1(places, size).flatten(1, 3)
        scores = scores_v1(confidence, classes).flatten(1, 3)
        found = [
            grid_detections(b, s, size, self.settings) for b, s in zip(boxes, scores, strict=True)
        ]
        return unscale(found, pictures)

    def predict(self, image: Tensor) -> Tensor:
        """The grid (B, S, S, 5 · boxes + C) of a prepared image."""
        hidden = self.reduce(self.backbone(image)[self.name])
        return full_precision(self.dense(hidden)).unflatten(1, (self.grid, self.grid, -1))

    @classmethod
    def paper(cls, num_classes: int = 21) -> YOLOv1:
        """The network of figure 3: 24 convolutions, 4096 and 7 x 7 x 30 outputs, pictures of 448 x 448 px.

        The released ``yolov1.cfg`` is another one: with batch normalisation, three boxes a cell, and a
        locally connected layer in place of the first dense one.
        """
        return cls(
            YOLOv1Convolutions(),
            "c6",
            (7, 7),
            num_classes,
            scaler=PictureScaler(fixed=(448, 448), divisor=64),
        )

    @classmethod
    def small(
        cls,
        num_classes: int,
        *,
        size: int = 128,
        channels: tuple[int, int, int, int] = (16, 32, 48, 64),
        reduce: int = 8,
        hidden: int = 256,
        grid: int = 5,
        shared: bool = False,
    ) -> YOLOv1:
        """A detector of some 350,000 parameters for pictures of 128 px, for two processor cores.

        Args:
            num_classes: with the background.
            size: height and width that pictures are scaled to, px; a multiple of 16.
            channels: of the backbone's four stages.
            reduce: channels of the map that the dense layers read.
            hidden: width of the first dense layer.
            grid: cells to a side.
            shared: see the class.
        """
        scaler = PictureScaler(
            fixed=(size, size), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), divisor=16
        )
        return cls(
            SmallResNet(channels=channels, output_stride=16),
            "c5",
            (size // 16, size // 16),
            num_classes,
            scaler=scaler,
            grid=grid,
            reduce=reduce,
            hidden=hidden,
            dropout=0.0,
            shared=shared,
        )
