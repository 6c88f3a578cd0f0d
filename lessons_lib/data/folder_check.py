"""Look through a folder of your own pictures for everything that is wrong or worth knowing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import skimage.measure
from tqdm import tqdm

from .annotations import paint_masks
from .checks import Report
from .errors import DataError
from .files import read_pixels
from .folder import split_pictures
from .folder_files import FolderPicture, find_folder, without_crowds
from .instances import renumber
from .object_sizes import ObjectSizes, object_sizes, suggest_crop, suggest_unit

TINY = 10
"""Pixels; an object with fewer is worth a note."""
OUTLIER = 8
"""An object this many times as long as the median diameter is worth a note."""


@dataclass
class FolderReport(Report):
    """What the check of a folder found.

    ``kinds`` are the pictures of each bit depth and colour.

    Attributes:
        shapes: the pictures of each (height, width).
        counts: of each readable picture, the number of its objects.
        halves: pictures to train on and to measure on.
        bytes: memory of all pictures and labels while training.
        sizes: of all objects.
    """

    shapes: Counter[tuple[int, int]] = field(default_factory=Counter)
    counts: list[int] = field(default_factory=list)
    halves: tuple[int, int] = (0, 0)
    bytes: int = 0
    sizes: ObjectSizes = field(default_factory=lambda: object_sizes([]))


def check_folder(folder: Path, progress: bool = True) -> FolderReport:
    """Read every file of a folder in the layout of :class:`~lessons_lib.data.InstanceFolder`.

    Problems are: a picture without labels or labels without a picture, two files of one name, an unreadable
    or truncated file, a stack of several pages, float pictures, labels of another size than their picture, in
    colour, of float type or with negative ids, a COCO file that names absent pictures or has boxes only, and
    a folder without a single object. Notes are: files that are passed over, pictures without objects or of
    one value, instances in several pieces, tiny or very large instances, masks that overlap, crowds, and
    pictures of several bit depths or colours.

    Raises:
        FileNotFoundError: Nothing of the kind is there at all.
        DataError: A COCO file is broken, or it cannot be told which labels are meant.
    """
    found = find_folder(folder)
    report = FolderReport(
        problems=[problem for part in found.parts for problem in part.problems],
        notes=list(found.notes),
    )
    pictures = [picture for part in found.parts for picture in part.pictures]
    if len(found.parts) == 2:
        report.halves = len(found.parts[0].pictures), len(found.parts[1].pictures)
    else:
        halves = split_pictures(pictures)
        report.halves = len(halves[0]), len(halves[1])
    labels = []
    for picture in tqdm(pictures, desc="check", unit="picture", disable=not progress):
        instances = _check_picture(picture, report)
        if instances is not None:
            labels.append(object_sizes([instances]))
    report.sizes = ObjectSizes(
        np.concatenate([sizes.diameters for sizes in labels] or [np.empty(0)]),
        np.concatenate([sizes.lengths for sizes in labels] or [np.empty(0)]),
    )
    _check_whole(folder, report)
    return report


def _check_picture(picture: FolderPicture, report: FolderReport) -> np.ndarray | None:
    """Check one picture and its labels; the labels as stored, None if they cannot be read."""
    report.pictures += 1
    try:
        pixels = read_pixels(picture.image)
    except DataError as error:
        report.problems.append(str(error))
        return None
    size = pixels.shape[0], pixels.shape[1]
    colour = "gray" if pixels.ndim == 2 else "colour"
    report.kinds[f"{8 * pixels.dtype.itemsize} bits {colour}"] += 1
    report.shapes[size] += 1
    if pixels.min() == pixels.max():
        report.notes.append(f"{picture.image}: all pixels are {pixels.min()}")
    try:
        labels = picture.read_labels(size)
    except DataError as error:
        report.problems.append(str(error))
        return None
    compact = renumber(labels)
    count = int(compact.max(initial=0))
    report.counts.append(count)
    report.instances += count
    report.bytes += pixels.nbytes + labels.size * (2 if count < 65536 else 4)
    where = f"{picture.truth}: " + ("" if picture.marked is None else f"{picture.image.name}: ")
    if picture.marked is not None:
        _check_masks(where, picture, report)
    _check_instances(where, labels, count, report)
    return compact


def _check_masks(where: str, picture: FolderPicture, report: FolderReport) -> None:
    """Notes on what a label map cannot hold of a COCO entry."""
    assert picture.marked is not None
    kept = without_crowds(picture.marked)
    if crowds := len(picture.marked.objects) - len(kept.objects):
        report.notes.append(f"{where}{crowds} objects are crowds, taken as background")
    if lost := paint_masks(kept)[1]:
        report.notes.append(f"{where}masks overlap in {lost} pixels; the later one has them")


def _check_instances(where: str, labels: np.ndarray, count: int, report: FolderReport) -> None:
    """Notes on the instances of one picture; ``labels`` are the ids of the file."""
    if count == 0:
        report.notes.append(f"{where}no object in it; right only if the picture shows none")
        return
    ids, areas = np.unique(labels[labels > 0], return_counts=True)
    pieces = skimage.measure.label(labels, background=0, connectivity=2)
    owner = np.zeros(int(pieces.max()) + 1, labels.dtype)
    owner[pieces] = labels
    _, per_id = np.unique(owner[1:], return_counts=True)
    if count == 1 and per_id[0] > 1:
        report.notes.append(
            f"{where}one id, {ids[0]}, in {per_id[0]} pieces; if these are {per_id[0]} objects, each needs an id "
            "of its own (skimage.measure.label gives them)"
        )
    elif (split := ids[per_id > 1]).size:
        report.notes.append(f"{where}in several pieces: {_listed(split)}")
    if (tiny := ids[areas < TINY]).size:
        report.notes.append(f"{where}fewer than {TINY} pixels: {_listed(tiny)}")


def _check_whole(folder: Path, report: FolderReport) -> None:
    """What only all pictures together show."""
    if report.counts and not report.instances:
        report.problems.append(f"{folder}: no object in any picture; there is nothing to learn")
    if len(report.kinds) > 1:
        kinds = ", ".join(f"{count} of {kind}" for kind, count in sorted(report.kinds.items()))
        report.notes.append(
            f"{folder}: pictures differ: {kinds}; each is scaled by its own percentiles"
        )
    if report.instances and report.sizes.longest > OUTLIER * report.sizes.median:
        report.notes.append(
            f"{folder}: the longest object is {report.sizes.longest:.0f} px long, the median diameter is "
            f"{report.sizes.median:.0f} px; is it one object?"
        )
    if report.pictures == 1:
        report.notes.append(f"{folder}: one picture; it will be trained on and measured on")


def _listed(ids: Sequence[int] | np.ndarray, most: int = 5) -> str:
    shown = ", ".join(str(number) for number in ids[:most])
    more = f" and {len(ids) - most} more" if len(ids) > most else ""
    return f"{len(ids)} instances (ids {shown}{more})" if len(ids) > 1 else f"instance {shown}"


def count_problems(report: Report) -> str:
    """ "no problems", "1 problem", "2 problems"."""
    count = len(report.problems)
    return f"{count or 'no'} problem{'' if count == 1 else 's'}"


def describe_folder(folder: Path, report: FolderReport) -> list[str]:
    """The lines of a summary, with settings that suit."""
    shapes = ", ".join(f"{w}×{h} ({n})" for (h, w), n in report.shapes.most_common(5))
    more = f" and {len(report.shapes) - 5} more" if len(report.shapes) > 5 else ""
    kinds = ", ".join(f"{kind} ({count})" for kind, count in report.kinds.most_common())
    lines = [
        f"{folder}: {report.pictures} pictures, {report.instances} instances, "
        f"{count_problems(report)}, {len(report.notes) or 'no'} notes",
        f"sizes (width×height): {shapes or 'none'}{more}",
        f"pixels: {kinds or 'none'}; {report.bytes / 1e6:,.0f} MB in memory while training",
        f"split: {report.halves[0]} to train on, {report.halves[1]} to measure on",
    ]
    if not report.instances:
        return lines
    sizes = report.sizes
    least, most = np.percentile(sizes.diameters, [5, 95])
    lines += [
        f"objects: {min(report.counts)} to {max(report.counts)} in a picture; diameter {sizes.median:.0f} px "
        f"(median; {least:.0f} to {most:.0f} for nine tenths of them), the longest {sizes.longest:.0f} px",
        f"suits: --set size={suggest_crop(sizes)} (side of the crops), --set unit={suggest_unit(sizes):.0f} "
        "(reach of an offset; the recipe takes it by itself)",
    ]
    if sizes.longest > 256:
        lines.append("the objects are large: pictures of half the size train four times faster")
    elif sizes.median < 6:
        lines.append(
            "the objects are small: in pictures enlarged two times they are told apart better"
        )
    return lines
