"""Cityscapes: people and vehicles in streets, one by one.

Cordts, Omran, Ramos, Rehfeld, Enzweiler, Benenson, Franke, Roth, Schiele, *The Cityscapes Dataset for
Semantic Urban Scene Understanding*, CVPR 2016, section 4.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from . import cityscapes
from .checks import Report, check_size
from .cityscapes import EVALUATED, SPLITS, street_files
from .errors import DataError
from .files import picture_size, read_label_pixels, read_pixels, to_tensor
from .picture_sets import Part, Pictures, check_choice, data_folder, pair_files

INSTANCES = "_gtFine_instanceIds"
IGNORE = 255
FIRST_THING = 24  # "person"; all label ids from here on are people and vehicles
THINGS = tuple((label, name, colour) for label, name, colour in EVALUATED if label >= FIRST_THING)
COUNTED = tuple(label for label, _, _ in EVALUATED)
LABELS = 34


@dataclass(frozen=True)
class StreetPicture:
    """One street scene and its picture of instance ids."""

    id: str
    image: Path
    truth: Path

    def size(self) -> tuple[int, int]:
        """(height, width), from the picture's header."""
        return picture_size(self.image)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels as stored, and instance ids as stored (H, W).

        Raises:
            DataError: A file is missing or broken, the sizes differ, or an id is unknown.
        """
        pixels, stored = read_pixels(self.image), read_label_pixels(self.truth)
        check_size(self.truth, stored.shape, self.image, pixels.shape[:2])
        check_ids(self.truth, stored)
        return pixels, stored

    def sample(self) -> dict[str, Any]:
        """``image``, ``instances``, ``semantic``, ``void`` and ``id``."""
        pixels, stored = self.read()
        instances, semantic, void = decode_instance_ids(stored)
        return {
            "image": to_tensor(pixels),
            "instances": torch.from_numpy(instances),
            "semantic": torch.from_numpy(semantic),
            "void": torch.from_numpy(void),
            "id": self.id,
        }


class CityscapesInstances(Pictures):
    """Street scenes, 2048×1024 pixels, with eight kinds of people and vehicles one by one.

    ``dataset[i]`` is a dict: ``image`` float32 (3, H, W) in [0, 1], ``instances`` int64 (H, W) with ids
    1..K, ``semantic`` int64 (H, W), the class 1..8 of each instance, 0 for everything else and 255 =
    ignore, ``void`` bool (H, W) and ``id`` str. 255 are groups that nobody separated ("car group"),
    caravans and trailers. ``void`` is all that the benchmark does not count: these, and the labels that are no
    class there, such as the car that carries the camera. The authors of spatial embeddings train groups as
    background; with 255 they are left out.

    Layout: ``leftImg8bit/<split>/<city>/<id>_leftImg8bit.png`` and
    ``gtFine/<split>/<city>/<id>_gtFine_instanceIds.png`` of 16 bits: 1000 · label id + number for a thing, the
    label id alone for anything else. There is no public download: register at
    https://www.cityscapes-dataset.com and take leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip.
    Whoever has :class:`~lessons_lib.data.Cityscapes` has these files too.

    Args:
        root: Folder of the data set; None means ``lessons_lib.data.root() / "cityscapes"``.
        split: "train", "val" or "test", whose truth is withheld: nothing counts there.
        download: Only raises, if nothing is there, and says where to register.

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DataError: A file is missing or broken, an id is unknown, or sizes differ; names the file.
        DownloadError: ``download`` is set and nothing is there.
        ValueError: Unknown split.
    """

    NAME: ClassVar[str] = "cityscapes-instances"
    CLASSES: ClassVar[tuple[str, ...]] = ("background", *(name for _, name, _ in THINGS))
    PALETTE: ClassVar[np.ndarray] = np.array([(0, 0, 0), *(c for _, _, c in THINGS)], np.uint8)
    IGNORE: ClassVar[int] = IGNORE

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "train",
        download: bool = False,
    ) -> None:
        check_choice("split", split, SPLITS)
        folder = data_folder(self.NAME, root, download)
        super().__init__(folder, split, find_streets(folder, split))


def find_streets(folder: Path, split: str) -> Part:
    """The pictures of one part, as :func:`~lessons_lib.data.cityscapes.street_files` finds them; nothing is
    decoded."""
    files, problems = pair_files(*street_files(folder, split, INSTANCES))
    return Part(split, [StreetPicture(*paths) for paths in files], problems)


def find_parts(folder: Path) -> Iterator[Part]:
    """Every part that is there; at least the training part must be."""
    return cityscapes.find_parts(folder, find_streets)


def check_ids(path: Path, stored: np.ndarray) -> None:
    """DataError for an id that is neither a label id nor 1000 · label id + number of a thing."""
    labels = np.where(stored >= 1000, stored // 1000, stored)
    wrong = (labels < 0) | (labels >= LABELS) | ((stored >= 1000) & (labels < FIRST_THING))
    if wrong.any():
        value = int(stored[wrong][0])
        raise DataError(
            f"{path}: has the id {value} in {int((stored == value).sum())} pixels; expected a label id "
            f"0..{LABELS - 1}, or 1000 times the label id of a thing, {FIRST_THING}..{LABELS - 1}, + its number"
        )


def decode_instance_ids(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Instances int64, semantic int64 and void bool, each (H, W), of stored instance ids.

    As :class:`CityscapesInstances` describes them; the instances keep the order of their stored ids.
    """
    labels = np.where(stored >= 1000, stored // 1000, stored)
    classes = np.zeros(LABELS, np.int64)
    classes[[label for label, _, _ in THINGS]] = np.arange(1, len(THINGS) + 1)
    is_counted = np.isin(np.arange(LABELS), COUNTED)[labels]
    is_group = (stored < 1000) & (labels >= FIRST_THING)
    semantic = np.where(is_group | (labels >= FIRST_THING) & ~is_counted, IGNORE, classes[labels])
    is_thing = (stored >= 1000) & is_counted
    _, numbers = np.unique(stored[is_thing], return_inverse=True)
    instances = np.zeros(stored.shape, np.int64)
    instances[is_thing] = numbers + 1
    return instances, semantic, ~is_counted | is_group


def check_streets(folder: Path, progress: bool = True) -> Report:
    """Read every file of a folder and list all problems; ``kinds`` are the pictures of each part.

    Problems are: a picture without ids or the reverse, a broken file, another size than the picture's, and
    an id that is no label id and no thing's. A street without things is none.

    Raises:
        FileNotFoundError: There is nothing of the kind in the folder at all.
    """
    parts = list(find_parts(folder))
    report = Report(problems=[problem for part in parts for problem in part.problems])
    jobs = [(part.name, picture) for part in parts for picture in part.pictures]
    for name, picture in tqdm(jobs, desc="check", unit="picture", disable=not progress):
        report.pictures += 1
        report.kinds[name] += 1
        try:
            _, stored = picture.read()
        except DataError as error:
            report.problems.append(str(error))
            continue
        report.instances += int(decode_instance_ids(stored)[0].max(initial=0))
    return report
