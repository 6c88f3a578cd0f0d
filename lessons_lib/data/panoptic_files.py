"""A folder in the panoptic form, ``panoptic.json`` and one PNG a picture, to and from masks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .annotations import Annotations, MarkedObject, MarkedPicture, label_map
from .checks import check_size
from .errors import DataError
from .files import write_bytes
from .instances import run_lengths
from .panoptic import LARGEST, label_boxes, read_json, read_panoptic, segments_table, write_panoptic


def find_list(source: Path) -> tuple[Path, Path] | None:
    """The JSON file and the folder of the PNGs, of a folder or of the JSON file itself; None if not there.

    The PNGs are in ``panoptic`` beside the JSON file, or in a folder of its name.
    """
    files = (
        [source]
        if source.suffix == ".json"
        else [
            source / "panoptic.json",
            source / "dev" / "panoptic.json",
        ]
    )
    for path in files:
        for folder in (path.with_suffix(""), path.parent / "panoptic"):
            if path.is_file() and folder.is_dir():
                return path, folder
    return None


def read_panoptic_files(path: Path, folder: Path) -> Annotations:
    """Every segment as an object with its run lengths; things and stuff.

    The id that a segment's colour stands for is kept in ``extra["segment_id"]``.

    Args:
        path: The JSON file.
        folder: Of the PNGs.

    Raises:
        DataError: A file is missing or broken, or PNG and JSON do not agree.
    """
    content = read_json(path, "images", "annotations", "categories")
    try:
        names = {int(c["id"]): str(c["name"]) for c in content["categories"]}
        stuff = frozenset(str(c["name"]) for c in content["categories"] if not c.get("isthing", 1))
        images = {image["id"]: image for image in content["images"]}
        pictures = tuple(
            _picture(
                folder / row["file_name"], images[row["image_id"]], row["segments_info"], names
            )
            for row in content["annotations"]
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: is no panoptic annotation of COCO's form ({error!r})") from error
    return Annotations(pictures, tuple(names.values()), stuff, tuple(names))


def _picture(
    truth: Path, image: Mapping[str, Any], segments: list[dict[str, Any]], names: dict[int, str]
) -> MarkedPicture:
    size = (int(image["height"]), int(image["width"]))
    ids = read_panoptic(truth)
    check_size(truth, ids.shape, Path(image["file_name"]), size)
    index, boxes = segments_table(ids, segments, truth)
    objects = tuple(
        MarkedObject(
            names[segment["category_id"]],
            (x1, y1, x2, y2),
            {"size": list(size), "counts": counts},
            crowd=bool(segment.get("iscrowd", 0)),
            extra={"segment_id": segment["id"]},
        )
        for segment, (x1, y1, x2, y2), counts in zip(
            segments, boxes.tolist(), run_lengths(index), strict=True
        )
    )
    extra = {key: v for key, v in image.items() if key not in ("file_name", "height", "width")}
    return MarkedPicture(image["file_name"], size, objects, extra)


def write_panoptic_files(folder: Path, annotations: Annotations) -> None:
    """Write ``panoptic.json`` and ``panoptic/<id>.png`` into a folder that exists.

    Segments keep the id that they had; others get ids whose colours are easy to tell apart.

    Raises:
        DataError: Masks share a pixel, or an object has no mask or an empty one; names picture and object.
    """
    (folder / "panoptic").mkdir()
    numbers = annotations.numbers()
    rows = []
    images = []
    for place, picture in enumerate(annotations.pictures, start=1):
        index = label_map(picture)
        areas = np.bincount(index.ravel(), minlength=len(picture.objects) + 1)[1:]
        if len(areas) and areas.min() == 0:
            raise DataError(
                f"{picture.file_name}: object {areas.argmin() + 1} has a mask without a pixel"
            )
        ids = _segment_ids(picture)
        name = f"{Path(picture.file_name).stem}.png"
        write_panoptic(folder / "panoptic" / name, np.concatenate(([0], ids))[index])
        boxes = label_boxes(index, len(ids))
        boxes[:, 2:] -= boxes[:, :2]
        info = [
            {
                "id": i,
                "category_id": numbers[o.label],
                "iscrowd": int(o.crowd),
                "area": a,
                "bbox": b,
            }
            for i, o, a, b in zip(
                ids.tolist(),
                picture.objects,
                areas.tolist(),
                boxes.astype(int).tolist(),
                strict=True,
            )
        ]
        image_id = picture.extra.get("id", place)
        size = {"height": picture.size[0], "width": picture.size[1]}
        images.append({**picture.extra, "id": image_id, "file_name": picture.file_name, **size})
        rows.append({"image_id": image_id, "file_name": name, "segments_info": info})
    categories = [
        {"id": number, "name": name, "isthing": int(name not in annotations.stuff)}
        for name, number in numbers.items()
    ]
    content = {"images": images, "annotations": rows, "categories": categories}
    write_bytes(folder / "panoptic.json", json.dumps(content).encode())


def _segment_ids(picture: MarkedPicture) -> np.ndarray:
    """The ids that the segments had, if all had one and none twice; else new ones."""
    known = [thing.extra.get("segment_id") for thing in picture.objects]
    if None not in known and len(set(known)) == len(known):
        return np.array(known, np.int64)
    # an odd factor permutes the numbers below 2^24, and scatters the first ones over the colours
    return np.arange(1, len(known) + 1, dtype=np.int64) * 9_949_903 % (LARGEST + 1)
