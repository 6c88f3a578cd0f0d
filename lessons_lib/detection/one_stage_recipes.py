"""The one-stage detectors of chapter 9 that start from anchors, SSD and RetinaNet, and presets for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from lessons_lib.training import Preset

from .public_recipes import BloodCellsFasterRCNN
from .recipes import SCENES, ShapesDetection, ShapesFasterRCNN
from .retinanet import RetinaNet, RetinaSettings
from .ssd import SSD, SSDSettings

NETWORK = {"channels": (16, 32, 64, 96)}
FOCAL = {"gamma": 2.0, "alpha": 0.25, "prior": 0.01}
FINE = {"levels": ("c3", "c4", "c5"), "extra": 0}
LARGE = {"size": 256, "radius": (12, 72), "count": (3, 8), "channels": (32, 64, 128, 192)}


def presets(
    options: Mapping[str, Any], large: Mapping[str, Any], rate: float, *, steps: int = 2000
) -> dict[str, Preset]:
    """The steps and pictures of chapter 8's detector, so that a table compares like with like.

    Args:
        options: of the network; ``large`` replaces some of them where there is a GPU.
        large: see above.
        rate: the learning rate of ``live`` and ``quick``.
        steps: of ``quick``, where a system needs another number than chapter 8's.
    """
    theirs = ShapesFasterRCNN.presets
    own = {**SCENES, **NETWORK, **options}
    return {
        "live": replace(
            theirs["live"], learning_rate=rate, clip_norm=10.0, options={**own, "validation": 50}
        ),
        "quick": replace(theirs["quick"], steps=steps, learning_rate=rate, options=own),
        "full": replace(theirs["full"], learning_rate=rate / 2, options={**own, **LARGE, **large}),
    }


class ShapesSSD(ShapesDetection):
    """A small SSD; how many hard negatives it learns from can be changed."""

    name = "shapes-ssd"
    summary = "boxes around shapes with SSD's default boxes on three maps (chapter 9)"
    presets = presets({"scales": (0.2, 0.4, 0.6, 0.8), "negative_ratio": 3.0}, {}, 3e-3)

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        settings = SSDSettings(negative_ratio=options["negative_ratio"], detections=100)
        return SSD.small(
            len(self.classes),
            channels=tuple(options["channels"]),
            size=(options["size"], options["size"]),
            scales=tuple(options["scales"]),
            settings=settings,
        )


class ShapesRetinaNet(ShapesDetection):
    """A small RetinaNet; its focal loss can be changed, gamma 0 is the cross-entropy."""

    name = "shapes-retinanet"
    summary = "boxes around shapes with RetinaNet and the focal loss (chapter 9)"
    presets = presets(
        {**FOCAL, "width": 32, "sizes": (24.0, 48.0, 96.0)},
        {"width": 96, "sizes": (24.0, 48.0, 96.0)},
        2e-3,
    )

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return small_retinanet(len(self.classes), options)


class BloodCellsRetinaNet(BloodCellsFasterRCNN):
    """What :class:`BloodCellsFasterRCNN` does, in one stage: the same crops, steps and levels.

    Platelets are 15 to 20 px wide here, so that it needs the level of stride 4.
    """

    name = "bloodcells-retinanet"
    summary = "boxes around real blood cells with RetinaNet (chapter 9)"
    presets = {  # noqa: RUF012
        name: replace(preset, options={**preset.options, **FOCAL, **FINE})
        for name, preset in BloodCellsFasterRCNN.presets.items()
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return small_retinanet(len(self.classes), options)


def small_retinanet(num_classes: int, options: Mapping[str, Any]) -> RetinaNet:
    """The network of a preset; one that does not say its levels has those of strides 8, 16 and 32."""
    levels = {"levels": ("c4", "c5"), "extra": 1, **options}
    settings = RetinaSettings(gamma=options["gamma"], alpha=options["alpha"], detections=100)
    return RetinaNet.small(
        num_classes,
        channels=tuple(options["channels"]),
        width=options["width"],
        levels=tuple(levels["levels"]),
        extra=levels["extra"],
        sizes=tuple(options["sizes"]),
        settings=settings,
        prior=options["prior"],
    )
