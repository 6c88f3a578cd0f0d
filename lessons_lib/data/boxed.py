"""What data sets with boxes in Pascal VOC's XML share: pictures with boxes, and their check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from .annotations import MarkedObject, MarkedPicture
from .checks import Report, check_size
from .errors import DataError
from .files import picture_size, read_pixels, to_tensor
from .picture_sets import Part
from .voc_xml import read_voc_xml


@dataclass(frozen=True)
class BoxedPicture:
    """One picture, the XML file with its boxes, and how that is meant.

    Attributes:
        id, image, truth: name, picture file, XML file.
        classes: names of the classes, the background first.
        counting: how the file counts, one of :data:`lessons_lib.data.voc_xml.COUNTING`.
        keep_empty: whether a sample has boxes without a pixel.
        flags: names of the flags that a sample has besides boxes and labels.
    """

    id: str
    image: Path
    truth: Path
    classes: Sequence[str]
    counting: str
    keep_empty: bool = False
    flags: Sequence[str] = ()

    def size(self) -> tuple[int, int]:
        """(height, width), from the picture's header."""
        return picture_size(self.image)

    def read(self) -> tuple[np.ndarray, MarkedPicture]:
        """Pixels as stored and what the XML file says, empty boxes too.

        Raises:
            DataError: A file is missing or broken, the sizes differ, or a class is unknown.
        """
        pixels = read_pixels(self.image)
        marked = read_voc_xml(self.truth, self.counting)
        check_size(self.truth, marked.size, self.image, pixels.shape[:2])
        for number, thing in enumerate(marked.objects, start=1):
            if thing.label not in self.classes[1:]:
                raise DataError(
                    f"{self.truth}: object {number} is a {thing.label!r}; expected one of "
                    f"{', '.join(self.classes[1:])}"
                )
        return pixels, marked

    def sample(self) -> dict[str, Any]:
        """``image``, ``boxes``, ``labels``, ``id`` and the flags."""
        pixels, marked = self.read()
        objects = [thing for thing in marked.objects if self.keep_empty or not thing.empty]
        boxes = np.array([thing.box for thing in objects], np.float32).reshape(-1, 4)
        flags = {
            name: torch.tensor([getattr(thing, name) for thing in objects], dtype=torch.bool)
            for name in self.flags
        }
        return {
            "image": to_tensor(pixels),
            "boxes": torch.from_numpy(boxes),
            "labels": torch.tensor(
                [self.classes.index(thing.label) for thing in objects], dtype=torch.int64
            ),
            "id": self.id,
            **flags,
        }


def check_boxed(
    find_parts: Callable[[Path], Iterable[Part]], folder: Path, progress: bool = True
) -> Report:
    """Read every file of a folder and list all problems; ``kinds`` are the pictures of each part.

    Problems are: a picture without annotation or the reverse, an unreadable or truncated file, another size
    than the picture's, an unknown class, a box without a pixel or beyond the picture, and a picture
    without any box.

    Raises:
        FileNotFoundError: There is nothing of the kind in the folder at all.
        DataError: A list that all pictures need is broken.
    """
    parts = list(find_parts(folder))
    report = Report(problems=[problem for part in parts for problem in part.problems])
    jobs = [(part.name, picture) for part in parts for picture in part.pictures]
    for name, picture in tqdm(jobs, desc="check", unit="picture", disable=not progress):
        report.pictures += 1
        report.kinds[name] += 1
        try:
            _, marked = picture.read()
        except DataError as error:
            report.problems.append(str(error))
            continue
        report.instances += len(marked.objects)
        report.problems += [f"{picture.truth}: {problem}" for problem in _oddities(marked)]
    return report


def _oddities(marked: MarkedPicture) -> Iterator[str]:
    if not marked.objects:
        yield "has no object"
    for number, thing in enumerate(marked.objects, start=1):
        box = f"object {number} ({thing.label}): its box {_corners(thing)}"
        if thing.empty:
            yield f"{box} has no pixel"
        elif not thing.inside(marked.size):
            height, width = marked.size
            yield f"{box} reaches beyond the picture of {width}×{height}"


def _corners(thing: MarkedObject) -> str:
    return "(" + ", ".join(f"{value:g}" for value in thing.box) + ")"
