"""From picture files to files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from lessons_lib.data.errors import DataError
from lessons_lib.data.files import PICTURE_SUFFIXES
from lessons_lib.data.large_pictures import open_picture
from lessons_lib.training import Recipe

from .pictures import OVERLAP, TILE, predict_picture
from .result_files import ENDINGS, ResultFiles, holds
from .writers import Labels, write_prediction

EXPECTED = (ValueError, OSError, RuntimeError)
"""What says by itself what is wrong with a picture; other errors are called by their type."""


def predict_file(
    recipe: Recipe,
    model: nn.Module,
    options: Mapping[str, Any],
    path: Path,
    out: Path,
    *,
    tile: int = TILE,
    overlap: int = OVERLAP,
    labels: Labels = "png",
    progress: bool = False,
) -> str:
    """Predicts a picture file; writes what is found to ``out``, in files named after the picture.

    Instances: STEM.labels.png, .overlay.png, .coco.json and .csv. Masks: the same four; the label picture
    and the overlay show those that score 0.5 or more, by the numbers that they have in the tables, and
    where masks overlap the better one. Boxes: the same without the label picture. A class for every pixel:
    .labels.png, .overlay.png and .csv. Old files of these names are replaced; all appear or none. An old
    label picture in the other form goes, unless ``out`` is the picture's own folder.

    Args:
        recipe, model, options: as for :func:`predict_image`.
        path: of the picture: PNG, JPEG or TIFF, 8 or 16 bits, gray or colour.
        out: folder; made if it is not there.
        tile, overlap: of a picture that is larger than a tile, px: see :func:`predict_picture`.
        labels: ``"png"`` (8 or 16 bits; a TIFF of 32 where there are more than 65,535 instances) or
            ``"tiff"`` (16 or 32 bits).
        progress: show a bar where there are tiles, on a terminal.

    Returns:
        what was found, such as "12 instances".

    Raises:
        DataError: for a file that is no picture, or results that cannot be written.
        ValueError: for sizes that are none, or a picture too large for the recipe.
    """
    if labels not in ("png", "tiff"):
        raise ValueError(f'labels is {labels!r}; it must be "png" or "tiff"')
    with open_picture(path) as picture:
        prediction = predict_picture(
            recipe, model, options, picture, tile=tile, overlap=overlap, progress=progress
        )
        with ResultFiles(out, path.stem, tidy=not holds(out, path)) as files:
            return write_prediction(recipe, picture, prediction, files, labels)


def list_pictures(paths: Iterable[Path]) -> list[Path]:
    """The pictures of a list of files and folders, those of a folder by name.

    Of a folder, hidden files and what a prediction wrote there are left out; its subfolders are not searched.

    Two pictures whose results would have the same names are both in the list: see :func:`same_names`.

    Raises:
        ValueError: a folder without pictures, or the same file twice.
    """
    found: list[Path] = []
    for path in paths:
        inside = [path] if not path.is_dir() else sorted(filter(_is_picture, path.iterdir()))
        if not inside:
            raise ValueError(
                f"{path}: no picture in this folder; expected {', '.join(PICTURE_SUFFIXES)}"
            )
        found += inside
    files = Counter((path.stem, os.path.realpath(path)) for path in found)
    if twice := sorted({stem for (stem, _), count in files.items() if count > 1}):
        raise ValueError(f"images has {twice} more than once; results are named after the files")
    return found


def same_names(pictures: Iterable[Path]) -> dict[Path, Path]:
    """The pictures whose results would have the names of another's, each with such another one."""
    by_stem: dict[str, list[Path]] = {}
    for path in pictures:
        by_stem.setdefault(path.stem, []).append(path)
    return {
        path: next(other for other in paths if other != path)
        for paths in by_stem.values()
        if len(paths) > 1
        for path in paths
    }


def _is_picture(path: Path) -> bool:
    name = path.name.lower()
    return (
        path.is_file()
        and name.endswith(PICTURE_SUFFIXES)
        and not name.startswith(".")
        and not name.endswith(tuple(f".{ending}" for ending in ENDINGS))
    )


def explain(path: Path, error: Exception) -> str:
    """One line about what went wrong with a picture, which it names."""
    if isinstance(error, MemoryError):
        return f"{path}: not enough memory; smaller tiles need less"
    text = " ".join(str(error).splitlines())  # a DataError names the file
    if not isinstance(error, EXPECTED):
        text = f"unexpected {type(error).__name__}: {text}"
    return text if isinstance(error, DataError) or str(path) in text else f"{path}: {text}"
