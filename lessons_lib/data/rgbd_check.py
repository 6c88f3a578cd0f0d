"""Look through the RGB-D saliency sets for everything that is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .checks import Report
from .errors import DataError
from .picture_sets import Part
from .rgbd_layouts import SETS, SPLITS
from .rgbd_saliency import NEAR, find_saliency

FEW = 10
"""Fewer pictures say nothing about the sign of the depth."""


def find_parts(folder: Path) -> Iterator[tuple[str, Part]]:
    """Every part that is there, with its set's name.

    Raises:
        FileNotFoundError: None is.
    """
    found = False
    for name, known in SETS.items():
        for split in SPLITS if known.train else ("test",):
            try:
                part = find_saliency(folder, name, split)
            except FileNotFoundError:
                continue
            found = True
            yield name, part
    if not found:
        raise FileNotFoundError(
            f"{folder}: none of {', '.join(SETS)} is here; `lessons data fetch rgbd-saliency` says what to do"
        )


@dataclass
class Signs:
    """How often the salient object is nearer than the rest of its picture."""

    nearer: Counter[bool] = field(default_factory=Counter)

    def add(self, near: np.ndarray, mask: np.ndarray) -> None:
        """Count one picture, unless its object or its ground has no depth."""
        measured = near > 0
        inside, outside = near[mask & measured], near[~mask & measured]
        if inside.size and outside.size:
            self.nearer[bool(np.median(inside) > np.median(outside))] += 1

    def note(self, name: str, near: str) -> str | None:
        """A line where the objects are mostly farther, from :data:`FEW` pictures on."""
        total = self.nearer.total()
        if total < FEW or self.nearer[True] >= total / 2:
            return None
        other = NEAR[1 - NEAR.index(near)]
        return (
            f"{name}: the salient object is the nearer part in {self.nearer[True]} of {total} pictures, if near is "
            f"{near}; this copy may have it the other way round: RGBDSaliency({name!r}, …, near={other!r})"
        )


def check_saliency(folder: Path, progress: bool = True) -> Report:
    """Read every file of the sets in a folder and list all problems; ``kinds`` are the pictures of each part.

    Problems are: a picture that lacks its depth or truth, or the reverse, a broken file, another size than the
    picture's, a truth without an object or of nothing else, and a depth map of one value. Notes: a sign that looks
    wrong, and another number of pictures than the papers count.

    Raises:
        FileNotFoundError: None of the sets is there.
    """
    report = Report()
    for name, part in tqdm(
        list(find_parts(folder)), desc="check", unit="part", disable=not progress
    ):
        report.problems += part.problems
        signs = Signs()
        for picture in part.pictures:
            report.pictures += 1
            report.kinds[part.name] += 1
            try:
                _, near, mask = picture.read()
            except DataError as error:
                report.problems.append(str(error))
                continue
            if mask.all() or not mask.any():
                marked = "everything" if mask.any() else "nothing"
                report.problems.append(f"{picture.truth}: marks {marked} as salient")
            if len(np.unique(near[near > 0])) < 2:
                report.problems.append(f"{picture.depth}: has one value only; it says nothing")
            signs.add(near, mask)
        if note := signs.note(name, SETS[name].near):
            report.notes.append(note)
        wanted = SETS[name].train if part.name.endswith("train") else SETS[name].test
        if len(part.pictures) != wanted:
            report.notes.append(f"{part.name}: {len(part.pictures)} pictures; papers have {wanted}")
    return report
