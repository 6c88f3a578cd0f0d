"""The trainable system of chapter 6: linear SVMs on HOG, slid over a pyramid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from lessons_lib.detection.hog_detector import HOGDetector, fit_templates
from lessons_lib.detection.recipes import ShapesDetection, shapes
from lessons_lib.training import Preset

MEASURED_ON = 20_000_000
"""Seed of the scenes from whose boxes the templates are measured; no run is trained or tested on it."""


class ShapesHOG(ShapesDetection):
    """Upright shapes by one linear SVM a class, and two for rods, which lie or stand.

    The support vector machines are trained by gradient steps on all windows of fresh scenes: the
    objective is convex, and this way training and watching it work as for every other system of the book.
    """

    name = "shapes-hog-svm"
    summary = "boxes around upright shapes with HOG and linear SVMs (chapter 6)"
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="a short look, in front of the reader",
            steps=50,
            batch_size=8,
            learning_rate=3e-3,
            options={"size": 128, "validation": 50, "measured": 200, "cell": 4, "rotate": 0.0},
        ),
        "quick": Preset(
            summary="128 x 128 px, two cores",
            steps=300,
            batch_size=8,
            learning_rate=2e-3,
            options={"size": 128, "validation": 200, "measured": 200, "cell": 4, "rotate": 0.0},
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        scenes = shapes(options, options["measured"], MEASURED_ON)
        drawn = [scenes[i] for i in range(len(scenes))]
        boxes = torch.cat([scene["boxes"] for scene in drawn])
        labels = torch.cat([scene["labels"] for scene in drawn])
        return HOGDetector(fit_templates(boxes, labels), cell=options["cell"])
