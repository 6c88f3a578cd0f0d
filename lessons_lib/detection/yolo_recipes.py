"""The YOLO detectors of chapter 9 as trainable systems, on the pictures of all detectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from .anchors import Shape
from .one_stage_recipes import presets
from .recipes import ShapesDetection, clustered_anchors
from .yolo_v1 import YOLOv1
from .yolo_v2 import HAND_ANCHORS, YOLOv2
from .yolo_v3 import YOLOv3

V1 = {
    "channels": (16, 32, 48, 64),
    "reduce": 8,
    "hidden": 256,
    "grid": 5,
    "head": "dense",
}


class ShapesYOLOv1(ShapesDetection):
    """A small YOLO: a grid of cells, two predictors and one set of classes in each.

    Through dense layers every cell learns by itself. So the grid has 5 x 5 cells where the paper has
    7 x 7, for each then sees more objects, and ``quick`` takes 2.5 times the steps of the other
    detectors, which are shorter ones. With ``head`` ``convolution`` all cells share what they learn.
    """

    name = "shapes-yolov1"
    summary = "boxes around shapes with YOLO (chapter 9)"
    presets = presets(V1, {"reduce": 32, "hidden": 1024, "grid": 7}, 4e-3, steps=5000)

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        if options["head"] not in ("dense", "convolution"):
            raise ValueError(f"head is {options['head']!r}; it must be dense or convolution")
        return YOLOv1.small(
            len(self.classes),
            size=options["size"],
            channels=tuple(options["channels"]),
            reduce=options["reduce"],
            hidden=options["hidden"],
            grid=options["grid"],
            shared=options["head"] == "convolution",
        )


V2 = {"channels": (16, 32, 64, 96), "width": 64, "anchors": "k-means"}


class ShapesYOLOv2(ShapesDetection):
    """A small YOLOv2; its anchors come from clusters of training boxes, or by hand."""

    name = "shapes-yolov2"
    summary = "boxes around shapes with YOLOv2 (chapter 9)"
    presets = presets(V2, {"width": 192}, 3e-3)

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        if options["anchors"] not in ("hand", "k-means"):
            raise ValueError(f"anchors is {options['anchors']!r}; it must be hand or k-means")
        anchors: Sequence[Shape] = HAND_ANCHORS
        if options["anchors"] == "k-means":
            anchors = clustered_anchors(options, 1, count=5).shapes[0]
        return YOLOv2.small(
            len(self.classes),
            anchors=anchors,
            channels=tuple(options["channels"]),
            width=options["width"],
        )


V3 = {"channels": (16, 32, 64, 96), "widths": (24, 32, 40)}


class ShapesYOLOv3(ShapesDetection):
    """A small YOLOv3 with nine clustered anchors, three for each of three scales."""

    name = "shapes-yolov3"
    summary = "boxes around shapes with YOLOv3 (chapter 9)"
    presets = presets(V3, {"widths": (64, 96, 128)}, 3e-3)

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return YOLOv3.small(
            len(self.classes),
            anchors=clustered_anchors(options, 3).shapes,
            channels=tuple(options["channels"]),
            widths=tuple(options["widths"]),
        )
