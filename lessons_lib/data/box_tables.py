"""Boxes as text: one table of all pictures (CSV), or one file a picture in YOLO's form."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .annotations import Annotations, Box, MarkedObject, MarkedPicture, names_of
from .errors import DataError
from .files import PICTURE_SUFFIXES, picture_size, write_bytes
from .safe_xml import parse_number
from .voc_xml import plain

FORMS = ("xyxy", "xywh", "cxcywh", "yolo")
"""What four numbers of a box can mean: two corners; a corner and width, height; the centre and width, height;
and the latter as shares of the picture's width and height."""
FLAGS = ("difficult", "truncated", "occluded", "crowd")
COLUMNS = ("picture", "width", "height", "label", "x1", "y1", "x2", "y2", *FLAGS)


def box_to(box: Box, form: str, size: tuple[int, int]) -> Box:
    """A box x1, y1, x2, y2 in another form.

    Args:
        box: x1, y1, x2, y2 in px, x2 and y2 exclusive.
        form: one of :data:`FORMS`.
        size: (height, width) of the picture, px; used by "yolo" only.

    Raises:
        ValueError: Unknown form.
    """
    x1, y1, x2, y2 = box
    width, height = x2 - x1, y2 - y1
    if form == "xyxy":
        return box
    if form == "xywh":
        return x1, y1, width, height
    if form == "cxcywh":
        return x1 + width / 2, y1 + height / 2, width, height
    if form == "yolo":
        high, wide = size
        return (x1 + width / 2) / wide, (y1 + height / 2) / high, width / wide, height / high
    raise ValueError(f"form is {form!r}; expected one of {', '.join(FORMS)}")


def box_from(numbers: Box, form: str, size: tuple[int, int]) -> Box:
    """The inverse of :func:`box_to`, up to rounding."""
    a, b, c, d = numbers
    if form == "xyxy":
        return numbers
    if form == "xywh":
        return a, b, a + c, b + d
    if form == "yolo":
        a, b, c, d = a * size[1], b * size[0], c * size[1], d * size[0]
    elif form != "cxcywh":
        raise ValueError(f"form is {form!r}; expected one of {', '.join(FORMS)}")
    return a - c / 2, b - d / 2, a + c / 2, b + d / 2


