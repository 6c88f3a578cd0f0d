"""A folder of pictures with label pictures or a COCO file: what is in it, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

import numpy as np

from .annotations import MarkedPicture, paint_masks
from .checks import check_size
from .coco_json import read_coco
from .errors import DataError
from .files import PICTURE_SUFFIXES, read_label_pixels
from .instances import renumber
from .picture_sets import Part

LABEL_SUFFIXES = (".png", ".tif", ".tiff")
PARTS = ("train", "val")
LAYOUT = (
    "images/ with pictures (.png, .jpg, .tif) and labels/ with a label picture of the same name for each "
    "(.png, .tif), or images/ and one COCO file annotations.json"
)


@dataclass(frozen=True)
class FolderPicture:
    """One picture and where its instances are: in a label picture, or in an entry of a COCO file.

    Attributes:
        id: the file's name without its ending; with the folder ``train`` or ``val`` no more.
        image: file of the picture.
        truth: file of the labels.
        marked: the entry, where ``truth`` is a COCO file.
    """

    id: str
    image: Path
    truth: Path
    marked: MarkedPicture | None = None

    def read_labels(self, size: tuple[int, ...]) -> np.ndarray:
        """Integers (H, W): the ids of the label picture, or 1, 2, … in the order of the COCO file.

        Where masks of a COCO file overlap, the later one keeps the pixels; its crowds are background.

        Args:
            size: (H, W) of the picture, which the labels must have too.

        Raises:
            DataError: A file is broken, of another size, or no label picture.
        """
        if self.marked is not None:
            check_size(self.truth, self.marked.size, self.image, size)
            try:
                return paint_masks(without_crowds(self.marked))[0]
            except DataError as error:
                raise DataError(f"{self.truth}: {error}") from error
        labels = read_label_pixels(self.truth)
        check_size(self.truth, labels.shape, self.image, size)
        if labels.size and int(labels.min()) < 0:
            raise DataError(
                f"{self.truth}: has the id {labels.min()}; ids are 0 (background) and up"
            )
        return labels

    def read_instances(self, size: tuple[int, ...]) -> np.ndarray:
        """Instances int32 (H, W): :meth:`read_labels` with the ids 1..K, in the same order."""
        return renumber(self.read_labels(size))


@dataclass(frozen=True)
class FoundFolder:
    """What a folder holds.

    Attributes:
        parts: one part ("all"), or two ("train", "val"), each with its pictures by rising id and a line for
            everything that is wrong.
        notes: a line for everything that is passed over or worth knowing.
    """

    parts: tuple[Part, ...]
    notes: list[str] = field(default_factory=list)


def find_folder(folder: Path) -> FoundFolder:
    """The pictures of a folder with their labels; no picture is decoded.

    Raises:
        FileNotFoundError: The folder is not there, or nothing of the kind is in it.
        DataError: A COCO file is broken, or it cannot be told which labels are meant.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    halves = [name for name in PARTS if (folder / name / "images").is_dir()]
    if not halves:
        notes: list[str] = []
        return FoundFolder((_find_part("all", folder, notes),), notes)
    if len(halves) == 1:
        (other,) = set(PARTS) - set(halves)
        raise DataError(
            f"{folder}: has {halves[0]}/images but no {other}/images; give both, or one images/ for all"
        )
    notes = []
    if (folder / "images").is_dir():
        notes.append(f"{folder / 'images'}: passed over, since there are train/ and val/")
    parts = tuple(_find_part(name, folder / name, notes) for name in PARTS)
    both = sorted({p.id for p in parts[0].pictures} & {p.id for p in parts[1].pictures})
    if both:
        notes.append(f"{folder}: {len(both)} names are in train and in val, such as {both[0]!r}")
    return FoundFolder(parts, notes)


def without_crowds(picture: MarkedPicture) -> MarkedPicture:
    """The picture without objects that are marked as a crowd, which are not single instances."""
    objects = tuple(thing for thing in picture.objects if not thing.crowd)
    return MarkedPicture(picture.file_name, picture.size, objects, picture.extra)


