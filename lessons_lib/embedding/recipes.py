"""The trainable systems of chapter 11 and its lab."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage.measure import label as connected_components
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.data import BrightNuclei, Sticks
from lessons_lib.data.bright_nuclei import held_out, prepare_nuclei, training_crops
from lessons_lib.data.picture_statistics import PictureStatistics
from lessons_lib.embedding.clustering import cluster_picture, merge_pieces, tidy_instances
from lessons_lib.embedding.loss import discriminative_loss
from lessons_lib.embedding.metrics import (
    count_difference,
    instance_measures,
    match_instances,
    symmetric_best_dice,
)
from lessons_lib.embedding.network import EmbeddingUNet
from lessons_lib.training import Preset, Recipe
from lessons_lib.training.recipe import Batch

NETWORK = {"base_channels": 16, "depth": 3, "embedding_dim": 16}
LOSS = {"delta_var": 0.5, "delta_dist": 1.5, "alpha": 1.0, "reach": 0.0, "semantic_weight": 1.0}

# Hundreds of nuclei, most of which look alike: only neighbours are pushed (reach), pulling counts for
# more (alpha), and no coordinates are needed, since far nuclei may share a place.
NUCLEI = {
    **NETWORK,
    **LOSS,
    "alpha": 3.0,
    "reach": 2.0,
    "semantic_weight": 5.0,
    "coordinates": False,
    "radius": 1.5,
    "merge": 2.25,
    "min_size": 20,
    "leave_out": "",
}


class DiscriminativeRecipe(Recipe):
    """A two-headed U-Net, cross-entropy + discriminative loss, and clustering of the foreground."""

    channels: int

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return EmbeddingUNet(
            self.channels,
            options["embedding_dim"],
            base_channels=options["base_channels"],
            depth=options["depth"],
            coordinate_extent=options["size"] if options["coordinates"] else 0,
            normalize=options.get("normalize", True),
        )

    def loss(
        self, outputs: dict[str, Tensor], batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        terms = discriminative_loss(
            outputs["embedding"],
            batch["instances"],
            delta_var=options["delta_var"],
            delta_dist=options["delta_dist"],
            alpha=options["alpha"],
            reach=options["reach"] or None,  # 0 pushes all pairs, as the paper does
        )
        semantic = F.cross_entropy(outputs["semantic"].float(), (batch["instances"] > 0).long())
        return {"semantic": options["semantic_weight"] * semantic, **terms}

    def predict(
        self, outputs: dict[str, Tensor], options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        predictions = []
        for scores, embedding in zip(
            outputs["semantic"].float(), outputs["embedding"].float(), strict=True
        ):
            foreground = scores.argmax(0) == 1
            predictions.append(
                {
                    "semantic": foreground.long(),
                    "embedding": embedding,
                    "instances": self.cluster(embedding, foreground, options),
                }
            )
        return predictions

    def cluster(self, embedding: Tensor, foreground: Tensor, options: Mapping[str, Any]) -> Tensor:
        """Instances (H, W) of one picture, their number unknown."""
        return cluster_picture(
            embedding,
            foreground,
            radius=options["radius"],
            min_size=options["min_size"],
        )


SCENES: dict[str, dict[str, Any]] = {
    "live": {
        "size": 64,
        "count": 5,
        "width": 6,
        "stick_length": (26, 34),
        "outline": 1,
        "min_visible": 50,
        "margin": 8,
        "min_size": 20,
        "validation": 16,
    },
    "quick": {
        "size": 96,
        "count": 8,
        "width": 7,
        "stick_length": (32, 40),
        "outline": 1,
        "min_visible": 70,
        "margin": 12,
        "min_size": 30,
        "validation": 100,
    },
    "full": {
        "size": 256,
        "count": 8,
        "width": 15,
        "stick_length": (80, 99),
        "outline": 2,
        "min_visible": 400,
        "margin": 30,
        "min_size": 200,
        "validation": 100,
    },
}
"""Sticks of each preset, and what counts as an instance there; chapter 12 takes the same."""


class SticksDiscriminative(DiscriminativeRecipe):
    """Sticks that cross, told apart by their pixels' vectors."""

    name = "sticks-discriminative"
    summary = "scattered sticks with the discriminative loss (chapter 11)"
    score = "sbd"
    channels = 1
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="five sticks on 64 x 64 px, trained in front of the reader",
            steps=400,
            batch_size=8,
            learning_rate=5e-3,
            warmup=20,
            clip_norm=10.0,
            options={
                **NETWORK,
                **LOSS,
                "base_channels": 8,
                "coordinates": True,
                "radius": 1.5,
                **SCENES["live"],
            },
        ),
        "quick": Preset(
            summary="eight sticks on 96 x 96 px, two cores",
            steps=1600,
            batch_size=8,
            learning_rate=3e-3,
            warmup=200,
            clip_norm=10.0,
            checkpoint_every=500,
            options={
                **NETWORK,
                **LOSS,
                "coordinates": True,
                "radius": 1.5,
                **SCENES["quick"],
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
                **NETWORK,
                **LOSS,
                "base_channels": 32,
                "depth": 4,
                "coordinates": True,
                "radius": 1.5,
                **SCENES["full"],
            },
        ),
    }

    def sticks(self, options: Mapping[str, Any], length: int, seed: int) -> Sticks:
        """The scenes of a preset."""
        names = ("size", "count", "width", "stick_length", "outline", "min_visible", "margin")
        chosen = {name: options[name] for name in names}
        return Sticks(
            length, seed=seed, **{**chosen, "stick_length": tuple(chosen["stick_length"])}
        )

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return self.sticks(options, count, seed)

    def validation_data(self, options: Mapping[str, Any]) -> Sticks:
        return self.sticks(options, options["validation"], seed=1_000_000)

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return image.mean(0, keepdim=True)

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, float]:
        found, truth = prediction["instances"], sample["instances"]
        counted = cluster_picture(
            prediction["embedding"], prediction["semantic"] == 1, count=int(truth.max())
        )
        true_mask = truth > 0
        return {
            "sbd": symmetric_best_dice(found, truth),
            "sbd_known_count": symmetric_best_dice(counted, truth),
            "absolute_dic": abs(count_difference(found, truth)),
            "pq": match_instances(found, truth).panoptic_quality,
            "foreground_iou": _mask_iou(prediction["semantic"] == 1, true_mask),
        }


