"""The trainable systems of chapter 13: three kinds of fusion, small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.data import RGBDScenes, nearness
from lessons_lib.training import Preset, Recipe
from lessons_lib.training.recipe import Batch

from .fusion import RGBDNet
from .rgbd_measures import map_measures, summarize_curves

VALIDATED_ON = 1_000_000
"""Seed of the scenes that no run is trained on."""

DILATIONS = (1, 2, 4)
"""For maps of 4 to 32 cells a side."""

FUSION = {"size": 64, "backbone": "small", "channels": 24, "validation": 200}


class RGBDFusion(Recipe):
    """Colours and depth → the object that most annotators would choose, with cross-entropy.

    Options: ``fusion`` of :class:`~lessons_lib.saliency.RGBDNet`, ``size`` of the scenes, ``backbone`` and
        ``channels`` of the
    network, ``validation`` scenes at evaluation.

    Args:
        fusion: ``"early"``, ``"late"`` or ``"cross"``.
    """

    score = "S"

    def __init__(self, fusion: str) -> None:
        self.name = f"rgbd-fusion-{fusion}"  # type: ignore[misc]
        self.summary = f"salient objects from colours and depth, {fusion} fusion (chapter 13)"  # type: ignore[misc]
        self.presets = {  # type: ignore[misc]
            "live": Preset(
                summary="32 px scenes, trained in front of the reader",
                steps=200,
                batch_size=16,
                learning_rate=4e-3,
                warmup=10,
                clip_norm=5.0,
                options={**FUSION, "fusion": fusion, "size": 32, "channels": 16, "validation": 100},
            ),
            "quick": Preset(
                summary="64 px scenes, two cores",
                steps=1200,
                batch_size=8,
                learning_rate=2e-3,
                warmup=50,
                clip_norm=5.0,
                precision="bf16",
                options={**FUSION, "fusion": fusion},
            ),
            "full": Preset(
                summary="128 px scenes, one GPU",
                steps=6000,
                batch_size=32,
                learning_rate=2e-3,
                warmup=300,
                clip_norm=5.0,
                precision="bf16",
                evaluate_every=2000,
                checkpoint_every=1000,
                workers=12,
                options={**FUSION, "fusion": fusion, "size": 128, "channels": 32},
            ),
        }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return RGBDNet(
            options["fusion"],
            backbone=options["backbone"],
            channels=options["channels"],
            dilations=DILATIONS,
        )

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return RGBDScenes(count, size=options["size"], seed=seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return RGBDScenes(options["validation"], size=options["size"], seed=VALIDATED_ON)

    def training_terms(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        logits = model(batch["image"], nearness(batch["depth"])).float()
        return {"saliency": F.binary_cross_entropy_with_logits(logits, batch["majority"])}

    def infer(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """``saliency`` (1, H, W) of each picture."""
        image = batch["image"]
        logits = model(image, nearness(batch["depth"]).to(image.device)).float().cpu()
        return [{"saliency": one} for one in logits.sigmoid()]

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        return map_measures(prediction["saliency"], sample["majority"])

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        return summarize_curves(rows)
