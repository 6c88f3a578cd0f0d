"""CVAT's own XML, "CVAT for images 1.1": boxes, polygons and masks of all pictures in one file."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np

from .annotations import Annotations, Box, MarkedObject, MarkedPicture, cut_out, mask_runs, names_of
from .errors import DataError
from .files import write_bytes
from .rle import RLE, encode_rle, rle_box
from .safe_xml import Element, parse_number, read_xml
from .voc_xml import plain

SHAPES = ("box", "polygon", "mask")
CORNERS = ("xtl", "ytl", "xbr", "ybr")
PLACE = ("left", "top", "width", "height")


def read_cvat(path: Path) -> Annotations:
    """All pictures of a CVAT file and their boxes, polygons and masks.

    A polygon's box is the one round its corners, a mask's the one round its pixels. CVAT's ``<attribute>``
    elements are kept in ``extra["attributes"]``, ``source``, ``z_order`` and ``group_id`` under their names.

    Raises:
        DataError: No CVAT file for images, or a shape of another kind or broken; names file, picture, shape.
    """
    path = Path(path)
    root = read_xml(path, "annotations")
    if root.find("track") is not None:
        raise DataError(
            f"{path}: has <track> elements; export it as 'CVAT for images', not for video"
        )
    pictures = tuple(_picture(path, element) for element in root.findall("image"))
    listed = [(name.text or "").strip() for name in root.iterfind("meta//labels/label/name")]
    classes = tuple(dict.fromkeys(name for name in listed if name)) or names_of(pictures)
    if missing := sorted(set(names_of(pictures)) - set(classes)):
        raise DataError(f"{path}: the label {missing[0]!r} is not among those of its <meta>")
    return Annotations(pictures, classes)


def _picture(path: Path, element: Element) -> MarkedPicture:
    name = element.get("name") or ""
    if not name:
        raise DataError(f"{path}: image {element.get('id', '?')} has no name")
    size = (
        int(_attribute(path, element, "height", name)),
        int(_attribute(path, element, "width", name)),
    )
    objects = []
    for number, shape in enumerate((e for e in element if e.tag != "tag"), start=1):
        where = f"{name}: shape {number} (<{shape.tag}>)"
        if shape.tag not in SHAPES:
            raise DataError(f"{path}: {where}; only {', '.join(SHAPES)} are read")
        objects.append(_object(path, shape, where, size))
    return MarkedPicture(name, size, tuple(objects))


def _object(path: Path, shape: Element, where: str, size: tuple[int, int]) -> MarkedObject:
    label = shape.get("label") or ""
    if not label:
        raise DataError(f"{path}: {where} has no label")
    segmentation: Any = None
    if shape.tag == "box":
        x1, y1, x2, y2 = (_attribute(path, shape, key, where) for key in CORNERS)
        box: Box = (x1, y1, x2, y2)
    elif shape.tag == "polygon":
        corners = _corners(path, shape, where)
        segmentation = [corners.ravel().tolist()]
        (x1, y1), (x2, y2) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        box = (x1, y1, x2, y2)
    else:
        segmentation = _mask(path, shape, where, size)
        box = rle_box(segmentation)
    extra: dict[str, Any] = {
        key: value
        for key in ("source", "z_order", "group_id")
        if (value := shape.get(key)) is not None
    }
    if attributes := {
        e.get("name", ""): (e.text or "").strip() for e in shape.findall("attribute")
    }:
        extra["attributes"] = attributes
    return MarkedObject(
        label, box, segmentation, occluded=shape.get("occluded", "0") == "1", extra=extra
    )


def _corners(path: Path, shape: Element, where: str) -> np.ndarray:
    pairs = [pair.split(",") for pair in (shape.get("points") or "").split(";") if pair]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        raise DataError(f"{path}: {where}: points must be three pairs x,y;x,y;x,y or more")
    return np.array([[parse_number(path, v, f"{where}: a point") for v in pair] for pair in pairs])


def _mask(path: Path, shape: Element, where: str, size: tuple[int, int]) -> RLE:
    """Runs along the rows of the mask's own rectangle, first of background, as COCO's of the picture."""
    left, top, width, height = (int(_attribute(path, shape, key, where)) for key in PLACE)
    if min(left, top, width, height) < 0 or left + width > size[1] or top + height > size[0]:
        raise DataError(f"{path}: {where} reaches beyond the picture of {size[1]}×{size[0]}")
    fields = [field.strip() for field in (shape.get("rle") or "").split(",")]
    if not all(field.isdecimal() for field in fields):
        raise DataError(f"{path}: {where}: rle must be whole numbers, with commas between them")
    counts = [int(field) for field in fields]
    if sum(counts) > width * height:
        raise DataError(
            f"{path}: {where}: rle adds up to {sum(counts)}; its rectangle has {width * height} pixels"
        )
    flat = np.zeros(width * height, bool)  # background at the end may be left out
    ends = np.cumsum(counts)
    for start, stop in zip(ends[:-1:2], ends[1::2], strict=False):
        flat[start:stop] = True
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = flat.reshape(height, width)
    return encode_rle(mask)


def _attribute(path: Path, element: Element, key: str, where: str) -> float:
    return parse_number(path, element.get(key, ""), f"{where}: {key}")


def write_cvat(path: Path, annotations: Annotations) -> None:
    """Write a CVAT file that CVAT imports: boxes, polygons, and masks as runs in their rectangle.

    An object of several polygons is written as a mask, since CVAT's polygon has one ring. The flags
    difficult, truncated and crowd are lost.

    Raises:
        DataError: A mask is broken or empty; names picture and object.
    """
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    labels = ElementTree.SubElement(
        ElementTree.SubElement(ElementTree.SubElement(root, "meta"), "task"), "labels"
    )
    for name in annotations.classes:
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
    for place, picture in enumerate(annotations.pictures):
        height, width = picture.size
        sizes = {"width": str(width), "height": str(height)}
        image = ElementTree.SubElement(
            root, "image", {"id": str(place), "name": picture.file_name, **sizes}
        )
        for number in range(len(picture.objects)):
            _add(image, picture, number)
    ElementTree.indent(root)
    write_bytes(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _add(image: Element, picture: MarkedPicture, number: int) -> None:
    thing = picture.objects[number]
    segmentation = thing.segmentation
    if segmentation is None:
        tag, shape = "box", dict(zip(CORNERS, map(plain, thing.box), strict=True))
    elif isinstance(segmentation, list) and len(segmentation) == 1:
        points = np.asarray(segmentation[0], float).reshape(-1, 2).tolist()
        tag, shape = "polygon", {"points": ";".join(f"{plain(x)},{plain(y)}" for x, y in points)}
    else:
        tag, shape = "mask", _mask_fields(picture, number)
    extra = {
        key: str(thing.extra[key])
        for key in ("source", "z_order", "group_id")
        if key in thing.extra
    }
    fields = {"label": thing.label, "occluded": str(int(thing.occluded)), **shape, **extra}
    element = ElementTree.SubElement(image, tag, fields)
    for name, value in thing.extra.get("attributes", {}).items():
        ElementTree.SubElement(element, "attribute", {"name": str(name)}).text = str(value)


def _mask_fields(picture: MarkedPicture, number: int) -> dict[str, str]:
    inside, (left, top) = cut_out(mask_runs(picture, number))
    if not inside.size:
        raise DataError(f"{picture.file_name}: object {number + 1} has a mask without a pixel")
    height, width = inside.shape
    counts = encode_rle(inside.T)["counts"]  # down the columns of the transposed: along the rows
    place = dict(zip(PLACE, map(str, (left, top, width, height)), strict=True))
    return {"rle": ", ".join(map(str, counts)), **place}
