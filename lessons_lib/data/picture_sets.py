"""What data sets of pictures and their truths share: parts, lists, folders, and the one base class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from torch.utils.data import Dataset

from .download import fetch_into, find_source
from .errors import DataError
from .paths import root as data_root

Files = tuple[str, Path, Path]  # id, picture, truth


class Picture(Protocol):
    """A picture with its truth, both in files that are read when they are asked for."""

    @property
    def id(self) -> str:
        """Name of the picture, the same in every layout."""

    @property
    def image(self) -> Path:
        """File of the picture."""

    @property
    def truth(self) -> Path:
        """File of the truth."""

    def size(self) -> tuple[int, int]:
        """(height, width), from the picture's header."""

    def sample(self) -> dict[str, Any]:
        """What a data set gives: ``image``, the truth, and ``id``."""


@dataclass(frozen=True)
class Part:
    """A part of a data set: its pictures, and a line for each that lacks something."""

    name: str
    pictures: Sequence[Any]  # of one kind of Picture
    problems: Sequence[str] = ()


class Pictures(Dataset[dict[str, Any]]):
    """A data set of pictures in files; the base of the loaders.

    ``CLASSES`` are the names of its classes, ``PALETTE`` their colours, uint8 (C, 3) RGB; ``ids`` and
    ``sizes`` are those of the pictures. Files are decoded when a sample is asked for.
    """

    CLASSES: ClassVar[tuple[str, ...]]
    PALETTE: ClassVar[np.ndarray]
    NAME: ClassVar[str]

    def __init__(self, root: Path, split: str, part: Part) -> None:
        if part.problems:
            more = len(part.problems) - 1
            hint = f" (and {more} more: `lessons data check {self.NAME}` lists all)" if more else ""
            raise DataError(part.problems[0] + hint)
        self.root, self.split = root, split
        self.pictures = list(part.pictures)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample: dict[str, Any] = self.pictures[index].sample()
        return sample

    @property
    def ids(self) -> list[str]:
        """The id of each picture."""
        return [picture.id for picture in self.pictures]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of each picture, from the file headers alone."""
        return [picture.size() for picture in self.pictures]

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(root={str(self.root)!r}, split={self.split!r}): {len(self)} pictures"


def data_folder(name: str, root: str | os.PathLike[str] | None, download: bool) -> Path:
    """The folder of a data set; fetched first if it holds nothing and ``download`` is set.

    Raises:
        DownloadError: It cannot be fetched; the message says what to do by hand.
    """
    source = find_source(name)
    folder = data_root() / source.folder if root is None else Path(root).expanduser()
    if download and not (folder.is_dir() and any(folder.iterdir())):
        fetch_into(source, folder)
    return folder


def check_choice(name: str, value: object, choices: Sequence[object]) -> None:
    """ValueError if an argument is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} is {value!r}; expected one of {', '.join(map(str, choices))}")


def pair_files(
    images: dict[str, Path], labels: dict[str, Path], expected: str
) -> tuple[list[Files], list[str]]:
    """All ids that have both files, sorted, and a problem for each id that has only one.

    Args:
        expected: where a missing file should be, with ``{}`` for the id, for the messages.
    """
    problems = [
        f"{images[key]}: its labels {expected.format(key)} are missing"
        for key in sorted(images.keys() - labels.keys())
    ]
    problems += [
        f"{labels[key]}: there is no picture for these labels"
        for key in sorted(labels.keys() - images.keys())
    ]
    both = sorted(images.keys() & labels.keys())
    return [(key, images[key], labels[key]) for key in both], problems


def list_files(
    name: str, ids: Sequence[str], image: str, truth: str
) -> tuple[list[Files], list[str]]:
    """The files of the given ids, and a problem for each that is missing.

    Args:
        name: of the list, for the messages.
        image, truth: paths with ``{}`` for the id.
    """
    files, problems = [], []
    for key in ids:
        paths = Path(image.format(key)), Path(truth.format(key))
        missing = [path for path in paths if not path.is_file()]
        problems += [f"{path}: is missing, but is in the list of {name}" for path in missing]
        if not missing:
            files.append((key, *paths))
    return files, problems


def read_lines(path: Path) -> list[str]:
    """The lines of a list that are not empty, stripped.

    Raises:
        DataError: The list is not there, or not text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: the list cannot be read ({error})") from error
    return [line.strip() for line in lines if line.strip()]
