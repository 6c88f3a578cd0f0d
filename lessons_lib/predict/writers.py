"""What was found in a picture, as files: label picture, overlay, COCO JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from torch import Tensor

from lessons_lib.data import overlay, overlay_boxes, overlay_panoptic, write_labels
from lessons_lib.data.files import to_tensor, write_bytes, write_png
from lessons_lib.data.instances import instance_table, run_lengths
from lessons_lib.data.large_pictures import PictureFile
from lessons_lib.data.rle import encode_rle
from lessons_lib.detection.instance_targets import merge_masks
from lessons_lib.training import Recipe

from .overlays import draw_overlay
from .result_files import ResultFiles

SHOWN = 0.5
"""Boxes and masks are drawn from this score on; the tables hold all of them."""

Prediction = Mapping[str, Tensor]
Labels = Literal["png", "tiff"]
PLACE = ("centroid_x", "centroid_y", "x1", "y1", "x2", "y2")


def write_prediction(
    recipe: Recipe,
    picture: PictureFile,
    prediction: Prediction,
    files: ResultFiles,
    labels: Labels = "png",
) -> str:
    """Writes all files about a picture; returns what was found, such as "12 instances"."""
    for name, write in WRITERS.items():
        if name in prediction:
            return write(recipe, picture, prediction, files, labels)
    raise NotImplementedError(
        f"recipe {recipe.name} predicts {', '.join(prediction)}: nothing to write"
    )


def _write_instances(
    recipe: Recipe, picture: PictureFile, prediction: Prediction, files: ResultFiles, labels: Labels
) -> str:
    instances = prediction["instances"].numpy()
    rows = instance_table(instances)
    names = _classes(recipe) if "labels" in prediction else ("background", recipe.name)
    columns = ["id", "area", *PLACE]
    if "scores" in prediction:
        columns.insert(1, "score")
        scores = prediction["scores"].tolist()
        rows = [row | {"score": round(scores[int(row["id"]) - 1], 4)} for row in rows]
    if len(names) > 2:
        columns.insert(1, "label")
        kinds = prediction["labels"].tolist()
        rows = [row | {"label": names[kinds[int(row["id"]) - 1]]} for row in rows]
    _write_labels(files, instances, labels)
    files.write("overlay.png", lambda path: write_png(path, draw_overlay(picture, instances)))
    categories = dict(list(enumerate(names))[1:])
    numbers = {name: number for number, name in categories.items()}
    annotations = (
        {
            "id": number,
            "image_id": 1,
            "category_id": numbers.get(str(row.get("label")), 1),
            "iscrowd": 0,
        }
        | ({"score": row["score"]} if "score" in row else {})
        | {"area": row["area"], "bbox": _xywh(row)}
        | {"segmentation": {"size": list(instances.shape), "counts": counts}}
        for number, (row, counts) in enumerate(
            zip(rows, run_lengths(instances), strict=True), start=1
        )
    )
    _write_coco(files, picture, categories, annotations)
    _write_csv(files, columns, rows)
    return f"{len(rows)} instances"


def _xywh(row: Mapping[str, Any]) -> list[Any]:
    return [row["x1"], row["y1"], row["x2"] - row["x1"], row["y2"] - row["y1"]]


def _write_masks(
    recipe: Recipe, picture: PictureFile, prediction: Prediction, files: ResultFiles, labels: Labels
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
    _write_labels(files, shown, labels)
    _write_overlay(files, overlay(_image(picture), shown))
    _write_coco(files, picture, dict(list(enumerate(names))[1:]), annotations)
    _write_csv(files, ("id", "label", "score", "area", *PLACE), rows)
    clear = int((prediction["scores"] >= SHOWN).sum())
    return f"{len(rows)} masks, {clear} with a score of {SHOWN} or more"


def _write_boxes(
    recipe: Recipe, picture: PictureFile, prediction: Prediction, files: ResultFiles, labels: Labels
) -> str:
    names = _classes(recipe)
    rows, annotations = _box_rows(names, prediction)
    clear = prediction["scores"] >= SHOWN
    chosen = prediction["boxes"][clear], prediction["labels"][clear]
    _write_overlay(files, overlay_boxes(_image(picture), *chosen))
    _write_coco(files, picture, dict(list(enumerate(names))[1:]), annotations)
    _write_csv(files, ("id", "label", "score", "x1", "y1", "x2", "y2"), rows)
    return f"{len(rows)} boxes, {int(clear.sum())} with a score of {SHOWN} or more"


def _box_rows(
    names: Sequence[str], prediction: Prediction
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
    recipe: Recipe, picture: PictureFile, prediction: Prediction, files: ResultFiles, labels: Labels
) -> str:
    names = _classes(recipe)
    semantic = prediction["semantic"].numpy()
    pixels = np.bincount(semantic.ravel(), minlength=len(names))
    _write_labels(files, semantic, labels)
    _write_overlay(files, overlay_panoptic(_image(picture), semantic, np.zeros_like(semantic)))
    rows = [{"id": k, "label": n, "area": int(pixels[k])} for k, n in enumerate(names)]
    _write_csv(files, ("id", "label", "area"), rows)
    return f"{np.count_nonzero(pixels)} classes"


WRITERS: dict[str, Callable[..., str]] = {
    "masks": _write_masks,
    "instances": _write_instances,
    "boxes": _write_boxes,
    "semantic": _write_semantic,
}


def _classes(recipe: Recipe) -> Sequence[str]:
    return recipe.classes  # type: ignore[attr-defined]


def _image(picture: PictureFile) -> Tensor:
    return to_tensor(picture.read(slice(None), slice(None)))


def _write_labels(files: ResultFiles, labels: np.ndarray, form: Labels) -> None:
    """A PNG of 8 or 16 bits; a TIFF if that is asked for or the ids need 32 bits."""
    largest = int(labels.max(initial=0))
    if form == "png" and largest < 2**16:
        files.write("labels.png", lambda path: write_labels(path, labels))
        return
    stored = labels.astype(np.uint16 if largest < 2**16 else np.uint32)
    files.write(
        "labels.tif",
        lambda path: tifffile.imwrite(
            path,
            stored,
            photometric="minisblack",
            compression="zlib",
            rowsperstrip=64,
            maxworkers=1,
        ),
    )


def _write_overlay(files: ResultFiles, drawn: np.ndarray) -> None:
    files.write("overlay.png", lambda path: write_png(path, drawn))


def _write_coco(
    files: ResultFiles,
    picture: PictureFile,
    categories: Mapping[int, str],
    annotations: Iterable[Mapping[str, Any]],
) -> None:
    """COCO's JSON, an annotation at a time, for the text of a large picture is many times its objects."""
    image = {"id": 1, "file_name": picture.path.name}
    head = {
        "images": [{**image, "height": picture.height, "width": picture.width}],
        "categories": [{"id": number, "name": name} for number, name in categories.items()],
    }

    def write(path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            file.write(json.dumps(head)[:-1] + ', "annotations": [')
            for number, annotation in enumerate(annotations):
                file.write((", " if number else "") + json.dumps(annotation))
            file.write("]}")

    files.write("coco.json", write)


def _write_csv(
    files: ResultFiles, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, columns)
    writer.writeheader()
    writer.writerows(rows)
    files.write("csv", lambda path: write_bytes(path, table.getvalue().encode()))
