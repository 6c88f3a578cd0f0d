"""Folders of saliency maps, scored against folders of truths: what ``lessons evaluate-maps`` does."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from lessons_lib.data.bitmaps import read_bitmap
from lessons_lib.data.errors import DataError
from lessons_lib.data.files import (
    PICTURE_SUFFIXES,
    PathLike,
    read_label_pixels,
    read_pixels,
    write_bytes,
)
from lessons_lib.data.headers import PNG_SIGNATURE
from lessons_lib.data.rgbd_saliency import salient

from .scores import SaliencyScores

SUFFIXES = (*PICTURE_SUFFIXES, ".bmp")
MOST_NAMES = 5


@dataclass
class MapsReport:
    """What was found in two folders.

    Attributes:
        scores: the measures of all maps that could be scored, as :meth:`SaliencyScores.compute` gives them.
        rows: those of each map, by its name.
        problems: a line for each file that could not be scored.
        notes: lines about what was done with the others.
    """

    scores: dict[str, float] = field(default_factory=dict)
    rows: dict[str, dict[str, float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def write_csv(self, path: PathLike) -> None:
        """Writes a line a map, the file whole or not at all.

        Raises:
            OSError: it cannot be written, or there is no such folder.
        """
        text = io.StringIO()
        table = csv.DictWriter(text, ["name", *self.scores], lineterminator="\n")
        table.writeheader()
        for name, row in self.rows.items():
            table.writerow({"name": name} | {key: f"{value:.6f}" for key, value in row.items()})
        write_bytes(path, text.getvalue().encode("utf-8"))


def score_maps(
    predictions: PathLike,
    truths: PathLike,
    *,
    normalize: bool = True,
    weighted_f: bool = True,
    boundary_f: bool = False,
) -> MapsReport:
    """Scores the maps of a folder as authors of saliency networks do.

    Files are paired by their names without suffix: PNG, JPEG, TIFF or BMP, gray or in colour (then its
    luminance), of 8 or 16 bits. A truth is salient above half of white; one that holds 0 and 1 only, as numbers or
    as indices of a palette of dark colours, is salient where it is 1. Notes name the truths in which nothing is
    salient, or everything. A prediction of another size is resized to its truth's, bilinearly. What has no partner
    or cannot be read is left out and named; a prediction without a truth is no problem.

    Args:
        predictions: folder of the maps; subfolders and hidden files are left alone.
        truths: folder of the masks.
        normalize: stretch each map to 0..1 first.
        weighted_f, boundary_f: whether these are computed too.

    Raises:
        DataError: no such folder, or nothing in them could be scored.
    """
    maps, masks = _by_name(Path(predictions)), _by_name(Path(truths))
    report, scores = MapsReport(), SaliencyScores(
        normalize=normalize, weighted_f=weighted_f, boundary_f=boundary_f
    )  # fmt: skip
    resized: list[str] = []
    empty: list[str] = []
    full: list[str] = []
    for name, found in masks.items():
        try:
            truth = _mask(_only(found))
            found_map = _only(maps.get(name, []), missing=f"{predictions}: no map {name}")
            prediction = _luminance(_pixels(found_map))
            if prediction.shape != truth.shape:
                resized.append(name)
                prediction = cv2.resize(prediction, truth.shape[::-1])
            if prediction.dtype == np.uint16:
                prediction = prediction / 65535
            (report.rows[name],) = scores.update(prediction, truth)
            if not truth.any():
                empty.append(name)
            elif truth.all():
                full.append(name)
        except DataError as error:
            report.problems.append(str(error))
    if not report.rows:
        why = report.problems[0] if report.problems else f"{truths}: no picture in this folder"
        raise DataError(f"no map could be scored; {why}")
    report.scores = scores.compute()
    if resized:
        report.notes.append(f"resized to the truth's size, bilinearly: {_names(resized)}")
    if empty:
        report.notes.append(f"nothing is salient in the truth: {_names(empty)}")
    if full:
        report.notes.append(f"everything is salient in the truth: {_names(full)}")
    if more := [name for name in maps if name not in masks]:
        report.notes.append(f"without a truth, not scored: {_names(more)}")
    return report


def _by_name(folder: Path) -> dict[str, list[Path]]:
    """The pictures of a folder by their names without suffix."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith("."):
            found.setdefault(path.stem, []).append(path)
    return found


def _only(paths: list[Path], missing: str = "") -> Path:
    if not paths:
        raise DataError(missing)
    if len(paths) > 1:
        raise DataError(f"{paths[0]}: so is {paths[1].name} called; expected one file of a name")
    return paths[0]


def _mask(path: Path) -> np.ndarray:
    """A truth as bool (H, W)."""
    pixels = _pixels(path)
    if pixels.ndim == 3 and pixels.max() <= 1:
        pixels = pixels.max(2)
    gray = _luminance(pixels)
    mask = salient(gray)
    if mask.any() or _png_colours(path) not in (0, 3):
        return mask
    # the colours of a palette may be dark, as Pascal VOC's are: if only two are used, the first is the background
    indices = read_label_pixels(path)
    if set(np.unique(indices)) != {0, 1} or gray[indices == 0].max() > gray[indices == 1].max():
        return mask
    meant: np.ndarray = indices == 1
    return meant


def _png_colours(path: Path) -> int | None:
    """The colour type that a PNG names in its header: 0 is gray, 3 a palette; None for other files."""
    with path.open("rb") as file:
        start = file.read(26)
    return start[25] if start.startswith(PNG_SIGNATURE) else None


def _pixels(path: Path) -> np.ndarray:
    """A picture as uint8 or uint16, (H, W), or (H, W, 3) where its channels differ."""
    return read_bitmap(path) if path.suffix.lower() == ".bmp" else read_pixels(path)


def _luminance(pixels: np.ndarray) -> np.ndarray:
    """Of a picture in colour, of its type (H, W)."""
    return pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def _names(names: Iterable[str]) -> str:
    """The first few, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - MOST_NAMES} more" if len(listed) > MOST_NAMES else ""
    return ", ".join(listed[:MOST_NAMES]) + more
