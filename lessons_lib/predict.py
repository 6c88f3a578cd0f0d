"""Predicting a reader's own picture, from file to files."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lessons_lib.data import (
    instance_table,
    instances_to_coco,
    overlay,
    overlay_boxes,
    overlay_panoptic,
    read_image,
    write_labels,
)
from lessons_lib.data.files import write_bytes, write_png
from lessons_lib.data.rle import encode_rle
from lessons_lib.detection.instance_targets import merge_masks
from lessons_lib.detection.targets import resize_masks
from lessons_lib.training import Recipe

__all__ = ["predict_file", "predict_image"]

SHOWN = 0.5
"""Boxes and masks are drawn from this score on; the tables hold all of them."""


def predict_image(
    recipe: Recipe, model: nn.Module, options: Mapping[str, Any], image: Tensor
) -> dict[str, Tensor]:
    """Predicts one picture.

    Args:
        recipe: of the weights.
        model, options: as :func:`~lessons_lib.training.load_weights` gives them.
        image: float32 (3, H, W) in [0, 1], any size.

    Returns:
        the recipe's predictions: ``instances`` int64 (H, W); or ``boxes`` (N, 4) in the pixels of the
        image with ``labels`` and ``scores`` (N,), and with ``masks`` bool (N, H, W) or not; or
        ``semantic`` int64 (H, W).
    """
    device = next(model.parameters()).device
    prepared = recipe.prepare(image, options)
    with torch.inference_mode():
        (prediction,) = recipe.infer(model, {"image": prepared[None].to(device)}, options)
    if "boxes" in prediction:  # the recipe may have scaled the picture
        y, x = (a / b for a, b in zip(image.shape[1:], prepared.shape[1:], strict=True))
        prediction["boxes"] = prediction["boxes"] * torch.tensor([x, y, x, y])
    if "masks" in prediction:
        size = int(image.shape[1]), int(image.shape[2])
        prediction["masks"] = resize_masks(prediction["masks"], size)
    return prediction


def predict_file(
    recipe: Recipe, model: nn.Module, options: Mapping[str, Any], path: Path, out: Path
) -> str:
    """Predicts a picture file; writes what is found to ``out``, in files named after the picture.

    Instances: STEM.labels.png, .overlay.png, .coco.json and .csv. Masks: the same four; the label picture
    and the overlay show those that score 0.5 or more, by the numbers that they have in the tables, and
    where masks overlap the better one. Boxes: the same without the label picture. A class for every pixel:
    .labels.png, .overlay.png and .csv.

    Returns:
        what was found, such as "12 instances".

    Raises:
        DataError: for a file that is no picture.
    """
    image = read_image(path)
    prediction = predict_image(recipe, model, options, image)
    for name, write in WRITERS.items():
        if name in prediction:
            out.mkdir(parents=True, exist_ok=True)
            return write(recipe, image, prediction, path, out / path.stem)
    raise NotImplementedError(
        f"recipe {recipe.name} predicts {', '.join(prediction)}: nothing to write"
    )


def _write_instances(
    recipe: Recipe, image: Tensor, prediction: Mapping[str, Tensor], path: Path, stem: Path
) -> str:
    instances = prediction["instances"].numpy()
    rows = instance_table(instances)
    write_labels(_file(stem, "labels.png"), instances)
    write_png(_file(stem, "overlay.png"), overlay(image, instances))
    annotations = instances_to_coco(instances, image_id=1)
    _write_coco(stem, path, image, {1: recipe.name}, annotations)
    columns = ("id", "area", "centroid_x", "centroid_y", "x1", "y1", "x2", "y2")
    _write_csv(stem, columns, rows)
    return f"{len(rows)} instances"


def _write_masks(
    recipe: Recipe, image: Tensor, prediction: Mapping[str, Tensor], path: Path, stem: Path
) -> str:
    names, masks = _classes(recipe), prediction["masks"]
    rows, annotations = _box_rows(names, prediction)
    for row, annotation, mask in zip(rows, annotations, masks, strict=True):
        y, x = mask.nonzero(as_tuple=True)
        row["area"] = annotation["area"] = len(x)
        if len(x):  # pixel centres at whole numbers, as for instances
            row |= {"centroid_x": float(x.double().mean()), "centroid_y": float(y.double().mean())}
        annotation["segmentation"] = encode_rle(mask)
    shown = merge_masks(masks, prediction["scores"], least=SHOWN).numpy()
    write_labels(_file(stem, "labels.png"), shown)
    write_png(_file(stem, "overlay.png"), overlay(image, shown))
    _write_coco(stem, path, image, dict(list(enumerate(names))[1:]), annotations)
    columns = ("id", "label", "score", "area", "centroid_x", "centroid_y", "x1", "y1", "x2", "y2")
    _write_csv(stem, columns, rows)
    clear = int((prediction["scores"] >= SHOWN).sum())
    return f"{len(rows)} masks, {clear} with a score of {SHOWN} or more"


def _write_boxes(
    recipe: Recipe, image: Tensor, prediction: Mapping[str, Tensor], path: Path, stem: Path
) -> str:
    names = _classes(recipe)
    rows, annotations = _box_rows(names, prediction)
    clear = prediction["scores"] >= SHOWN
    drawn = overlay_boxes(image, prediction["boxes"][clear], prediction["labels"][clear])
    write_png(_file(stem, "overlay.png"), drawn)
    _write_coco(stem, path, image, dict(list(enumerate(names))[1:]), annotations)
    _write_csv(stem, ("id", "label", "score", "x1", "y1", "x2", "y2"), rows)
    return f"{len(rows)} boxes, {int(clear.sum())} with a score of {SHOWN} or more"


def _box_rows(
    names: Sequence[str], prediction: Mapping[str, Tensor]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A row of the table and an annotation in COCO's form of each box, numbered from 1."""
    boxes, labels, scores = (prediction[k].tolist() for k in ("boxes", "labels", "scores"))
    rows, annotations = [], []
    for number, (box, label, score) in enumerate(zip(boxes, labels, scores, strict=True), 1):
        x1, y1, x2, y2 = (round(value, 2) for value in box)
        rows.append(
            {"id": number, "label": names[label], "score": round(score, 4)}
            | {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
        )
        size = x2 - x1, y2 - y1
        annotations.append(
            {"id": number, "image_id": 1, "category_id": label, "score": score, "iscrowd": 0}
            | {"bbox": [x1, y1, *size], "area": size[0] * size[1]}
        )
    return rows, annotations


def _write_semantic(
    recipe: Recipe, image: Tensor, prediction: Mapping[str, Tensor], path: Path, stem: Path
) -> str:
    names = _classes(recipe)
    semantic = prediction["semantic"].numpy()
    pixels = np.bincount(semantic.ravel(), minlength=len(names))
    write_labels(_file(stem, "labels.png"), semantic)
    nothing = np.zeros_like(semantic)
    write_png(_file(stem, "overlay.png"), overlay_panoptic(image, semantic, nothing))
    rows = [{"id": k, "label": n, "area": int(pixels[k])} for k, n in enumerate(names)]
    _write_csv(stem, ("id", "label", "area"), rows)
    return f"{np.count_nonzero(pixels)} classes"


WRITERS: dict[str, Callable[..., str]] = {
    "masks": _write_masks,
    "instances": _write_instances,
    "boxes": _write_boxes,
    "semantic": _write_semantic,
}


def _classes(recipe: Recipe) -> Sequence[str]:
    return recipe.classes  # type: ignore[attr-defined]


def _file(stem: Path, ending: str) -> Path:
    return stem.parent / f"{stem.name}.{ending}"


def _write_coco(
    stem: Path,
    path: Path,
    image: Tensor,
    categories: Mapping[int, str],
    annotations: Sequence[Mapping[str, Any]],
) -> None:
    height, width = image.shape[1:]
    content = {
        "images": [{"id": 1, "file_name": path.name, "height": height, "width": width}],
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
        "annotations": annotations,
    }
    write_bytes(_file(stem, "coco.json"), json.dumps(content).encode())


def _write_csv(stem: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(_file(stem, "csv"), table.getvalue().encode())
