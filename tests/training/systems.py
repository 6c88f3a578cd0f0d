"""Small recipes for the tests of the training loop."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from lessons_lib.training import Preset, Recipe


class Noise(Dataset):
    """Random pictures; the task is to predict their mean."""

    def __init__(self, count, seed):
        self.count, self.seed = count, seed

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index >= self.count:
            raise IndexError(index)
        image = np.random.default_rng((self.seed, index)).normal(size=(2, 8, 8))
        image = torch.from_numpy(image).float()
        return {"image": image, "target": image.mean(), "id": f"noise-{index}"}


class Net(nn.Module):
    def __init__(self, dropout, normalize):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1),
            nn.BatchNorm2d(8) if normalize else nn.Identity(),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv2d(8, 1, 3, padding=1),
        )

    def forward(self, image):
        return {"value": self.layers(image).mean((1, 2, 3))}


class Tiny(Recipe):
    """Dropout and batch normalisation are in: both have state that a resumed run must have back."""

    name = "tiny"
    summary = "means of noise"
    score = "negative_error"
    presets = {  # noqa: RUF012
        "quick": Preset(
            steps=120,
            batch_size=4,
            learning_rate=1e-2,
            weight_decay=0.01,
            warmup=5,
            clip_norm=1.0,
            evaluate_every=40,
            checkpoint_every=7,
            options={"dropout": 0.3, "normalize": True, "samples": 50, "nan_at": -1, "slow": 0.0},
        ),
        "plain": Preset(
            steps=10,
            batch_size=8,
            learning_rate=1e-2,
            optimizer="sgd",
            checkpoint_every=5,
            options={"dropout": 0.0, "normalize": False, "samples": 50, "nan_at": -1, "slow": 0.0},
        ),
    }

    def model(self, options):
        return Net(options["dropout"], options["normalize"])

    def training_data(self, options, count, seed):
        return Noise(options["samples"], seed)

    def validation_data(self, options):
        return Noise(5, 999)

    def loss(self, outputs, batch, options):
        import time

        time.sleep(options["slow"])
        error = (outputs["value"] - batch["target"]).square().mean()
        odd = f"noise-{options['nan_at']}" in batch["id"]
        return {"error": error, "extra": error * (float("nan") if odd else 0.1)}

    def predict(self, outputs, options):
        return [{"value": v} for v in outputs["value"]]

    def measure(self, prediction, sample, options):
        return {"negative_error": -float((prediction["value"] - sample["target"]).square())}
