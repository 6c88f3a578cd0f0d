"""Predicting a reader's own picture, from file to files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lessons_lib.data import (
    instance_table,
    instances_to_coco,
    overlay,
    read_image,
    write_labels,
)
from lessons_lib.data.files import write_bytes, write_png
from lessons_lib.training import Recipe

__all__ = ["predict_file", "predict_image"]

COLUMNS = ("id", "area", "centroid_x", "centroid_y", "x1", "y1", "x2", "y2")


def predict_image(
    recipe: Recipe, model: nn.Module, options: Mapping[str, Any], image: Tensor
) -> dict[str, Tensor]:
    """Predicts one picture.

    Args:
        recipe: of the weights.
        model, options: as :func:`~lessons_lib.training.load_weights` gives them.
        image: float32 (3, H, W) in [0, 1], any size.

    Returns:
        the recipe's predictions, ``instances`` int64 (H, W) among them.
    """
    device = next(model.parameters()).device
    with torch.inference_mode():
        outputs = model(recipe.prepare(image, options)[None].to(device))
    (prediction,) = recipe.predict({k: v.cpu() for k, v in outputs.items()}, options)
    return prediction


def predict_file(
    recipe: Recipe, model: nn.Module, options: Mapping[str, Any], path: Path, out: Path
) -> int:
    """Predicts a picture file; writes STEM.labels.png, .overlay.png, .coco.json and .csv to ``out``.

    Returns:
        the number of instances.

    Raises:
        DataError: for a file that is no picture.
    """
    image = read_image(path)
    instances = predict_image(recipe, model, options, image)["instances"].numpy()
    rows = instance_table(instances)
    height, width = instances.shape
    coco = {
        "images": [{"id": 1, "file_name": path.name, "height": height, "width": width}],
        "categories": [{"id": 1, "name": recipe.name}],
        "annotations": instances_to_coco(instances, image_id=1),
    }
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)

    out.mkdir(parents=True, exist_ok=True)
    write_labels(out / f"{path.stem}.labels.png", instances)
    write_png(out / f"{path.stem}.overlay.png", overlay(image, instances))
    write_bytes(out / f"{path.stem}.coco.json", json.dumps(coco).encode())
    write_bytes(out / f"{path.stem}.csv", table.getvalue().encode())
    return len(rows)
