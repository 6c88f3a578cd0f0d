"""Look through a folder of nuclei for everything that is wrong with it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .checks import Report
from .errors import DataError
from .files import read_pixels
from .instances import renumber
from .nuclei import kind_of
from .nuclei_files import NucleusPicture, find_pictures


def check_nuclei(folder: Path, progress: bool = True) -> Report:
    """Read every file of a nuclei folder, in either layout, and list all problems.

    Problems are: an unreadable or truncated file, a label or mask of another size than its
    picture, a picture without labels or labels without a picture, no nucleus at all, a mask
    without a pixel, masks that overlap, ids that are not 1..K.

    Raises:
        FileNotFoundError: There are no nuclei in the folder at all.
    """
    pictures, problems = find_pictures(folder)
    report = Report(problems=problems)
    for picture in _with_bar(pictures, progress):
        report.pictures += 1
        try:
            pixels = read_pixels(picture.image)
        except DataError as error:
            report.problems.append(str(error))
            continue
        report.kinds[kind_of(pixels)] += 1
        check = _check_labels if picture.truth.suffix == ".png" else _check_masks
        report.instances += check(picture, pixels.shape[:2], report.problems)
    return report


def _with_bar(pictures: list[NucleusPicture], progress: bool) -> Iterator[NucleusPicture]:
    bar: Iterable[NucleusPicture] = tqdm(
        pictures, desc="check", unit="picture", disable=not progress
    )
    yield from bar


def _check_labels(picture: NucleusPicture, size: tuple[int, ...], problems: list[str]) -> int:
    """Check one label picture; returns its number of instances."""
    try:
        labels = picture.read_instances(size)
        count = int(renumber(labels).max(initial=0))
    except DataError as error:
        problems.append(str(error))
        return 0
    largest = int(labels.max(initial=0))
    if count == 0:
        problems.append(f"{picture.truth}: no nucleus in it")
    elif count != largest:
        problems.append(f"{picture.truth}: ids have gaps, {count} of 1..{largest} are used")
    return count


def _check_masks(picture: NucleusPicture, size: tuple[int, ...], problems: list[str]) -> int:
    """Check the mask files of one picture; returns the number of its visible instances."""
    files = picture.mask_files()
    if not files:
        problems.append(f"{picture.truth}: no mask in it")
    owner = np.zeros(size, dtype=np.int32)
    for number, path in enumerate(files, start=1):
        try:
            mask = picture.read_mask(path, size)
        except DataError as error:
            problems.append(str(error))
            continue
        if not mask.any():
            problems.append(f"{path}: a mask without a pixel")
        hidden = owner[mask & (owner > 0)]
        if len(hidden):
            others = ", ".join(files[other - 1].name for other in np.unique(hidden))
            problems.append(f"{path}: overlaps {others} in {len(hidden)} pixels")
        owner[mask] = number
    return int(renumber(owner).max(initial=0))