class NucleiDiscriminative(DiscriminativeRecipe):
    """Nuclei of many microscopes."""

    name = "nuclei-discriminative"
    summary = "real nuclei with the discriminative loss (lab)"
    score = "dsb_50"
    data_set = "dsb2018"
    channels = 1
    presets = {  # noqa: RUF012
        "quick": Preset(
            summary="crops of 96 x 96 px, two cores",
            steps=3000,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=200,
            clip_norm=10.0,
            checkpoint_every=400,
            options={
                **NUCLEI,
                "size": 96,
            },
        ),
        "full": Preset(
            summary="crops of 192 x 192 px and a wider network, one GPU",
            steps=8000,
            batch_size=16,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=400,
            clip_norm=10.0,
            precision="bf16",
            checkpoint_every=1000,
            workers=8,
            options={
                **NUCLEI,
                "base_channels": 32,
                "depth": 4,
                "size": 192,
            },
        ),
    }

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return training_crops(options["leave_out"], size=options["size"], length=count, seed=seed)

    def validation_data(self, options: Mapping[str, Any]) -> BrightNuclei:
        return held_out(options["leave_out"])

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return prepare_nuclei(image, statistics)

    def cluster(self, embedding: Tensor, foreground: Tensor, options: Mapping[str, Any]) -> Tensor:
        # far apart, two nuclei may share a place in embedding space: what does not touch is two
        labels = super().cluster(embedding, foreground, options)
        pieces = tidy_instances(labels, foreground, options["min_size"])
        return merge_pieces(pieces, embedding, options["merge"])

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, float]:
        truth = sample["instances"]
        components = connected_components(prediction["semantic"].numpy() == 1, connectivity=1)
        components = tidy_instances(
            torch.from_numpy(components.astype(np.int64)),
            prediction["semantic"] == 1,
            options["min_size"],
        )
        row = {f"components_{k}": v for k, v in instance_measures(components, truth).items()}
        row |= instance_measures(prediction["instances"], truth)
        row["foreground_iou"] = _mask_iou(prediction["semantic"] == 1, truth > 0)
        return row


def _mask_iou(predicted: Tensor, truth: Tensor) -> float:
    union = int((predicted | truth).sum())
    return int((predicted & truth).sum()) / union if union else 1.0