def _find_part(name: str, base: Path, notes: list[str]) -> Part:
    """The pictures below one folder; adds to ``notes``."""
    problems: list[str] = []
    if not (base / "images").is_dir():
        raise FileNotFoundError(f"{base}: has no folder images; expected {LAYOUT}")
    images = _files(base / "images", PICTURE_SUFFIXES, "picture", problems, notes)
    coco = _coco_file(base, notes)
    if coco is None and not (base / "labels").is_dir():
        raise FileNotFoundError(f"{base}: has no labels; expected {LAYOUT}")
    find = _from_labels if coco is None else _from_coco
    pictures = find(base / "labels" if coco is None else coco, images, problems, notes)
    if not images and not problems:
        problems.append(f"{base / 'images'}: no picture in it; expected {LAYOUT}")
    return Part(name, pictures, problems)


def _files(
    folder: Path, suffixes: tuple[str, ...], kind: str, problems: list[str], notes: list[str]
) -> dict[str, Path]:
    """The files of a folder by stem; hidden ones are left out without a word."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            notes.append(f"{path}: a folder, passed over")
        elif path.suffix.lower() not in suffixes:
            lossy = kind == "label" and path.suffix.lower() in PICTURE_SUFFIXES
            why = "JPEG changes the ids" if lossy else f"no {kind} that is read here"
            ending = ", ".join(suffixes)
            (problems if lossy else notes).append(f"{path}: {why}; expected {ending}")
        elif path.stem in found:
            problems.append(
                f"{path}: has the same name as {found[path.stem].name} but for the ending; rename or "
                "remove one, labels are found by the name"
            )
        else:
            found[path.stem] = path
    return found


def _coco_file(base: Path, notes: list[str]) -> Path | None:
    """``annotations.json``, or the only JSON file of a folder; None if there is none.

    Beside ``labels/`` other JSON files (settings, notes of a tool) are passed over, with a note for each.

    Raises:
        DataError: ``annotations.json`` beside ``labels/``, or several files, none of that name.
    """
    usual, labels = base / "annotations.json", (base / "labels").is_dir()
    if usual.is_file():
        if labels:
            raise DataError(
                f"{base}: has labels/ and {usual.name}; keep one, for only one can be meant"
            )
        return usual
    files = sorted(path for path in base.glob("*.json") if not path.name.startswith("."))
    if labels:
        notes += [f"{path}: passed over, since there is labels/" for path in files]
        return None
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        raise DataError(f"{base}: has {names}; call the COCO file annotations.json")
    return files[0] if files else None


def _from_labels(
    folder: Path, images: Mapping[str, Path], problems: list[str], notes: list[str]
) -> list[FolderPicture]:
    labels = _files(folder, LABEL_SUFFIXES, "label", problems, notes)
    for stem in sorted(images.keys() - labels.keys()):
        problems.append(
            f"{images[stem]}: has no labels; expected {folder / stem}.png or .tif (all 0 if there is no "
            "object in the picture)"
        )
    for stem in sorted(labels.keys() - images.keys()):
        problems.append(
            f"{labels[stem]}: has no picture of that name in {folder.parent / 'images'}"
        )
    return [
        FolderPicture(stem, images[stem], labels[stem])
        for stem in sorted(images.keys() & labels.keys())
    ]


def _from_coco(
    path: Path, images: Mapping[str, Path], problems: list[str], notes: list[str]
) -> list[FolderPicture]:
    annotations = read_coco(path)
    here = {image.name: image for image in images.values()}
    found: dict[str, FolderPicture] = {}
    for marked in annotations.pictures:
        name = _file_name(marked)
        if name not in here:
            problems.append(
                f"{path}: names {marked.file_name}, which is not in {path.parent / 'images'}"
            )
        elif here[name].stem in found:
            problems.append(f"{path}: names {name} more than once")
        else:
            boxes = sum(thing.segmentation is None for thing in marked.objects)
            if boxes:
                problems.append(
                    f"{path}: {boxes} of the {len(marked.objects)} objects of {name} have a box only; "
                    "instances need masks: polygons or run lengths in 'segmentation'"
                )
                continue
            found[here[name].stem] = FolderPicture(here[name].stem, here[name], path, marked)
    named = {_file_name(marked) for marked in annotations.pictures}
    problems += [
        f"{image}: is not named in {path}; list it there (without objects, if it shows none) or remove it"
        for name, image in sorted(here.items())
        if name not in named
    ]
    if len(annotations.classes) > 1:
        notes.append(f"{path}: its {len(annotations.classes)} classes are taken as one")
    return [found[stem] for stem in sorted(found)]


def _file_name(picture: MarkedPicture) -> str:
    """The bare name: tools write a.png, images/a.png, images\\a.png (on Windows) or a whole address."""
    return PureWindowsPath(picture.file_name).name  # takes both slashes