def write_boxes(path: Path, annotations: Annotations) -> None:
    """Write a CSV file with one row an object, and one without label for a picture without objects.

    Columns: :data:`COLUMNS`, boxes in px, flags 0 or 1. Masks and the order of classes are lost.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for picture in annotations.pictures:
        head = [picture.file_name, *picture.size[::-1]]
        for thing in picture.objects:
            flags = [int(getattr(thing, flag)) for flag in FLAGS]
            writer.writerow([*head, thing.label, *(plain(v) for v in thing.box), *flags])
        if not picture.objects:
            writer.writerow([*head, *[""] * (len(COLUMNS) - 3)])
    write_bytes(path, text.getvalue().encode())


def read_boxes(path: Path) -> Annotations:
    """The boxes of a CSV file with the columns of :func:`write_boxes`; flags may be missing.

    Raises:
        DataError: No such table, or a broken row; names file, line and column.
    """
    path = Path(path)
    sizes: dict[str, tuple[int, int]] = {}
    objects: dict[str, list[MarkedObject]] = {}
    for line, row in read_table(path, COLUMNS[:8]):
        name = row["picture"]
        size = tuple(int(_number(path, line, row, side)) for side in ("height", "width"))
        if sizes.setdefault(name, (size[0], size[1])) != size:
            raise DataError(f"{path}: line {line}: {name} has another size in an earlier line")
        objects.setdefault(name, [])
        if row["label"]:
            flags: dict[str, Any] = {f: _flag(path, line, row, f) for f in FLAGS}
            x1, y1, x2, y2 = (_number(path, line, row, key) for key in ("x1", "y1", "x2", "y2"))
            objects[name].append(MarkedObject(row["label"], (x1, y1, x2, y2), **flags))
    pictures = tuple(
        MarkedPicture(name, sizes[name], tuple(found)) for name, found in objects.items()
    )
    return Annotations(pictures, names_of(pictures))


def read_table(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and row of a CSV file that has these columns.

    Raises:
        DataError: The file cannot be read, a column is missing, or a row has too few or too many fields.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), skipinitialspace=True)
    reader.fieldnames = [name.strip() for name in reader.fieldnames or ()]
    if missing := [name for name in columns if name not in reader.fieldnames]:
        raise DataError(f"{path}: has no column {missing[0]!r}; expected {', '.join(columns)}")
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{path}: line {reader.line_num} has not {len(reader.fieldnames)} fields"
                )
            yield reader.line_num, {key: value.strip() for key, value in row.items()}
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num} is no CSV ({error})") from error


def write_yolo(folder: Path, annotations: Annotations) -> None:
    """Write ``classes.txt`` and one ``<id>.txt`` a picture, with lines "class cx cy width height".

    Classes count from 0 in the order of ``classes.txt``; the numbers are shares of the picture's size, with
    as many decimals as it takes (many tools write six, good to a thousandth of a pixel). Sizes, masks
    and flags are lost.
    """
    number = {name: place for place, name in enumerate(annotations.classes)}
    write_bytes(
        folder / "classes.txt", "".join(f"{name}\n" for name in annotations.classes).encode()
    )
    for picture in annotations.pictures:
        lines = [
            f"{number[thing.label]} " + " ".join(map(repr, box_to(thing.box, "yolo", picture.size)))
            for thing in picture.objects
        ]
        target = folder / f"{Path(picture.file_name).stem}.txt"
        write_bytes(target, "".join(f"{line}\n" for line in lines).encode())


def read_yolo(folder: Path, find_picture: Callable[[str], Path]) -> Annotations:
    """What :func:`write_yolo` writes; the sizes come from the pictures.

    Args:
        folder: With ``classes.txt`` and one text file a picture.
        find_picture: The picture file of an id.

    Raises:
        DataError: A file is missing or broken; names file and line.
    """
    classes = tuple(name for name in _lines(folder / "classes.txt") if name)
    pictures = []
    for path in sorted(folder.glob("*.txt")):
        if path.name == "classes.txt":
            continue
        image = find_picture(path.stem)
        size = picture_size(image)
        objects = tuple(
            _yolo_object(path, number, line.split(), classes, size)
            for number, line in enumerate(_lines(path), start=1)
            if line
        )
        pictures.append(MarkedPicture(image.name, size, objects))
    return Annotations(tuple(pictures), classes)


def _yolo_object(
    path: Path, line: int, fields: list[str], classes: tuple[str, ...], size: tuple[int, int]
) -> MarkedObject:
    if len(fields) != 5:
        raise DataError(
            f"{path}: line {line} has {len(fields)} numbers; expected class, cx, cy, width, height"
        )
    if not fields[0].isdecimal() or int(fields[0]) >= len(classes):
        raise DataError(
            f"{path}: line {line}: the class is {fields[0]!r}; expected 0..{len(classes) - 1}"
        )
    a, b, c, d = (parse_number(path, field, f"line {line}: a number") for field in fields[1:])
    return MarkedObject(classes[int(fields[0])], box_from((a, b, c, d), "yolo", size))


def picture_finder(folder: Path | None) -> Callable[[str], Path]:
    """A function that gives the picture file of an id, by the stem of its name.

    Raises (when called):
        DataError: No folder was given, or it has no such picture.
    """
    found = (
        {}
        if folder is None
        else {
            path.stem: path
            for path in sorted(folder.iterdir())
            if path.suffix.lower() in PICTURE_SUFFIXES
        }
    )

    def find(name: str) -> Path:
        if folder is None:
            raise DataError(
                f"the size of {name} is not in this form; give the pictures' folder (--images)"
            )
        if name not in found:
            raise DataError(f"{folder}: there is no picture {name}")
        return found[name]

    return find


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from error


def _number(path: Path, line: int, row: dict[str, str], key: str) -> float:
    return parse_number(path, row[key], f"line {line}: {key}")


def _flag(path: Path, line: int, row: dict[str, str], key: str) -> bool:
    if (text := row.get(key, "0") or "0") not in ("0", "1"):
        raise DataError(f"{path}: line {line}: {key} is {text!r}; expected 0 or 1")
    return text == "1"
