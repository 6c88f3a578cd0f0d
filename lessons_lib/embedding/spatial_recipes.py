"""The trainable systems of chapter 12 and its lab."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.data import BrightNuclei, Discs
from lessons_lib.data.bright_nuclei import held_out, prepare_nuclei, training_crops
from lessons_lib.data.picture_statistics import PictureStatistics
from lessons_lib.embedding.instance_rows import found_annotations, mask_precision, true_annotations
from lessons_lib.embedding.metrics import instance_measures
from lessons_lib.embedding.recipes import SCENES, SticksDiscriminative
from lessons_lib.embedding.spatial_clustering import cluster_spatial
from lessons_lib.embedding.spatial_geometry import CHANNELS
from lessons_lib.embedding.spatial_loss import spatial_embedding_loss
from lessons_lib.embedding.spatial_network import SpatialUNet
from lessons_lib.training import Preset, Recipe
from lessons_lib.training.recipe import Batch

VALIDATED_ON = 1_000_000
"""Seed of the scenes that no run is trained on."""

SPATIAL = {
    "sigma": "two",
    "center": "learned",
    "unit": 64.0,
    "margin": 6.0,
    "foreground_weight": 10.0,
    "seed_threshold": 0.5,
    "base_channels": 16,
    "depth": 4,
}

NUCLEI = {
    **SPATIAL,
    "unit": 96.0,
    "seed_threshold": 0.8,
    "min_size": 20,
    "scale": (0.7, 1.4),
    "leave_out": "",
}


class SpatialRecipe(Recipe):
    """A network that predicts offsets, σ and seeds; the spatial embedding loss; sequential clustering.

    Options: ``sigma``, ``center``, ``unit`` and ``foreground_weight`` of
    :func:`~lessons_lib.embedding.spatial_embedding_loss`; ``margin``, px, of fixed σ, or of learned σ to begin
    with; ``seed_threshold`` and ``min_size`` of :func:`~lessons_lib.embedding.cluster_spatial`; ``base_channels``
    and ``depth`` of the network.
    """

    channels: int = 1
    classes: Sequence[str] = ("background", "object")

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return SpatialUNet(
            self.channels,
            len(self.classes) - 1,
            sigma_channels=CHANNELS[options["sigma"]],
            base_channels=options["base_channels"],
            depth=options["depth"],
            normalize=options.get("normalize", True),
            # σ at which φ falls to ½ at the margin
            sigma_start=math.log(math.log(2) * (options["unit"] / options["margin"]) ** 2) / 10,
        )

    def loss(
        self, outputs: dict[str, Tensor], batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        return spatial_embedding_loss(
            outputs,
            batch["instances"],
            batch["semantic"] if len(self.classes) > 2 else None,
            sigma=options["sigma"],
            center=options["center"],
            unit=options["unit"],
            margin=self.fixed_margin(options),
            foreground_weight=options["foreground_weight"],
        )

    def predict(
        self, outputs: dict[str, Tensor], options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """For each picture ``instances`` (H, W), their ``scores`` and ``labels`` (K,), ``semantic`` (H, W)."""
        predictions = []
        for one in range(len(outputs["seed"])):
            found = cluster_spatial(
                {name: values[one] for name, values in outputs.items()},
                unit=options["unit"],
                seed_threshold=options["seed_threshold"],
                min_size=options["min_size"],
                margin=self.fixed_margin(options),
            )
            of_instance = found.labels.new_zeros(len(found.labels) + 1)
            of_instance[1:] = found.labels
            predictions.append(
                {
                    "instances": found.instances,
                    "scores": found.scores,
                    "labels": found.labels,
                    "semantic": of_instance[found.instances],
                }
            )
        return predictions

    def fixed_margin(self, options: Mapping[str, Any]) -> float | None:
        """The margin in px where σ is fixed, else ``None``."""
        return options["margin"] if options["sigma"] == "fixed" else None

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The measures of instances, and what :meth:`summarize` needs for COCO's average precision."""
        truth = sample["instances"]
        classes = sample["semantic"] if len(self.classes) > 2 else None
        return {
            **instance_measures(prediction["instances"], truth),
            "truth": true_annotations(truth, classes),
            "found": found_annotations(prediction),
            "size": tuple(truth.shape),
        }

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Means of the measures, and COCO's average precisions of the masks over all pictures."""
        precision = mask_precision(rows, self.classes)
        plain = [{k: v for k, v in r.items() if k not in ("truth", "found", "size")} for r in rows]
        return super().summarize(plain) | {
            name: value for name, value in precision.items() if name.startswith("AP") and value >= 0
        }


def sticks_of(preset: str) -> dict[str, Any]:
    """Chapter 11's scenes; ``margin`` is that of σ here, so the scene's has a name of its own."""
    scene = dict(SCENES[preset])
    margin = scene.pop("margin")
    return {**scene, "margin_of_scene": margin}


