"""Scenes with one annotation each, and more that are found by hiding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from lessons_lib.data import RGBDScenes, nearness
from lessons_lib.training import load_weights

from .fusion_recipes import RGBDFusion
from .hidden_objects import hidden_labels

ROUNDS = 3
"""New labels a scene; three in the paper."""

TOGETHER = 50
"""Scenes that are labelled in one go."""


class HiddenLabels(Dataset[dict[str, Any]]):
    """Scenes whose ``saliency`` is the annotator's, or one of those found after hiding it (UC-Net, section 4.1).

    The paper's "existing RGB model" is here the packaged ``rgbd-fusion-early``, which was trained on what the
    majority of *all* annotators chooses: it knows more than the one annotator. Where the image is hidden, its depth
    is marked as not measured. Sample ``i`` is scene ``i`` modulo their number, with a label drawn from ``(seed, i)``.

    Args:
        scenes: with their annotations.
        length: number of samples.
        seed: of the drawing.
        rounds: how often something is hidden, and so how many labels are found.
    """

    def __init__(
        self, scenes: RGBDScenes, length: int, seed: int = 0, *, rounds: int = ROUNDS
    ) -> None:
        self.scenes, self.length, self.seed = scenes, length, seed
        self.labels = label_scenes(scenes, rounds)  # (N, 1 + rounds, 1, H, W) bool

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; it must be in 0..{self.length - 1}")
        number = index % len(self.scenes)
        # the 1 keeps the draw apart from the scene's own stream, which is (seed, index) too
        rng = np.random.default_rng((self.seed, index, 1))
        choice = int(rng.integers(self.labels.shape[1]))
        return {**self.scenes[number], "saliency": self.labels[number, choice].float()}


@torch.no_grad()
def label_scenes(scenes: RGBDScenes, rounds: int = ROUNDS) -> Tensor:
    """The given label of each scene and those found by hiding, bool (N, 1 + rounds, 1, H, W)."""
    model, _ = load_weights(RGBDFusion("early"))
    labels = []
    for start in range(0, len(scenes), TOGETHER):
        samples = [scenes[i] for i in range(start, min(start + TOGETHER, len(scenes)))]
        image, depth, given = (
            torch.stack([sample[name] for sample in samples])
            for name in ("image", "depth", "saliency")
        )
        near = nearness(depth)

        def predict(hidden_image: Tensor, hidden: Tensor, near: Tensor = near) -> Tensor:
            return model(hidden_image, near * ~hidden).sigmoid()

        fill = image.mean((0, 2, 3)).tolist()
        labels.append(hidden_labels(predict, image, given, fill, rounds) > 0.5)
    return torch.cat(labels)
