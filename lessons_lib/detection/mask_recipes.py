"""The trainable systems of chapter 10 on drawn scenes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.data import Sticks
from lessons_lib.data.picture_statistics import PictureStatistics
from lessons_lib.data.rle import encode_rle
from lessons_lib.embedding.metrics import (  # measures only: the one place where Part III borrows from IV
    count_difference,
    match_instances,
    symmetric_best_dice,
)
from lessons_lib.training import Preset
from lessons_lib.training.recipe import Batch

from .anchors import AnchorGenerator
from .average_precision import average_precision, average_precision_by_class, coco_form
from .coco_read import Kind
from .faster_rcnn import FasterRCNN
from .instance_targets import InstanceTargets, merge_masks
from .mask_rcnn import MaskRCNN
from .recipes import SCENES, VALIDATED_ON, DetectionRecipe, ShapesDetection
from .roi_heads import RoISettings
from .targets import targets_of

NETWORK = {
    "channels": (16, 32, 64, 96),
    "width": 32,
    "head_width": 64,
    "mask_width": 24,
    "mask_loss": "sigmoid",
    "mask_aligned": True,
    "align": True,
}


class MaskRecipe(DetectionRecipe):
    """Boxes and masks, scored by COCO's average precision of both over all validation pictures.

    The metrics are those of :class:`~lessons_lib.detection.recipes.DetectionRecipe` for the boxes, and the
    same with ``mask_`` before their names for the masks.
    """

    score = "mask_AP50"

    def training_terms(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        return model(batch["image"], targets_of(batch, "masks"))

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Truth and detections of a picture, for :meth:`summarize`; masks as compressed run lengths."""
        row = super().measure(prediction, sample, options)
        row["truth"]["masks"] = run_lengths(sample["masks"])
        names = ("boxes", "labels", "scores")
        row["found"] = {name: prediction[name] for name in names}
        row["found"]["masks"] = run_lengths(prediction["masks"])
        return row

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """COCO's numbers over all pictures for boxes and masks; what is undefined is left out."""
        forms = coco_form([r["truth"] for r in rows], [r["found"] for r in rows], self.classes)
        numbers: dict[str, float] = {}
        kinds: tuple[tuple[Kind, str], ...] = ("boxes", ""), ("masks", "mask_")
        for kind, prefix in kinds:
            numbers |= {f"{prefix}{n}": v for n, v in average_precision(*forms, kind).items()}
            classes = average_precision_by_class(*forms, kind)
            if len(classes) > 1:
                numbers |= {f"{prefix}AP50_{name}": value for name, value in classes.items()}
        more = [{k: v for k, v in r.items() if k not in ("truth", "found")} for r in rows]
        return {k: v for k, v in numbers.items() if v >= 0} | super(
            DetectionRecipe, self
        ).summarize(more)


def run_lengths(masks: Tensor) -> list[Any]:
    """Masks bool (N, H, W) as COCO's compressed run lengths."""
    return [encode_rle(mask, compress=True) for mask in masks]


