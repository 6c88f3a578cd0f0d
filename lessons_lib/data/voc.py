"""Pascal VOC: twenty kinds of things and the background.

Everingham, Eslami, Van Gool, Williams, Winn, Zisserman, *The Pascal Visual Object Classes Challenge:
A Retrospective*, IJCV 111, 2015.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from .boxed import BoxedPicture, check_boxed
from .checks import Report
from .files import read_label_pixels
from .labelled import IGNORE, LabelledPictures, listed, look_up, table
from .labelled_check import check_labelled
from .palettes import voc_palette
from .picture_sets import Part, check_choice, data_folder, list_files, read_lines

TASKS = ("segmentation", "detection")
YEARS = ("2007", "2008", "2009", "2010", "2011", "2012")
SPLITS = ("train", "val", "trainval", "trainaug", "test")
FLAGS = ("difficult", "truncated", "ignore")
CLASSES = table({**{k: k for k in range(21)}, IGNORE: IGNORE})


class VOC(LabelledPictures):
    """Photographs with the classes of Pascal VOC, about 500×375 pixels.

    Samples as in :class:`~lessons_lib.data.LabelledPictures`: 0 background, 1..20 the classes in
    alphabetical order, 255 the border between objects and what is too difficult. The label files are
    palette PNGs: the index counts, not the colour. Any other index is an error.

    Layout of the development kit, in the folder itself or in ``VOCdevkit`` or ``TrainVal/VOCdevkit``
    there: ``VOC<year>/JPEGImages/<id>.jpg``, ``VOC<year>/SegmentationClass/<id>.png``, and the lists
    ``VOC<year>/ImageSets/Segmentation/<split>.txt``.

    **More training pictures.** Hariharan et al. (*Semantic Contours from Inverse Detectors*, ICCV
    2011) outlined the objects of about 9,000 more pictures. As usually distributed, all label files are in
    ``SegmentationClassAug`` as gray PNGs, and the list of the 10,582 training pictures is
    ``ImageSets/Segmentation/trainaug.txt`` (or ``train_aug.txt``): read with ``split="trainaug"``.

    **Boxes.** With ``task="detection"`` samples have ``image``, ``boxes`` float32 (N, 4) as x1, y1, x2, y2 in
    px (x2, y2 exclusive), ``labels`` int64 (N,), ``difficult``, ``truncated`` and ``ignore`` bool (N,), and
    ``id``, from ``VOC<year>/Annotations/<id>.xml`` and the lists ``VOC<year>/ImageSets/Main/<split>.txt``.
    The files number pixels from 1 and name the last one that belongs to the object, so x1 is xmin - 1 and
    x2 is xmax. ``ignore`` is what VOC's evaluation leaves out, whether found or not: the difficult
    objects. Boxes without a pixel are left out.

    Args:
        root: Folder of the data set; None means ``lessons_lib.data.root() / "voc"``.
        split: "train", "val", "trainval" or "trainaug"; "test" for 2007 only, later truths are
            withheld.
        year: "2007" to "2012".
        download: Fetch the training and validation pictures of 2012 if nothing is there yet.
        task: "segmentation" or "detection".

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DataError: A file of the list is missing or broken, a label unknown, or sizes differ.
        ValueError: Unknown split, year or task.
    """

    NAME: ClassVar[str] = "voc"
    CLASSES: ClassVar[tuple[str, ...]] = (
        "background",
        *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
        *("train", "tvmonitor"),
    )
    PALETTE: ClassVar[np.ndarray] = voc_palette(21)

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "train",
        year: str = "2012",
        download: bool = False,
        task: str = "segmentation",
    ) -> None:
        check_choice("split", split, SPLITS)
        check_choice("year", str(year), YEARS)
        check_choice("task", task, TASKS)
        if task == "detection" and split == "trainaug":
            raise ValueError(
                "split is 'trainaug', task is 'detection'; those pictures have no boxes"
            )
        if split == "test" and str(year) != "2007":
            raise ValueError(f"split is 'test', year is {year!r}; only 2007 has its test labels")
        if download and str(year) != "2012":
            raise ValueError(f"year is {year!r}; only 2012 can be downloaded")
        self.year, self.task = str(year), task
        folder = data_folder(self.NAME, root, download)
        super().__init__(folder, split, find_part(find_kit(folder, self.year), split, task))

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels as stored and classes uint8 (H, W), 255 = ignore; ValueError in detection."""
        if self.task == "detection":
            raise ValueError(
                "task is 'detection': there is no class for every pixel; index instead"
            )
        return super().read(index)


