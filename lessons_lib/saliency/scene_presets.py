"""How the systems of chapters 13 and 15 are trained on rendered scenes: all alike, so that they can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lessons_lib.training import Preset

VALIDATED_ON = 1_000_000
"""Seed of the scenes that no run is trained on."""

DILATIONS = (1, 2, 4)
"""Of DenseASPP, for maps of 4 to 32 cells a side."""


def scene_presets(
    options: Mapping[str, Any],
    *,
    live_steps: int,
    live: Mapping[str, Any],
    full: Mapping[str, Any],
) -> dict[str, Preset]:
    """``live`` on 32 px, ``quick`` on 64 px and ``full`` on 128 px.

    Args:
        options: of ``quick``; ``size`` is among them.
        live_steps: of ``live``, for half a minute of one core.
        live: options of ``live`` that differ, besides the size.
        full: options of ``full`` that differ, besides the size.
    """
    return {
        "live": Preset(
            summary="32 px scenes, trained in front of the reader",
            steps=live_steps,
            batch_size=16,
            learning_rate=4e-3,
            warmup=10,
            clip_norm=5.0,
            options={**options, "size": 32, "channels": 16, **live},
        ),
        "quick": Preset(
            summary="64 px scenes, two cores",
            steps=1200,
            batch_size=8,
            learning_rate=2e-3,
            warmup=50,
            clip_norm=5.0,
            precision="bf16",
            options=options,
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
            options={**options, "size": 128, "channels": 32, **full},
        ),
    }