class SticksSpatial(SpatialRecipe):
    """Sticks that cross, each pixel pointing at its stick's centre. The scenes of ``sticks-discriminative``."""

    name = "sticks-spatial"
    summary = "scattered sticks with spatial embeddings (chapter 12)"
    score = "AP50"
    classes = ("background", "stick")
    scenes = SticksDiscriminative()
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="five sticks on 64 x 64 px, trained in front of the reader",
            steps=400,
            batch_size=8,
            learning_rate=5e-3,
            warmup=20,
            clip_norm=10.0,
            options={
                **SPATIAL,
                "base_channels": 8,
                "depth": 3,
                **sticks_of("live"),
            },
        ),
        "quick": Preset(
            summary="eight sticks on 96 x 96 px, two cores",
            steps=1200,
            batch_size=8,
            learning_rate=3e-3,
            warmup=100,
            clip_norm=10.0,
            checkpoint_every=500,
            options={
                **SPATIAL,
                "depth": 3,
                **sticks_of("quick"),
            },
        ),
        "full": Preset(
            summary="the full scenes: eight sticks on 256 x 256 px, one GPU",
            steps=8000,
            batch_size=16,
            learning_rate=2e-3,
            warmup=400,
            clip_norm=10.0,
            precision="bf16",
            evaluate_every=2000,
            checkpoint_every=1000,
            workers=8,
            options={
                **SPATIAL,
                "base_channels": 32,
                "unit": 128.0,
                **sticks_of("full"),
            },
        ),
    }

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return self._sticks(options, count, seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return self._sticks(options, options["validation"], VALIDATED_ON)

    def _sticks(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return self.scenes.sticks({**options, "margin": options["margin_of_scene"]}, count, seed)

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return self.scenes.prepare(image, options, statistics)


class DiscsSpatial(SpatialRecipe):
    """Discs of very different sizes: what one margin for all cannot do.

    The network sees 44 px, less than the largest discs are wide: a pixel inside one cannot know its centre
    exactly, as no network knows that of a lorry that fills the picture.
    """

    name = "discs-spatial"
    summary = "discs of radius 2 to 36 px with spatial embeddings (chapter 12)"
    score = "AP"
    classes = ("background", "disc")
    presets = {  # noqa: RUF012
        "quick": Preset(
            summary="96 x 96 px, two cores",
            steps=800,
            batch_size=8,
            learning_rate=3e-3,
            warmup=100,
            clip_norm=10.0,
            checkpoint_every=400,
            options={
                **SPATIAL,
                "size": 96,
                "depth": 2,
                "count": (8, 16),
                "radius": (2.0, 36.0),
                "noise": 0.05,
                "min_size": 6,
                "validation": 100,
            },
        ),
    }

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return self._discs(options, count, seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return self._discs(options, options["validation"], VALIDATED_ON)

    def _discs(self, options: Mapping[str, Any], count: int, seed: int) -> Discs:
        return Discs(
            count,
            size=options["size"],
            count=tuple(options["count"]),
            radius=tuple(options["radius"]),
            noise=options["noise"],
            seed=seed,
        )

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return image.mean(0, keepdim=True)


class NucleiSpatial(SpatialRecipe):
    """Nuclei of many microscopes, each pixel pointing at its nucleus' centre."""

    name = "nuclei-spatial"
    summary = "real nuclei with spatial embeddings (lab, appendix D)"
    score = "dsb_50"
    data_set = "dsb2018"
    classes = ("background", "nucleus")
    presets = {  # noqa: RUF012
        "quick": Preset(
            summary="crops of 96 x 96 px, two cores",
            steps=2000,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=200,
            clip_norm=10.0,
            checkpoint_every=400,
            options={**NUCLEI, "size": 96},
        ),
        "long": Preset(
            summary="crops of 128 x 128 px, more scales, an hour or more of one core",
            steps=13_000,
            batch_size=8,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=300,
            clip_norm=10.0,
            precision="bf16",
            checkpoint_every=500,
            options={**NUCLEI, "size": 128, "scale": (0.6, 1.6)},
        ),
        "full": Preset(
            summary="crops of 256 x 256 px, more scales and a wider network, one GPU",
            steps=8000,
            batch_size=16,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=400,
            clip_norm=10.0,
            precision="bf16",
            checkpoint_every=1000,
            workers=8,
            options={**NUCLEI, "size": 256, "scale": (0.5, 2.0), "base_channels": 32},
        ),
    }

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return training_crops(
            options["leave_out"],
            size=options["size"],
            length=count,
            seed=seed,
            scale=tuple(options["scale"]),
        )

    def validation_data(self, options: Mapping[str, Any]) -> BrightNuclei:
        return held_out(options["leave_out"])

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return prepare_nuclei(image, statistics)
