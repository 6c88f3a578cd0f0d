"""COCO's things, each with a box and a mask: what detectors are trained and compared on.

Lin et al., *Microsoft COCO: Common Objects in Context*, ECCV 2014.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from .annotations import MarkedPicture, mask_runs
from .checks import Report, check_size
from .coco_json import read_coco
from .errors import DataError
from .files import picture_size, read_pixels, to_tensor
from .mask_runs import MaskRuns
from .picture_sets import Part, Pictures, check_choice, data_folder

SPLITS = ("train", "val")


@dataclass(frozen=True)
class CocoPicture:
    """One picture and what the JSON says of it."""

    id: str
    image: Path
    truth: Path
    marked: MarkedPicture
    numbers: dict[str, int]

    def size(self) -> tuple[int, int]:
        """(height, width), as the JSON has it."""
        return self.marked.size

    def sample(self) -> dict[str, Any]:
        """``image``, ``boxes``, ``labels``, ``masks``, ``crowd`` and ``id``.

        Raises:
            DataError: The picture is missing, broken or of another size, or a mask is broken.
        """
        pixels = read_pixels(self.image)
        check_size(self.truth, self.marked.size, self.image, pixels.shape[:2])
        things = self.marked.objects
        boxes = np.array([thing.box for thing in things], np.float32).reshape(-1, 4)
        masks = np.zeros((0, *self.marked.size), bool)
        if things:
            masks = draw_runs(mask_runs(self.marked))
        return {
            "image": to_tensor(pixels),
            "boxes": torch.from_numpy(boxes),
            "labels": torch.tensor([self.numbers[t.label] for t in things], dtype=torch.int64),
            "masks": torch.from_numpy(masks),
            "crowd": torch.tensor([thing.crowd for thing in things], dtype=torch.bool),
            "id": self.id,
        }


class CocoInstances(Pictures):
    """Photographs with 80 kinds of things; those that overlap both have their whole masks.

    ``dataset[i]`` is a dict: ``image`` float32 (3, H, W) in [0, 1], ``boxes`` float32 (N, 4) as x1, y1, x2,
    y2 in px, as the file has them, with fractions, ``labels`` int64 (N,), ``masks`` bool (N, H, W),
    ``crowd`` bool (N,), many things in one region that nobody separated, and ``id`` str, the file's name
    without suffix.

    **Classes.** Labels are COCO's own numbers, which run from 1 to 90 with gaps, because published weights
    have them; :attr:`classes` has a name for each, "unused 12" for a gap.

    Layout: ``annotations/instances_<split>2017.json`` and ``<split>2017/<file name>``.

    Args:
        root: Folder of the data set; None means ``lessons_lib.data.root() / "coco"``.
        split: "train" or "val".
        with_objects: Only pictures with at least one thing that is no crowd and wider and higher than
            1 px: from the others no mask can be learned.

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DataError: The JSON is broken; or, for a sample, the picture or a mask.
        ValueError: Unknown split.
    """

    NAME: ClassVar[str] = "coco"

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "val",
        with_objects: bool = False,
    ) -> None:
        check_choice("split", split, SPLITS)
        folder = data_folder(self.NAME, root, download=False)
        pictures, self.classes = find_instances(folder, split)
        if with_objects:
            pictures = [picture for picture in pictures if _has_objects(picture.marked)]
        super().__init__(folder, split, Part(split, pictures))


def find_instances(folder: Path, split: str) -> tuple[list[CocoPicture], tuple[str, ...]]:
    """The pictures of a split, and the name of every number from 0 on; no picture is opened.

    Raises:
        FileNotFoundError: The annotations are not there.
        DataError: They are broken.
    """
    path = folder / "annotations" / f"instances_{split}2017.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: is missing; `lessons data fetch coco` says what to do")
    annotations = read_coco(path)
    numbers = annotations.numbers()
    if min(numbers.values(), default=1) < 1:
        raise DataError(f"{path}: a category has the number {min(numbers.values())}; 0 is nothing")
    if not numbers:
        raise DataError(f"{path}: there are no categories; it must name at least one")
    names = {number: name for name, number in numbers.items()}
    classes = ("background", *(names.get(k, f"unused {k}") for k in range(1, max(names) + 1)))
    pictures = [
        CocoPicture(
            Path(marked.file_name).stem,
            folder / f"{split}2017" / marked.file_name,
            path,
            marked,
            numbers,
        )
        for marked in annotations.pictures
    ]
    return sorted(pictures, key=lambda picture: picture.id), classes


def draw_runs(runs: MaskRuns) -> np.ndarray:
    """Masks bool (N, H, W) of runs that are all of one size."""
    height, width = int(runs.height[0]), int(runs.width[0])
    change = np.zeros(len(runs) * height * width + 1, np.int8)
    offset = runs.mask * (height * width)
    np.add.at(change, offset + runs.start, 1)
    np.add.at(change, offset + runs.stop, -1)
    columns = np.cumsum(change[:-1], dtype=np.int8).astype(bool)
    return np.ascontiguousarray(columns.reshape(len(runs), width, height).transpose(0, 2, 1))


def _has_objects(marked: MarkedPicture) -> bool:
    return any(
        not thing.crowd and thing.box[2] - thing.box[0] > 1 and thing.box[3] - thing.box[1] > 1
        for thing in marked.objects
    )


def check_instances(folder: Path, progress: bool = True) -> Report:
    """Read the annotations and every mask, and the header of every picture; list all problems.

    Problems are: a missing picture, another size than the JSON's, and a broken mask or none.

    Raises:
        FileNotFoundError: There are no annotations of either split.
        DataError: The JSON is broken.
    """
    there = [s for s in SPLITS if (folder / "annotations" / f"instances_{s}2017.json").is_file()]
    report = Report()
    for split in there or SPLITS[1:]:
        pictures, _ = find_instances(folder, split)
        for picture in tqdm(pictures, desc=split, unit="picture", disable=not progress):
            report.pictures += 1
            report.kinds[split] += 1
            report.instances += len(picture.marked.objects)
            try:
                check_size(
                    picture.truth, picture.size(), picture.image, picture_size(picture.image)
                )
                if picture.marked.objects:
                    mask_runs(picture.marked)
            except DataError as error:
                report.problems.append(str(error))
    return report
