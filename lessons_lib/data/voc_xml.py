"""Pascal VOC's XML: one file a picture, one box an object."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from decimal import Decimal
from pathlib import Path

from .annotations import MarkedObject, MarkedPicture
from .errors import DataError
from .files import write_bytes
from .safe_xml import Element, number_of, read_xml, text_of

COUNTING = ("pixels", "corners")
"""How the four numbers of a box are meant.

* ``"pixels"``: xmin and ymin are the first column and row of the object, xmax and ymax the last,
  counted from 1. So VOC's development kit has it; the box x1, y1, x2, y2 of this library is xmin - 1,
  ymin - 1, xmax, ymax.
* ``"corners"``: they are distances from the upper left corner of the picture, as labelImg and most other
  tools write them; they are taken as they are.
"""


SIDES = ("xmin", "ymin", "xmax", "ymax")


def read_voc_xml(path: Path, counting: str = "pixels") -> MarkedPicture:
    """The picture and objects of one annotation file.

    An object's ``pose`` is kept in ``extra``. A person's parts are left out.

    Args:
        path: The XML file.
        counting: One of :data:`COUNTING`.

    Raises:
        DataError: The file is no annotation, or an element is missing or no number; names both.
        ValueError: Unknown ``counting``.
    """
    first = _first(counting)
    path = Path(path)
    root = read_xml(path, "annotation")
    name = text_of(path, root, "filename", "the annotation")
    height, width = (
        int(number_of(path, root, f"size/{side}", "the annotation")) for side in ("height", "width")
    )
    objects = tuple(
        _object(path, element, f"object {number}", first)
        for number, element in enumerate(root.findall("object"), start=1)
    )
    return MarkedPicture(name, (height, width), objects)


def _object(path: Path, element: Element, where: str, first: int) -> MarkedObject:
    x1, y1, x2, y2 = (
        _number(path, element, f"bndbox/{side}", where, by)
        for side, by in zip(SIDES, (first, first, 0, 0), strict=True)
    )
    flags = {
        name: _flag(path, element, name, where) for name in ("difficult", "truncated", "occluded")
    }
    pose = element.findtext("pose")
    return MarkedObject(
        text_of(path, element, "name", where),
        (x1, y1, x2, y2),
        **flags,
        extra={} if pose is None else {"pose": pose.strip()},
    )


def _flag(path: Path, element: Element, name: str, where: str) -> bool:
    if not (element.findtext(name) or "").strip():
        return False  # older files leave flags out
    value = number_of(path, element, name, where)
    if value not in (0, 1):
        raise DataError(f"{path}: {where}: <{name}> is {value:g}; expected 0 or 1")
    return bool(value)


def write_voc_xml(path: Path, picture: MarkedPicture, counting: str = "pixels") -> None:
    """Write one annotation file, whole or not at all. Masks are lost: VOC's XML has boxes only.

    Numbers are written as whole numbers where they are whole, else as decimals, so that nothing is lost.

    Raises:
        ValueError: Unknown ``counting``.
    """
    first = _first(counting)
    root = ElementTree.Element("annotation")
    _add(root, "filename", picture.file_name)
    size = ElementTree.SubElement(root, "size")
    for name, value in zip(("width", "height", "depth"), (*picture.size[::-1], 3), strict=True):
        _add(size, name, str(value))
    for marked in picture.objects:
        element = ElementTree.SubElement(root, "object")
        _add(element, "name", marked.label)
        _add(element, "pose", str(marked.extra.get("pose", "Unspecified")))
        for name in ("truncated", "difficult", "occluded"):
            _add(element, name, str(int(getattr(marked, name))))
        box = ElementTree.SubElement(element, "bndbox")
        for name, number, by in zip(SIDES, marked.box, (first, first, 0, 0), strict=True):
            _add(box, name, _written(float(number), by))
    ElementTree.indent(root)
    write_bytes(path, ElementTree.tostring(root, encoding="utf-8") + b"\n")


def _written(number: float, shift: int) -> str:
    """A shifted number in decimals, so that taking the shift away again gives the same number."""
    return plain(number + shift) if number.is_integer() else f"{Decimal(repr(number)) + shift:f}"


def _number(path: Path, element: Element, name: str, where: str, shift: int) -> float:
    number = number_of(path, element, name, where)
    if number.is_integer():
        return number - shift
    return float(Decimal(text_of(path, element, name, where)) - shift)


def plain(number: float) -> str:
    """A number without ".0" where it is whole; reading it back gives the same number."""
    return str(int(number)) if float(number).is_integer() else repr(float(number))


def _add(parent: Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text


def _first(counting: str) -> int:
    """Number of the first pixel."""
    if counting not in COUNTING:
        raise ValueError(f"counting is {counting!r}; expected one of {', '.join(COUNTING)}")
    return 1 if counting == "pixels" else 0
