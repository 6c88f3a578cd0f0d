"""Measuring a trained model, and finding its weights."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from lessons_lib.training import state
from lessons_lib.training.recipe import Batch, Recipe, collate

PACKAGED = Path(str(files("lessons_lib") / "results"))


def measure_pictures(
    recipe: Recipe,
    model: nn.Module,
    options: Mapping[str, Any],
    *,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """The metrics of each validation sample, with its ``id`` and, where it has one, its ``kind``.

    Samples go through the network one by one, for they may differ in size.
    """
    data: Any = recipe.validation_data(options)
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    rows = []
    with torch.inference_mode():
        for i in tqdm(range(len(data)), desc=f"{recipe.name} evaluation", disable=not progress):
            sample: Batch = data[i]
            batch = collate([sample])
            batch["image"] = batch["image"].to(device)
            (prediction,) = recipe.infer(model, batch, options)
            labels: dict[str, Any] = {
                name: sample[name] for name in ("id", "kind") if name in sample
            }
            rows.append({**labels, **recipe.measure(prediction, sample, options)})
    model.train(was_training)
    return rows


def evaluate_model(
    recipe: Recipe, model: nn.Module, options: Mapping[str, Any]
) -> dict[str, float]:
    """The recipe's summary of :func:`measure_pictures`."""
    rows = measure_pictures(recipe, model, options)
    if not rows:
        raise ValueError(f"recipe {recipe.name} found no sample to evaluate")
    return recipe.summarize(
        [{k: v for k, v in row.items() if k not in ("id", "kind")} for row in rows]
    )


def evaluate(
    recipe: Recipe, weights: str | Path | None = None, data: str | Path | None = None
) -> dict[str, float]:
    """The metrics of stored weights on the recipe's validation data.

    Args:
        recipe: a recipe.
        weights: file as for :func:`load_weights`.
        data: the reader's folder, for a recipe with the option ``data``.

    Raises:
        ValueError: for ``data`` and a recipe that has no such option.
    """
    model, facts = load_weights(recipe, weights)
    options = facts["options"]
    if data is not None:
        check_takes_data(recipe, options)
        options = {**options, "data": str(data)}
    return evaluate_model(recipe, model, options)


def check_takes_data(recipe: Recipe, options: Mapping[str, Any]) -> None:
    """ValueError if a recipe does not work on a folder of the reader's."""
    if "data" not in options:
        raise ValueError(
            f"recipe {recipe.name} has data of its own and takes no --data; spatial-folder learns from "
            "your pictures"
        )


def load_weights(
    recipe: Recipe, weights: str | Path | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """Rebuilds a trained model, ready to predict.

    Args:
        recipe: a recipe.
        weights: a safetensors file that :func:`fit` wrote; ``None`` takes the one that comes with
            the package.

    Returns:
        the model in evaluation mode, and the facts of its run (``preset``, ``seed``, ``options``).

    Raises:
        FileNotFoundError: for a file that is not there, or a recipe without packaged weights.
        ValueError: for a file of another recipe, or one that does not fit.
    """
    path = PACKAGED / "weights" / f"{recipe.name}.safetensors" if weights is None else Path(weights)
    if weights is None and not path.is_file():
        raise FileNotFoundError(
            f"no weights of recipe {recipe.name} come with the package: train it "
            f"(lessons train {recipe.name}) and name the file"
        )
    tensors, facts = state.read_weights(path)
    if facts["recipe"] != recipe.name:
        raise ValueError(f"{path} holds weights of recipe {facts['recipe']}, not {recipe.name}")
    with state.isolated_random_state(0):
        model = recipe.model(facts["options"])
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit recipe {recipe.name}: {error}") from error
    return model.eval(), facts
