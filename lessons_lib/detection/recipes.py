"""The trainable systems of chapter 8, and what all detectors share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.data import Shapes
from lessons_lib.data.picture_statistics import PictureStatistics
from lessons_lib.training import Preset, Recipe
from lessons_lib.training.recipe import Batch

from .anchors import AnchorGenerator, cluster_shapes
from .average_precision import average_precision, average_precision_by_class, coco_form
from .faster_rcnn import FasterRCNN
from .four_step import FourStepFasterRCNN
from .targets import targets_of


class DetectionRecipe(Recipe):
    """Boxes of all classes, scored by COCO's average precision over all validation pictures."""

    score = "AP50"
    classes: Sequence[str]

    def training_terms(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        return model(batch["image"], targets_of(batch))

    def infer(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        found = model(batch["image"])
        return [{name: value.cpu() for name, value in one.items()} for one in found]

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Truth and detections of a picture, for :meth:`summarize`."""
        names = ("boxes", "labels", "crowd")
        return {"truth": {n: sample[n] for n in names if n in sample}, "found": prediction}

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """COCO's numbers over all pictures and AP50 of each class; what is undefined is left out."""
        forms = coco_form([r["truth"] for r in rows], [r["found"] for r in rows], self.classes)
        classes = average_precision_by_class(*forms)
        numbers = average_precision(*forms) | {f"AP50_{k}": value for k, value in classes.items()}
        return {name: value for name, value in numbers.items() if value >= 0}

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return image


SCENES = {"size": 128, "radius": (18, 36), "count": (2, 4), "rotate": 20.0, "validation": 200}
VALIDATED_ON = 1_000_000
"""Seed of the scenes that no run is trained on."""
HEAD = {
    "pyramid": True,
    "anchors": "hand",
    "proposals": 100,
    "training": "joint",
    "part_steps": 500,
    "channels": (16, 32, 64, 96),
    "width": 32,
    "head_width": 64,
}


def shapes(options: Mapping[str, Any], length: int, seed: int) -> Shapes:
    """The scenes of a preset; a run from before an option was there has its default."""
    scenes = {**SCENES, **options}
    return Shapes(
        length,
        size=scenes["size"],
        radius=tuple(scenes["radius"]),
        count=tuple(scenes["count"]),
        rotate=scenes["rotate"],
        seed=seed,
    )


class ShapesDetection(DetectionRecipe):
    """What all detectors share that find the shapes of :class:`~lessons_lib.data.Shapes`."""

    classes = Shapes.CLASSES

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return shapes(options, count, seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return shapes(options, options["validation"], VALIDATED_ON)


class ShapesFasterRCNN(ShapesDetection):
    """A small Faster R-CNN; its pyramid, its anchors and its way of training can be changed."""

    name = "shapes-faster-rcnn"
    summary = "boxes around shapes with Faster R-CNN on a feature pyramid (chapter 8)"
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="a short look, in front of the reader",
            steps=150,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=20,
            options={**SCENES, **HEAD, "validation": 50},
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
            options={**SCENES, **HEAD},
        ),
        "full": Preset(
            summary="256 x 256 px, more and more different things, a wider network, one GPU",
            steps=6000,
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
                **HEAD,
                "size": 256,
                "radius": (12, 72),
                "count": (3, 8),
                "anchors": "k-means",
                "channels": (32, 64, 128, 192),
                "width": 96,
                "head_width": 256,
            },
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        if options["training"] == "joint":
            return self.detector(options)
        if options["training"] == "four-step":
            first, second = self.detector(options), self.detector(options)
            return FourStepFasterRCNN(first, second, options["part_steps"])
        raise ValueError(f"training is {options['training']!r}; it must be joint or four-step")

    def detector(self, options: Mapping[str, Any]) -> FasterRCNN:
        """One network."""
        if options["anchors"] not in ("hand", "k-means"):
            raise ValueError(f"anchors is {options['anchors']!r}; it must be hand or k-means")
        anchors = None
        if options["anchors"] == "k-means":
            anchors = clustered_anchors(options, 3 if options["pyramid"] else 1)
        network = {**HEAD, **options}
        return FasterRCNN.small(
            len(self.classes),
            channels=tuple(network["channels"]),
            width=network["width"],
            head_width=network["head_width"],
            pyramid=options["pyramid"],
            anchors=anchors,
            proposals=(2 * options["proposals"], options["proposals"]),
        )


def clustered_anchors(
    options: Mapping[str, Any], levels: int, *, count: int = 9
) -> AnchorGenerator:
    """So many shapes from the boxes of 500 scenes, the smallest for the finest level."""
    scenes = shapes(options, 500, 2_000_000)
    boxes = torch.cat([scenes[k]["boxes"] for k in range(len(scenes))])
    found = cluster_shapes(boxes, count)
    share = len(found) // levels
    return AnchorGenerator([found[k * share : (k + 1) * share] for k in range(levels)])
