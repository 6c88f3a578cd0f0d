"""From picture files to files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from lessons_lib.data.errors import DataError
from lessons_lib.data.files import PICTURE_SUFFIXES
from lessons_lib.data.large_pictures import open_picture
from lessons_lib.training import Recipe

from .pictures import OVERLAP, TILE, predict_picture
from .result_files import ENDINGS, ResultFiles
from .writers import Labels, write_prediction


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
    .labels.png, .overlay.png and .csv. Old files of these names are replaced; all appear or none.

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
        with ResultFiles(out, path.stem) as files:
            return write_prediction(recipe, picture, prediction, files, labels)


def list_pictures(paths: Iterable[Path]) -> list[Path]:
    """The pictures of a list of files and folders, those of a folder by name.

    Of a folder, hidden files and what a prediction wrote there are left out; its subfolders are not searched.

    Raises:
        ValueError: a folder without pictures, or two pictures whose results would have the same names.
    """
    found: list[Path] = []
    for path in paths:
        inside = [path] if not path.is_dir() else sorted(filter(_is_picture, path.iterdir()))
        if not inside:
            raise ValueError(
                f"{path}: no picture in this folder; expected {', '.join(PICTURE_SUFFIXES)}"
            )
        found += inside
    stems = [path.stem for path in found]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"images has {twice} more than once; results are named after the files")
    return found


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
    text = str(error)  # a DataError names the file
    return text if isinstance(error, DataError) or str(path) in text else f"{path}: {text}"
