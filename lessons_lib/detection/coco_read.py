"""COCO's JSON as flat arrays: what the evaluation of detections computes with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lessons_lib.data.errors import DataError
from lessons_lib.data.mask_runs import MaskRuns, intersections, read_segmentations

Kind = Literal["boxes", "masks"]
Source = Mapping[str, Any] | Sequence[Mapping[str, Any]] | str | Path
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Objects:
    """True or detected objects, row by row in the order of the file.

    Attributes:
        image, category: int64 (N,), positions in :attr:`Problem.images` and ``categories``.
        area: float64 (N,), px²: the truth's own field, and computed for detections.
        shape: boxes float64 (N, 4) as x, y, width, height; or masks.
        crowd: bool (N,), for truths.
        score: float64 (N,), for detections.
    """

    image: Ints
    category: Ints
    area: Floats
    shape: Floats | MaskRuns
    crowd: Bools
    score: Floats


@dataclass(frozen=True)
class Problem:
    """Truths and detections, with the ids of pictures and categories, both ascending."""

    truths: Objects
    detections: Objects
    images: list[Any]
    categories: list[Any]
    names: list[str]


def read_problem(ground_truth: Source, detections: Source, kind: Kind) -> Problem:
    """Both files as arrays. Detections of categories that the truth does not list are left out.

    Raises:
        DataError: naming the entry and the rule that it breaks.
        ValueError: for another kind.
    """
    if kind not in ("boxes", "masks"):
        raise ValueError(f"kind is {kind!r}; it must be 'boxes' or 'masks'")
    truth = _load(ground_truth, "ground_truth")
    if not isinstance(truth, Mapping) or not {"images", "annotations", "categories"} <= set(truth):
        raise DataError("ground_truth must be a dict with images, annotations and categories")
    found = _load(detections, "detections")
    if isinstance(found, Mapping):
        found = found.get("annotations")
    if not isinstance(found, Sequence) or isinstance(found, (str, bytes)):
        raise DataError("detections must be a list of dicts, or a dict with annotations")
    images = {image["id"]: image for image in _rows(truth["images"], ("id",), "images")}
    names = {
        c["id"]: str(c.get("name", c["id"]))
        for c in _rows(truth["categories"], ("id",), "categories")
    }
    image_ids, category_ids = sorted(images), sorted(names)
    places = ({v: n for n, v in enumerate(image_ids)}, {v: n for n, v in enumerate(category_ids)})
    needed = "bbox" if kind == "boxes" else "segmentation"
    rows = _rows(
        truth["annotations"],
        ("image_id", "category_id", "area", needed),
        "ground_truth: annotations",
    )
    rows = [r for r in rows if r["image_id"] in places[0] and r["category_id"] in places[1]]
    results = _rows(found, ("image_id", "category_id", "score"), "detections")
    for n, row in enumerate(results):
        if row["image_id"] not in places[0]:
            raise DataError(
                f"detections[{n}]: image_id {row['image_id']!r} is no picture of ground_truth"
            )
    results = [r for r in results if r["category_id"] in places[1]]
    return Problem(
        _objects(rows, kind, images, places, "ground_truth annotation"),
        _objects(results, kind, images, places, "detection"),
        image_ids,
        category_ids,
        [names[c] for c in category_ids],
    )


def _load(source: Source, name: str) -> Any:
    if not isinstance(source, (str, Path)):
        return source
    try:
        return json.loads(Path(source).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{name}: {source} is no JSON: {error}") from None


def _rows(rows: Any, keys: Iterable[str], name: str) -> list[Mapping[str, Any]]:
    for n, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise DataError(f"{name}[{n}] is a {type(row).__name__}; it must be a dict")
        for key in keys:
            if key not in row:
                raise DataError(f"{name}[{n}] has no {key}")
    return list(rows)


def _objects(
    rows: list[Mapping[str, Any]],
    kind: Kind,
    images: Mapping[Any, Mapping[str, Any]],
    places: tuple[Mapping[Any, int], Mapping[Any, int]],
    name: str,
) -> Objects:
    truth = name != "detection"
    shape: Floats | MaskRuns
    if kind == "masks":
        shape = _masks(rows, images, name)
        area = shape.area.astype(np.float64)
    else:
        shape, area = _boxes(rows, images, name)
    if truth:
        area = _numbers(rows, "area", name)
        if (area < 0).any():
            n = int((area < 0).argmax())
            raise DataError(f"{name} {n}: area is {area[n]}; it must be 0 or more")
    for n, row in enumerate(rows):
        if row.get("iscrowd", 0) not in (0, 1):
            raise DataError(f"{name} {n}: iscrowd is {row['iscrowd']!r}; it must be 0 or 1")
    return Objects(
        image=np.array([places[0][row["image_id"]] for row in rows], np.int64),
        category=np.array([places[1][row["category_id"]] for row in rows], np.int64),
        area=area,
        shape=shape,
        crowd=np.array([bool(row.get("iscrowd", 0)) for row in rows], bool),
        score=np.zeros(len(rows)) if truth else _numbers(rows, "score", name),
    )


def _numbers(rows: list[Mapping[str, Any]], key: str, name: str) -> Floats:
    try:
        values = np.array([row[key] for row in rows], np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name}s: {key} must be a number everywhere") from None
    if not np.isfinite(values).all():
        n = int(np.argmin(np.isfinite(values)))
        raise DataError(f"{name} {n}: {key} is {values[n]}; it must be finite")
    return values


def _boxes(
    rows: list[Mapping[str, Any]], images: Mapping[Any, Mapping[str, Any]], name: str
) -> tuple[Floats, Floats]:
    """Boxes float64 (N, 4) as x, y, width, height, and areas float64 (N,).

    Of a result with a mask only it is the box around the mask, but the mask's area, as in COCO's code.
    """
    without = [n for n, row in enumerate(rows) if not row.get("bbox")]
    boxes = np.zeros((len(rows), 4))
    others = np.setdiff1d(np.arange(len(rows)), without)
    if len(others):
        try:
            given = np.array([rows[n]["bbox"] for n in others], np.float64)
        except (TypeError, ValueError):
            given = np.empty(0)
        if given.shape != (len(others), 4):
            raise DataError(f"{name}s: every bbox must be four numbers, x, y, width, height")
        boxes[others] = given
    wrong = ~np.isfinite(boxes).all(1) | (boxes[:, 2:] < 0).any(1)
    if wrong.any():
        n = int(wrong.argmax())
        raise DataError(
            f"{name} {n}: bbox is {boxes[n].tolist()}; it must be finite, with width and height 0 or more"
        )
    area = boxes[:, 2] * boxes[:, 3]
    if without:
        masks = _masks([rows[n] for n in without], images, name)
        x1, y1, x2, y2 = masks.boxes.T
        boxes[without] = np.stack([x1, y1, x2 - x1, y2 - y1], 1)
        area[without] = masks.area
    return boxes, area


def _masks(
    rows: list[Mapping[str, Any]], images: Mapping[Any, Mapping[str, Any]], name: str
) -> MaskRuns:
    sizes = []
    for n, row in enumerate(rows):
        image = images[row["image_id"]]
        if "segmentation" not in row:
            raise DataError(f"{name} {n} has no segmentation")
        if not {"height", "width"} <= set(image):
            raise DataError(f"image {row['image_id']!r} has no height and width; masks need them")
        sizes.append((int(image["height"]), int(image["width"])))
    called = [f"{name} {n}" for n in range(len(rows))]
    return read_segmentations([row["segmentation"] for row in rows], sizes, called)


def pair_iou(problem: Problem, detection: Ints, truth: Ints) -> Floats:
    """IoU float64 (P,) of pairs given by their row numbers, as COCO has it.

    With a crowd it is the share of the detection that lies in the crowd.
    """
    a, b = problem.detections.shape, problem.truths.shape
    crowd = problem.truths.crowd[truth]
    shared = np.zeros(len(detection))
    if isinstance(a, MaskRuns) and isinstance(b, MaskRuns):
        corners, others = a.boxes[detection], b.boxes[truth]
        touch = ((corners[:, :2] < others[:, 2:]) & (others[:, :2] < corners[:, 2:])).all(1)
        shared[touch] = intersections(a, b, detection[touch], truth[touch])
        area, other = a.area[detection].astype(np.float64), b.area[truth].astype(np.float64)
    elif isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        p, q = a[detection], b[truth]
        low = np.maximum(p[:, :2], q[:, :2])
        high = np.minimum(p[:, :2] + p[:, 2:], q[:, :2] + q[:, 2:])
        shared = np.maximum(high - low, 0).prod(1)
        area, other = p[:, 2:].prod(1), q[:, 2:].prod(1)
    else:
        raise TypeError("one side has boxes, the other masks")
    union = np.where(crowd, area, area + other - shared)
    return np.divide(shared, union, out=np.zeros(len(shared)), where=shared > 0)
