"""COCO's JSON for detection and instances: boxes as x, y, width, height, masks as polygons or runs.

Lin et al., *Microsoft COCO: Common Objects in Context*, ECCV 2014.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .annotations import Annotations, Box, MarkedObject, MarkedPicture, cut_out, mask_runs
from .errors import DataError
from .files import write_bytes
from .outlines import mask_to_polygons
from .panoptic import read_json
from .rle import compress_counts

MASKS = ("as-found", "runs", "compressed", "polygons")
FLAGS = ("difficult", "truncated", "occluded")
OWN = {"id", "image_id", "category_id", "bbox", "segmentation", "iscrowd", "attributes"}


def read_coco(path: Path) -> Annotations:
    """All pictures and objects of a COCO file.

    Boxes x, y, width, height become x1, y1, x2, y2 by addition; nothing is rounded. Segmentations are kept
    as found and read when they are needed. The flags that COCO does not have are looked for in
    ``attributes``, where CVAT writes them. Other keys are kept in ``extra``.

    Raises:
        DataError: No COCO file, an unknown picture or category, or a broken box; names file and annotation.
    """
    path = Path(path)
    content = read_json(path, "images", "annotations", "categories")
    categories = {_key(path, row, "category", "id"): row for row in content["categories"]}
    images = {_key(path, row, "image", "id"): row for row in content["images"]}
    for kind, table in (("categories", categories), ("images", images)):
        if len(table) != len(content[kind]):
            raise DataError(f"{path}: its {kind} have an id more than once")
    objects: dict[Any, list[MarkedObject]] = {number: [] for number in images}
    for number, row in enumerate(content["annotations"], start=1):
        where = f"annotation {row.get('id', number) if isinstance(row, dict) else number}"
        image, category = (_key(path, row, where, key) for key in ("image_id", "category_id"))
        if image not in images or category not in categories:
            raise DataError(
                f"{path}: {where} is of image {image!r} and category {category!r}, which are not listed"
            )
        name = _key(path, categories[category], f"category {category}", "name")
        objects[image].append(_object(path, row, where, str(name)))
    pictures = [
        MarkedPicture(
            str(_key(path, row, f"image {number}", "file_name")),
            (_side(path, row, "height", number), _side(path, row, "width", number)),
            tuple(objects[number]),
            {
                key: value
                for key, value in row.items()
                if key not in ("file_name", "height", "width")
            },
        )
        for number, row in images.items()
    ]
    names = tuple(str(row["name"]) for row in categories.values())
    if len(set(names)) < len(names):
        raise DataError(f"{path}: two categories have one name")
    stuff = frozenset(str(row["name"]) for row in categories.values() if row.get("isthing", 1) == 0)
    return Annotations(tuple(pictures), names, stuff, tuple(categories))


def _object(path: Path, row: Mapping[str, Any], where: str, name: str) -> MarkedObject:
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4 or not all(_finite(value) for value in box):
        raise DataError(f"{path}: {where}: bbox is {box!r}; expected [x, y, width, height]")
    x, y, width, height = (float(value) for value in box)
    attributes = dict(row.get("attributes") or {})
    flags = {flag: bool(attributes.pop(flag, False)) for flag in FLAGS}
    extra = {key: value for key, value in row.items() if key not in OWN}
    return MarkedObject(
        name,
        (x, y, x + width, y + height),
        row.get("segmentation") or None,
        crowd=bool(row.get("iscrowd", 0)),
        extra=extra | ({"attributes": attributes} if attributes else {}),
        **flags,
    )


def write_coco(path: Path, annotations: Annotations, masks: str = "as-found") -> None:
    """Write a COCO file, whole or not at all.

    Args:
        path: Where to.
        annotations: What to write. Objects without a mask have none in the file.
        masks: "as-found"; "runs", uncompressed run lengths; "compressed", as in COCO's result files; or
            "polygons" along the borders of the pixels, which COCO's rule fills to the same pixels.
            Crowds always have runs.

    Raises:
        DataError: A mask is broken; names picture and object.
        ValueError: Unknown ``masks``.
    """
    if masks not in MASKS:
        raise ValueError(f"masks is {masks!r}; expected one of {', '.join(MASKS)}")
    numbers = annotations.numbers()
    found = [picture.extra.get("id") for picture in annotations.pictures]
    keep_ids = None not in found and len(set(found)) == len(found)
    images: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for place, picture in enumerate(annotations.pictures, start=1):
        height, width = picture.size
        image = {"id": picture.extra["id"] if keep_ids else place, "file_name": picture.file_name}
        extra = {key: value for key, value in picture.extra.items() if key != "id"}
        images.append({**image, "height": height, "width": width, **extra})
        for number, thing in enumerate(picture.objects):
            row = {
                "id": len(rows) + 1,
                "image_id": image["id"],
                "category_id": numbers[thing.label],
            }
            rows.append({**row, **_fields(picture, number, masks)})
    categories = [
        {"id": number, "name": name, **({"isthing": 0} if name in annotations.stuff else {})}
        for name, number in numbers.items()
    ]
    content = {"images": images, "annotations": rows, "categories": categories}
    write_bytes(path, json.dumps(content).encode())


def _fields(picture: MarkedPicture, number: int, masks: str) -> dict[str, Any]:
    thing = picture.objects[number]
    area = (thing.box[2] - thing.box[0]) * (thing.box[3] - thing.box[1])
    segmentation = thing.segmentation
    if segmentation is not None:
        runs = mask_runs(picture, number)
        area = int(runs.area[0])
        if masks == "polygons" and not thing.crowd:
            inside, corner = cut_out(runs)
            offset = np.array(corner)
            polygons = [np.reshape(polygon, (-1, 2)) for polygon in mask_to_polygons(inside)]
            segmentation = [(polygon + offset).ravel().tolist() for polygon in polygons]
        elif masks != "as-found":
            counts = runs.counts(0)
            text = compress_counts(counts) if masks == "compressed" else counts
            segmentation = {"size": list(picture.size), "counts": text}
    fields: dict[str, Any] = {
        "iscrowd": int(thing.crowd),
        "area": _short(area),
        "bbox": _xywh(thing.box),
    }
    if segmentation is not None:
        fields["segmentation"] = segmentation
    flags = {flag: True for flag in FLAGS if getattr(thing, flag)}
    attributes = {**thing.extra.get("attributes", {}), **flags}
    extra = {key: value for key, value in thing.extra.items() if key not in OWN}
    return {**fields, **extra, **({"attributes": attributes} if attributes else {})}


def _xywh(box: Box) -> list[float]:
    x1, y1, x2, y2 = box
    return [_short(value) for value in (x1, y1, x2 - x1, y2 - y1)]


def _short(value: float) -> float:
    return int(value) if float(value).is_integer() else float(value)


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _key(path: Path, row: Any, where: str, key: str) -> Any:
    if not isinstance(row, dict) or not isinstance(row.get(key), (int, str)):
        raise DataError(f"{path}: {where} has no {key!r}")
    return row[key]


def _side(path: Path, row: Mapping[str, Any], key: str, number: object) -> int:
    value = row.get(key)
    if not isinstance(value, int) or value <= 0:
        raise DataError(f"{path}: image {number}: {key} is {value!r}; expected pixels, 1 or more")
    return value