class InstanceMaskRecipe(MaskRecipe):
    """Instances of one class, also measured as a label map, in which a pixel has one instance.

    Options: ``least`` and ``min_size`` as ``least`` and ``min_area`` of
    :func:`~lessons_lib.detection.instance_targets.merge_masks`; ``sizes``, ``ratios`` of the anchors of each
    level, ``levels`` of the pyramid, ``canonical_size``, ``samples``, ``proposals`` and ``detections``.
    """

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return small_mask_rcnn(
            len(self.classes),
            options,
            levels=tuple(options["levels"]),
            anchors=AnchorGenerator.by_hand([[s] for s in options["sizes"]], options["ratios"]),
            canonical_size=options["canonical_size"],
            proposals=tuple(options["proposals"]),
            roi=RoISettings(samples=options["samples"], detections=options["detections"]),
        )

    def infer(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """Detections, and ``instances`` int64 (H, W)."""
        found = super().infer(model, batch, options)
        for one in found:
            one["instances"] = merge_masks(
                one["masks"], one["scores"], least=options["least"], min_area=options["min_size"]
            )
        return found


class ShapesMaskRCNN(MaskRecipe, ShapesDetection):
    """A small Mask R-CNN, whose pooling and loss can be changed, and whose mask branch can be left out."""

    name = "shapes-mask-rcnn"
    summary = "boxes and masks of shapes with Mask R-CNN (chapter 10)"
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="a short look, in front of the reader",
            steps=110,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=20,
            clip_norm=10.0,
            options={**SCENES, **NETWORK, "mask_branch": True, "validation": 30},
        ),
        "quick": Preset(
            summary="128 x 128 px, two cores",
            steps=2000,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=100,
            clip_norm=10.0,
            checkpoint_every=500,
            options={**SCENES, **NETWORK, "mask_branch": True},
        ),
        "full": Preset(
            summary="256 x 256 px, more and more different things, a wider network, one GPU",
            steps=5000,
            batch_size=32,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=300,
            clip_norm=10.0,
            precision="bf16",
            checkpoint_every=1000,
            workers=12,
            options={
                **SCENES,
                **NETWORK,
                "mask_branch": True,
                "size": 256,
                "radius": (12, 72),
                "count": (3, 8),
                "channels": (32, 64, 128, 192),
                "width": 96,
                "head_width": 256,
                "mask_width": 96,
            },
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        if options["mask_branch"]:
            return small_mask_rcnn(len(self.classes), options)
        trunk = {name: options[name] for name in ("width", "head_width", "align")}
        return FasterRCNN.small(
            len(self.classes),
            channels=tuple(options["channels"]),
            roi=RoISettings(samples=32),
            **trunk,
        )

    def infer(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """Detections; without a mask branch the whole box is taken for the mask."""
        found = super().infer(model, batch, options)
        for one, image in zip(found, batch["image"], strict=True):
            if "masks" not in one:
                one["masks"] = filled_boxes(one["boxes"], (image.shape[1], image.shape[2]))
        return found


def small_mask_rcnn(num_classes: int, options: Mapping[str, Any], **more: Any) -> MaskRCNN:
    """The network that a recipe's options describe."""
    names = ("width", "head_width", "mask_width", "mask_loss", "mask_aligned", "align")
    return MaskRCNN.small(
        num_classes,
        channels=tuple(options["channels"]),
        **{name: options[name] for name in names},
        **more,
    )


def filled_boxes(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks bool (N, H, W) of the pixels whose middles lie in the boxes (N, 4)."""
    y, x = (torch.arange(length, device=boxes.device) + 0.5 for length in size)
    inside_x = (x >= boxes[:, :1]) & (x < boxes[:, 2:3])
    inside_y = (y >= boxes[:, 1:2]) & (y < boxes[:, 3:])
    return inside_y[:, :, None] & inside_x[:, None, :]


class SticksMaskRCNN(InstanceMaskRecipe):
    """Sticks that cross: what is hard for boxes. The scenes of ``sticks-discriminative``."""

    name = "sticks-mask-rcnn"
    summary = "scattered sticks with Mask R-CNN, to compare with chapter 11 (chapter 10)"
    classes = ("background", "stick")
    presets = {  # noqa: RUF012
        "quick": Preset(
            summary="eight sticks on 96 x 96 px, two cores",
            steps=1600,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=100,
            clip_norm=10.0,
            checkpoint_every=500,
            options={
                **NETWORK,
                "levels": ("c3", "c4", "c5"),
                "sizes": (16.0, 24.0, 32.0),
                "ratios": (0.25, 0.5, 1.0, 2.0, 4.0),
                "canonical_size": 32.0,
                "samples": 48,
                "proposals": (300, 150),
                "detections": 100,
                "least": 0.5,
                "min_size": 30,
                "size": 96,
                "count": 8,
                "width_of_stick": 7,
                "stick_length": (32, 40),
                "outline": 1,
                "min_visible": 70,
                "margin": 12,
                "validation": 100,
            },
        ),
    }

    def sticks(self, options: Mapping[str, Any], length: int, seed: int) -> Dataset:
        """The scenes of a preset, with boxes and masks of what is visible."""
        names = ("size", "count", "outline", "min_visible", "margin")
        scenes = Sticks(
            length,
            width=options["width_of_stick"],
            stick_length=tuple(options["stick_length"]),
            seed=seed,
            **{name: options[name] for name in names},
        )
        return InstanceTargets(scenes)

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return self.sticks(options, count, seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return self.sticks(options, options["validation"], VALIDATED_ON)

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return image.mean(0, keepdim=True).expand(3, -1, -1)

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        found, truth = prediction["instances"], sample["instances"]
        return super().measure(prediction, sample, options) | {
            "sbd": symmetric_best_dice(found, truth),
            "absolute_dic": abs(count_difference(found, truth)),
            "pq": match_instances(found, truth).panoptic_quality,
            "foreground_iou": foreground_iou(found > 0, truth > 0),
        }


def foreground_iou(found: Tensor, truth: Tensor) -> float:
    """IoU of two masks bool (H, W); 1 if both are empty."""
    union = int((found | truth).sum())
    return int((found & truth).sum()) / union if union else 1.0
