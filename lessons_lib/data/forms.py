"""Every form of annotations by name: how it is recognised, read and written, and what it cannot hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .annotations import Annotations, MarkedObject, MarkedPicture, label_map, names_of
from .box_tables import (
    COLUMNS,
    picture_finder,
    read_boxes,
    read_table,
    read_yolo,
    write_boxes,
    write_yolo,
)
from .coco_json import read_coco, write_coco
from .contest_runs import PNEUMOTHORAX_SIZE, read_runs, size_by_picture, write_runs
from .cvat_xml import read_cvat, write_cvat
from .errors import DataError
from .files import write_labels
from .instance_folders import read_samples
from .instances import instance_table, run_lengths
from .panoptic import read_json
from .panoptic_files import find_list, read_panoptic_files, write_panoptic_files
from .voc_xml import read_voc_xml, write_voc_xml


@dataclass(frozen=True)
class Choices:
    """What a form does not say itself.

    Attributes:
        counting: how VOC XML counts pixels, see :data:`lessons_lib.data.voc_xml.COUNTING`.
        masks: how COCO writes masks, see :func:`~lessons_lib.data.coco_json.write_coco`.
        images: folder of the pictures, where a form lacks their sizes.
    """

    counting: str = "pixels"
    masks: str = "as-found"
    images: Path | None = None


@dataclass(frozen=True)
class Form:
    """A form of annotations.

    Attributes:
        about: one line.
        read: from a file or folder.
        write: to a file, or into a folder that exists and is empty.
        keeps: of masks, flags and extras, what it can hold; :data:`EXTRA` for all of the latter.
        folder: whether it is one.
    """

    about: str
    read: Callable[[Path, Choices], Annotations]
    write: Callable[[Path, Annotations, Choices], None]
    keeps: frozenset[str]
    folder: bool = False


def read_voc_folder(folder: Path, choices: Choices) -> Annotations:
    """All XML files of a folder, or of ``Annotations`` in it, by rising name."""
    files = sorted(folder.glob("*.xml")) or sorted((folder / "Annotations").glob("*.xml"))
    pictures = tuple(read_voc_xml(path, choices.counting) for path in files)
    return Annotations(pictures, names_of(pictures))


def write_voc_folder(folder: Path, annotations: Annotations, choices: Choices) -> None:
    """One XML file a picture, named after it."""
    for picture in annotations.pictures:
        write_voc_xml(folder / f"{Path(picture.file_name).stem}.xml", picture, choices.counting)


def read_label_folder(source: Path, choices: Choices) -> Annotations:
    """The instances of label PNGs or of nuclei in either layout, by rising id, as objects with runs."""
    pictures = []
    for name, _, labels in read_samples(source):
        size = list(labels.shape)
        objects = tuple(
            MarkedObject(
                "object", (r["x1"], r["y1"], r["x2"], r["y2"]), {"size": size, "counts": counts}
            )
            for r, counts in zip(instance_table(labels), run_lengths(labels), strict=True)
        )
        pictures.append(MarkedPicture(f"{name}.png", (size[0], size[1]), objects))
    return Annotations(tuple(pictures), ("object",))


def write_label_folder(folder: Path, annotations: Annotations, choices: Choices) -> None:
    """One label PNG a picture, in which object k has the value k."""
    for picture in annotations.pictures:
        write_labels(folder / f"{Path(picture.file_name).stem}.png", label_map(picture))


def _sizes(choices: Choices) -> Callable[[str], tuple[int, int]]:
    """Sizes of the pneumothorax contest's pictures: all are the same, unless pictures are given."""
    if choices.images is None:
        return lambda name: PNEUMOTHORAX_SIZE
    return size_by_picture(picture_finder(choices.images))


def _panoptic(source: Path, choices: Choices) -> Annotations:
    found = find_list(source)
    if found is None:
        raise FileNotFoundError(f"{source}: no panoptic.json with a folder of PNGs beside it")
    return read_panoptic_files(*found)


