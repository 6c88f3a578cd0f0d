"""Trial data, and pages with stored figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from ipywidgets.embed import dependency_state

from lessons_lib.widgets import EmbeddingExplorer, Figure, TrainingReplay

RUNTIME = Path(__file__).parents[2] / "book" / "assets" / "static-widgets.js"


class Scene:
    """Sticks with noisy clustered embeddings; pixels at borders lie between two clusters."""

    def __init__(self, size: int = 96, count: int = 8, dims: int = 16, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.instances = np.zeros((size, size), np.int64)
        image = np.full((size, size), 0.08)
        for k in range(1, count + 1):
            centre = tuple(float(v) for v in rng.uniform(0.2 * size, 0.8 * size, 2))
            shape = (0.42 * size, 0.12 * size)
            corners = cv2.boxPoints((centre, shape, float(rng.uniform(0, 180)))).astype(np.int32)
            stick = cv2.fillPoly(np.zeros((size, size), np.uint8), [corners], 1)
            self.instances[stick > 0] = k
            image[stick > 0] = 0.25
            image[cv2.erode(stick, np.ones((3, 3), np.uint8)) > 0] = 0.8
        self.image = np.clip(image + rng.normal(0, 0.02, image.shape), 0, 1).astype(np.float32)
        means = rng.normal(0, 1.2, (count + 1, dims)) * (np.arange(count + 1) > 0)[:, None]
        sharp = means[self.instances]
        blurred = np.stack([cv2.GaussianBlur(c, (5, 5), 1) for c in np.moveaxis(sharp, -1, 0)])
        embedding = 0.6 * np.moveaxis(sharp, -1, 0) + 0.4 * blurred
        self.embedding = (embedding + rng.normal(0, 0.1, embedding.shape)).astype(np.float32)
        # A training that starts in one cloud and ends in these clusters.
        start = rng.normal(0, 0.7, embedding.shape)
        self.steps = list(range(0, 480, 20))
        parts = np.sqrt(np.linspace(0, 1, len(self.steps)))
        self.frames = [(1 - p) * start + p * self.embedding for p in parts]
        self.scores = 0.2 + 0.75 * parts
        self.losses = 4 * np.exp(-np.arange(len(parts)) / 6)

    def explorer(self, **options: Any) -> EmbeddingExplorer:
        """Return the explorer of this scene."""
        return EmbeddingExplorer.from_arrays(self.image, self.embedding, self.instances, **options)

    def replay(self, **options: Any) -> TrainingReplay:
        """Return the replay of this scene."""
        return TrainingReplay.from_arrays(
            self.image, self.instances, self.frames, self.steps, self.scores, self.losses, **options
        )


def stored_state(figure: Figure) -> dict[str, Any]:
    """Return a figure's models as a notebook stores them."""
    return dependency_state([figure], drop_defaults=False)


def write_page(path: Path, *figures: Figure, state: str | None = None) -> Path:
    """Write a page as the book's builder does: the views, the state and the runtime."""
    states = {key: value for f in figures for key, value in stored_state(f).items()}
    document = {"version_major": 2, "version_minor": 0, "state": states}
    text = state if state is not None else json.dumps(document).replace("</", "<\\/")
    views = "\n".join(
        '<div class="cell_output"><script type="application/vnd.jupyter.widget-view+json">'
        + json.dumps({"version_major": 2, "version_minor": 0, "model_id": f.model_id})
        + "</script></div>"
        for f in figures
    )
    path.write_text(
        f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Figures</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body {{ margin: 16px auto; max-width: 800px; padding: 0 16px; font-family: system-ui, sans-serif }}
html[data-theme=dark] body {{ background: #14181e; color: #e6e9ee }}</style>
<body>{views}
<script type="application/vnd.jupyter.widget-state+json">{text}</script>
<script defer src="{RUNTIME.as_uri()}"></script></body></html>""",
        encoding="utf-8",
    )
    return path