def find_kit(folder: Path, year: str) -> Path:
    """The folder ``VOC<year>``.

    Raises:
        FileNotFoundError: It is in none of the usual places.
    """
    for base in (folder, *(folder / up for up in ("VOCdevkit", "TrainVal/VOCdevkit"))):
        if (base / f"VOC{year}" / "JPEGImages").is_dir():
            return base / f"VOC{year}"
    # unpacked by fetch, which puts the archive's own folders into one of its name
    for base in sorted(folder.glob(f"*/VOCdevkit/VOC{year}")):
        return base
    raise FileNotFoundError(
        f"{folder}: no VOC{year}/JPEGImages here, nor in VOCdevkit. Fetch 2012 with `lessons data "
        "fetch voc`, or put the development kit there"
    )


def find_part(kit: Path, split: str, task: str = "segmentation") -> Part:
    """The pictures of one list; nothing is decoded."""
    if task == "detection":
        ids = [line.split()[0] for line in read_lines(kit / "ImageSets" / "Main" / f"{split}.txt")]
        image, truth = f"{kit}/JPEGImages/{{}}.jpg", f"{kit}/Annotations/{{}}.xml"
        files, problems = list_files(split, ids, image, truth)
        pictures = [BoxedPicture(*paths, VOC.CLASSES, "pixels", flags=FLAGS) for paths in files]
        return Part(split, pictures, problems)
    lists = kit / "ImageSets" / "Segmentation"
    path = lists / f"{split}.txt"
    labels = "SegmentationClass"
    if split == "trainaug":
        labels = "SegmentationClassAug"
        path = path if path.is_file() else lists / "train_aug.txt"
    ids = [Path(line.split()[0]).stem for line in read_lines(path)]
    return listed(split, ids, f"{kit}/JPEGImages/{{}}.jpg", f"{kit}/{labels}/{{}}.png", read_voc)


def latest_kit(folder: Path) -> Path:
    """The folder ``VOC<year>`` of the latest year that is there.

    Raises:
        FileNotFoundError: None is there.
    """
    years = [year for year in YEARS if any(folder.glob(f"**/VOC{year}/JPEGImages"))]
    return find_kit(folder, years[-1] if years else YEARS[-1])


def find_parts(folder: Path) -> Iterator[Part]:
    """Every list that is there, of the latest year that is there."""
    kit = latest_kit(folder)
    for split in ("train", "val"):
        yield find_part(kit, split)
    if (kit / "SegmentationClassAug").is_dir():
        yield find_part(kit, "trainaug")


def find_boxed_parts(folder: Path) -> Iterator[Part]:
    """The lists for detection that are there, of the year that :func:`find_parts` takes."""
    kit = latest_kit(folder)
    for split in ("train", "val"):
        if (kit / "ImageSets" / "Main" / f"{split}.txt").is_file():
            part = find_part(kit, split, "detection")
            yield Part(f"{split} with boxes", part.pictures, part.problems)


def check_voc(folder: Path, progress: bool = True) -> Report:
    """As :func:`check_labelled`, and as :func:`check_boxed` where there are lists for detection."""
    report, boxes = (
        check(parts, folder, progress)
        for check, parts in ((check_labelled, find_parts), (check_boxed, find_boxed_parts))
    )
    return Report(
        report.pictures + boxes.pictures,
        report.instances + boxes.instances,
        report.kinds + boxes.kinds,
        report.problems + boxes.problems,
    )


def read_voc(path: Path) -> np.ndarray:
    """Classes uint8 (H, W) of a palette PNG or a gray PNG with the indices."""
    return look_up(path, read_label_pixels(path), CLASSES, "0..20 and 255")