FLAGS = ("difficult", "truncated", "occluded")
EXTRA = "whatever else"
FORMS: dict[str, Form] = {
    "voc": Form(
        "folder of Pascal VOC's XML, boxes",
        read_voc_folder,
        write_voc_folder,
        frozenset((*FLAGS, "pose")),
        folder=True,
    ),
    "coco": Form(
        "COCO's JSON, boxes and masks",
        lambda path, choices: read_coco(path),
        lambda path, annotations, choices: write_coco(path, annotations, choices.masks),
        frozenset(("masks", "crowd", *FLAGS, EXTRA)),
    ),
    "panoptic": Form(
        "folder with panoptic.json and PNGs, one segment a pixel",
        _panoptic,
        lambda folder, annotations, choices: write_panoptic_files(folder, annotations),
        frozenset(("masks", "crowd", "segment_id")),
        folder=True,
    ),
    "boxes": Form(
        "CSV with one row a box",
        lambda path, choices: read_boxes(path),
        lambda path, annotations, choices: write_boxes(path, annotations),
        frozenset((*FLAGS, "crowd")),
    ),
    "yolo": Form(
        "folder of YOLO's text files, boxes; --images for the sizes when read",
        lambda folder, choices: read_yolo(folder, picture_finder(choices.images)),
        lambda folder, annotations, choices: write_yolo(folder, annotations),
        frozenset(),
        folder=True,
    ),
    "cvat": Form(
        "CVAT for images 1.1, XML with boxes, polygons, masks",
        lambda path, choices: read_cvat(path),
        lambda path, annotations, choices: write_cvat(path, annotations),
        frozenset(("masks", "occluded", "attributes", "source", "z_order", "group_id")),
    ),
    "dsb": Form(
        "CSV of the Data Science Bowl 2018, runs; --images for the sizes when read",
        lambda path, choices: read_runs(
            path, False, size_by_picture(picture_finder(choices.images))
        ),
        lambda path, annotations, choices: write_runs(path, annotations, False),
        frozenset(("masks",)),
    ),
    "siim": Form(
        "CSV of the SIIM-ACR pneumothorax contest, relative runs",
        lambda path, choices: read_runs(path, True, _sizes(choices)),
        lambda path, annotations, choices: write_runs(path, annotations, True),
        frozenset(("masks",)),
    ),
    "labels": Form(
        "folder of label PNGs, the value is the instance",
        read_label_folder,
        write_label_folder,
        frozenset(("masks",)),
        folder=True,
    ),
}


def recognise(source: Path) -> str:
    """The form of a file or folder, by its name and what is in it.

    Raises:
        FileNotFoundError: It is not there.
        DataError: Nothing is recognised, or it could be several.
    """
    if not source.exists():
        raise FileNotFoundError(f"{source}: is not there")
    if source.is_dir():
        if find_list(source):
            return "panoptic"
        if any(source.glob("*.xml")) or any(source.glob("Annotations/*.xml")):
            return "voc"
        return "yolo" if (source / "classes.txt").is_file() else "labels"
    suffix = source.suffix.lower()
    if suffix == ".xml":
        return "cvat"
    if suffix == ".json":
        rows = read_json(source, "annotations")["annotations"]
        return "panoptic" if any("segments_info" in row for row in rows[:1]) else "coco"
    if suffix == ".csv":
        try:
            next(read_table(source, COLUMNS[:8]), None)
        except DataError as error:
            raise DataError(
                f"{source}: is no table of boxes; if it has runs, say --from dsb or --from siim, for the "
                "file does not tell which"
            ) from error
        return "boxes"
    raise DataError(f"{source}: expected a folder, or a file ending in .json, .xml or .csv")


def losses(annotations: Annotations, form: Form) -> list[str]:
    """What a form cannot hold of these annotations: a line for each kind, with the number of objects."""
    counts: Counter[str] = Counter()
    for picture in annotations.pictures:
        for thing in picture.objects:
            has = [flag for flag in (*FLAGS, "crowd") if getattr(thing, flag)]
            has += ["masks"] if thing.segmentation is not None else []
            if EXTRA not in form.keeps:
                has += [
                    key for key, value in thing.extra.items() if value not in ("", "Unspecified")
                ]
            counts.update(set(has) - form.keeps - {"area", "id"})
    if form.keeps == {"masks"}:
        counts["class"] = sum(
            len(p.objects) for p in annotations.pictures if len(annotations.classes) > 1
        )
    return [f"{name} of {count} objects" for name, count in sorted(counts.items()) if count]
