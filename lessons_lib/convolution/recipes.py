"""The trainable system of chapter 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.convolution.network import DigitsCNN
from lessons_lib.data import Digits
from lessons_lib.training import Preset, Recipe
from lessons_lib.training.recipe import Batch


class DigitsClassifier(Recipe):
    """Which digit is it? A small CNN and cross-entropy."""

    name = "digits-cnn"
    summary = "scikit-learn's digits, 8 x 8 px, with a small CNN (chapter 1)"
    score = "accuracy"
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="the digits as they are, trained in front of the reader",
            steps=400,
            batch_size=64,
            learning_rate=3e-3,
            options={"channels": 16, "max_shift": 0},
        ),
        "quick": Preset(
            summary="digits moved by up to 1 px, two cores",
            steps=3000,
            batch_size=64,
            learning_rate=3e-3,
            weight_decay=1e-2,
            warmup=100,
            checkpoint_every=1000,
            options={"channels": 32, "max_shift": 1},
        ),
        "full": Preset(
            summary="a wider network for longer, one GPU",
            steps=10000,
            batch_size=256,
            learning_rate=3e-3,
            weight_decay=1e-2,
            warmup=400,
            checkpoint_every=2500,
            workers=8,
            options={"channels": 64, "max_shift": 1},
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return DigitsCNN(options["channels"])

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Digits:
        if not options["max_shift"]:
            return Digits("train")  # one epoch after the other
        return Digits("train", length=count, max_shift=options["max_shift"], seed=seed)

    def validation_data(self, options: Mapping[str, Any]) -> Digits:
        return Digits("test")

    def loss(
        self, outputs: dict[str, Tensor], batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        return {"classification": F.cross_entropy(outputs["scores"].float(), batch["label"])}

    def predict(
        self, outputs: dict[str, Tensor], options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """``label`` int64 scalar and ``probabilities`` float32 (10,) of each picture."""
        probabilities = outputs["scores"].float().softmax(1)
        return [{"label": p.argmax(), "probabilities": p} for p in probabilities]

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, float]:
        return {"accuracy": float(prediction["label"] == sample["label"])}
