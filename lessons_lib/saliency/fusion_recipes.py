"""The trainable systems of chapter 13: three kinds of fusion, small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.data import RGBDScenes, nearness
from lessons_lib.training import Recipe
from lessons_lib.training.recipe import Batch

from .fusion import RGBDNet
from .rgbd_measures import map_measures, summarize_curves
from .scene_presets import DILATIONS, VALIDATED_ON, scene_presets

FUSION = {"size": 64, "backbone": "small", "channels": 24, "validation": 200}


class RGBDFusion(Recipe):
    """Colours and depth → the object that most annotators would choose, with cross-entropy.

    Options: ``fusion``, ``backbone`` and ``channels`` of :class:`~lessons_lib.saliency.RGBDNet`, ``size`` of the
    scenes, ``validation`` scenes at evaluation.

    Args:
        fusion: ``"early"``, ``"late"`` or ``"cross"``.
    """

    score = "S"

    def __init__(self, fusion: str) -> None:
        self.name = f"rgbd-fusion-{fusion}"  # type: ignore[misc]
        self.summary = f"salient objects from colours and depth, {fusion} fusion (chapter 13)"  # type: ignore[misc]
        self.presets = scene_presets(  # type: ignore[misc]
            {**FUSION, "fusion": fusion}, live_steps=200, live={"validation": 100}, full={}
        )

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
