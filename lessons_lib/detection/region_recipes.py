"""The trainable systems of chapter 7: R-CNN, SPP-net and Fast R-CNN on the same pictures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.training import Preset, load_weights
from lessons_lib.training.recipe import Batch

from .fast_rcnn import FastRCNN
from .proposals import Proposed, RegionDetector, Search
from .rcnn import RCNN
from .recipes import ShapesDetection, shapes
from .roi_heads import RoISettings
from .sppnet import SPPNet
from .stages import StagedDetector
from .targets import targets_of

TRAINED_ON = 10_000_000
"""Seed of the training pictures; that of a run chooses among them and mirrors them."""


class RegionRecipe(ShapesDetection):
    """What the three systems share: a fixed set of pictures with proposals that are computed once.

    Options: ``pictures`` in the set, ``samples`` proposals a picture in a step, ``positive_share``,
    ``most`` proposals a picture, ``validation`` pictures.
    """

    def __init__(self) -> None:
        # one set for training, the later stages and every run of this process
        self._sets: dict[tuple[int, int], Proposed] = {}

    def pictures(self, options: Mapping[str, Any]) -> Proposed:
        """The training pictures as they are, with their proposals; kept for the next call."""
        key = (options["pictures"], options["most"])
        if key not in self._sets:
            scenes = shapes(options, options["pictures"], TRAINED_ON)
            self._sets[key] = Proposed(scenes, search(options))
        return self._sets[key]

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return self.pictures(options).mirrored(count, seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return Proposed(super().validation_data(options), search(options))

    def training_terms(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        return model(batch["image"], targets_of(batch, "proposals"))

    def infer(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        found = model(batch["image"], proposals=batch.get("proposals"))
        return [{name: value.cpu() for name, value in one.items()} for one in found]

    def finish(self, model: nn.Module, options: Mapping[str, Any], seed: int) -> None:
        """The stages after the network, for those that have them, upon some of the pictures."""
        if isinstance(model, StagedDetector):
            some = self.pictures(options).first(options["stage_pictures"])
            model.fit_stages(some, seed=seed)


def search(options: Mapping[str, Any]) -> Search:
    """The proposals of a run."""
    return Search(most=options["most"])


def roi_settings(options: Mapping[str, Any]) -> RoISettings:
    """The sampling of a run."""
    return RoISettings(samples=options["samples"], positive_share=options["positive_share"])


PICTURES = {
    "pictures": 600,
    "most": 200,
    "samples": 16,
    "positive_share": 0.25,
    "width": 80,
    "validation": 200,
}
STAGES = {**PICTURES, "stage_pictures": 200}


class ShapesRCNN(RegionRecipe):
    """R-CNN: every proposal through the network by itself, then SVMs and regressors."""

    name = "shapes-rcnn"
    summary = "shapes with R-CNN (chapter 7)"
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="a short look, in front of the reader",
            steps=60,
            batch_size=4,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=10,
            options={**STAGES, "pictures": 60, "stage_pictures": 30, "validation": 20},
        ),
        "quick": Preset(
            summary="600 pictures, two cores",
            steps=600,
            batch_size=4,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=50,
            options=STAGES,
        ),
        "full": Preset(
            summary="5000 pictures, one GPU",
            steps=6000,
            batch_size=8,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=200,
            workers=8,
            options={**STAGES, "pictures": 5000, "stage_pictures": 1000},
        ),
    }

    def model(self, options: Mapping[str, Any]) -> RegionDetector:
        return RCNN(
            len(self.classes),
            width=options["width"],
            settings=roi_settings(options),
            search=search(options),
        )


class ShapesSPPNet(RegionRecipe):
    """SPP-net: one map a picture from R-CNN's convolutions, which stay as they are."""

    name = "shapes-sppnet"
    summary = "shapes with SPP-net upon R-CNN's convolutions (chapter 7)"
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="a short look, in front of the reader",
            steps=100,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=10,
            options={**STAGES, "pictures": 100, "stage_pictures": 100, "validation": 50},
        ),
        "quick": Preset(
            summary="600 pictures, two cores",
            steps=600,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=50,
            options={**STAGES, "samples": 32, "stage_pictures": 600},
        ),
        "full": Preset(
            summary="5000 pictures, one GPU",
            steps=6000,
            batch_size=16,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=200,
            workers=8,
            options={**STAGES, "samples": 32, "pictures": 5000, "stage_pictures": 5000},
        ),
    }

    def model(self, options: Mapping[str, Any]) -> RegionDetector:
        return SPPNet(
            len(self.classes),
            width=options["width"],
            settings=roi_settings(options),
            search=search(options),
        )

    def initialize(self, model: nn.Module, options: Mapping[str, Any]) -> None:
        """The convolutions of the R-CNN that comes with the package."""
        trained, _ = load_weights(ShapesRCNN())
        model.backbone.load_state_dict(trained.backbone.state_dict())  # type: ignore[union-attr]


class ShapesFastRCNN(RegionRecipe):
    """Fast R-CNN: one map a picture, RoI pooling, class and box learned together with it."""

    name = "shapes-fast-rcnn"
    summary = "shapes with Fast R-CNN (chapter 7)"
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="a short look, in front of the reader",
            steps=180,
            batch_size=8,
            learning_rate=4e-3,
            weight_decay=1e-4,
            warmup=20,
            options={**PICTURES, "pictures": 120, "samples": 32, "validation": 50},
        ),
        "quick": Preset(
            summary="600 pictures, two cores",
            steps=1500,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=100,
            checkpoint_every=500,
            options={**PICTURES, "samples": 32},
        ),
        "full": Preset(
            summary="5000 pictures, one GPU",
            steps=10_000,
            batch_size=16,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=300,
            workers=8,
            options={**PICTURES, "samples": 64, "pictures": 5000},
        ),
    }

    def model(self, options: Mapping[str, Any]) -> RegionDetector:
        return FastRCNN(
            len(self.classes),
            width=options["width"],
            settings=roi_settings(options),
            search=search(options),
        )
