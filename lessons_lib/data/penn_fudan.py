"""People in streets and on a campus, each with a mask: the Penn-Fudan data set.

Wang, Shi, Song and Shen, *Object Detection Combining Recognition and Segmentation*, ACCV 2007;
https://www.cis.upenn.edu/~jshi/ped_html/.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from .checks import Report, check_size
from .errors import DataError
from .files import picture_size, read_label_pixels, read_pixels, to_tensor
from .nuclei import is_test
from .picture_sets import Part, Pictures, check_choice, data_folder, pair_files
from .shapes import boxes_of

SPLITS = ("train", "test", "all")


@dataclass(frozen=True)
class PeoplePicture:
    """One picture and the label picture of its people."""

    id: str
    image: Path
    truth: Path

    def size(self) -> tuple[int, int]:
        """(height, width), from the picture's header."""
        return picture_size(self.image)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels as stored and the label picture (H, W), 0 = nobody.

        Raises:
            DataError: A file is missing or broken, or the sizes differ.
        """
        pixels, labels = read_pixels(self.image), read_label_pixels(self.truth)
        check_size(self.truth, labels.shape, self.image, pixels.shape[:2])
        return pixels, labels

    def sample(self) -> dict[str, Any]:
        """``image``, ``instances``, ``boxes``, ``labels``, ``masks`` and ``id``."""
        pixels, labels = self.read()
        ids = np.unique(labels)
        masks = labels == ids[ids > 0][:, None, None]
        numbers = np.arange(1, len(masks) + 1)[:, None, None]
        return {
            "image": to_tensor(pixels),
            "instances": torch.from_numpy((masks * numbers).sum(0)),
            "boxes": torch.from_numpy(boxes_of(masks)),
            "labels": torch.ones(len(masks), dtype=torch.int64),
            "masks": torch.from_numpy(masks),
            "id": self.id,
        }


class PennFudan(Pictures):
    """170 photographs of people who walk, 345 of them, about 400×500 pixels, upright.

    ``dataset[i]`` is a dict: ``image`` float32 (3, H, W) in [0, 1], ``instances`` int64 (H, W) with ids
    1..N, ``boxes`` float32 (N, 4) round the pixels (x1, y1, x2, y2; x2, y2 exclusive), ``labels`` int64
    (N,), all 1, ``masks`` bool (N, H, W) and ``id`` str. Row k belongs to id k + 1. Who is too small or too
    far behind others was not marked.

    Layout, in the folder itself or in ``PennFudanPed`` there: ``PNGImages/<id>.png`` and
    ``PedMasks/<id>_mask.png``, whose values are 0 and the number of the person. The text files beside them,
    with boxes, are not needed.

    **Split.** The data set has none. As for :class:`~lessons_lib.data.Nuclei`, a picture is in the test
    part if ``zlib.crc32(id) % 5 == 4``.

    Args:
        root: Folder of the data set; None means ``lessons_lib.data.root() / "penn_fudan"``.
        split: "train", "test" or "all".
        download: Fetch it if nothing is there yet.

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DataError: A file is missing or broken, or sizes differ; names the file.
        ValueError: Unknown split.
    """

    NAME: ClassVar[str] = "penn-fudan"
    CLASSES: ClassVar[tuple[str, ...]] = ("background", "person")
    PALETTE: ClassVar[np.ndarray] = np.array([(0, 0, 0), (213, 94, 0)], np.uint8)

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "train",
        download: bool = False,
    ) -> None:
        check_choice("split", split, SPLITS)
        folder = data_folder(self.NAME, root, download)
        everything = find_people(folder)
        kept = [p for p in everything.pictures if split in ("all", part_of(p.id))]
        super().__init__(folder, split, Part(split, kept, everything.problems))


def part_of(picture_id: str) -> str:
    """ "train" or "test", by the id alone."""
    return "test" if is_test(picture_id) else "train"


def find_people(folder: Path) -> Part:
    """All pictures; nothing is decoded.

    Raises:
        FileNotFoundError: They are in none of the usual places.
    """
    for base in (folder, folder / "PennFudanPed", *sorted(folder.glob("*/PennFudanPed"))):
        if (base / "PNGImages").is_dir() and (base / "PedMasks").is_dir():
            break
    else:
        raise FileNotFoundError(
            f"{folder}: no Penn-Fudan here. Fetch it with `lessons data fetch penn-fudan`, or put a "
            "folder there with PNGImages/ and PedMasks/"
        )
    images = {path.stem: path for path in base.glob("PNGImages/*.png")}
    masks = {path.stem.removesuffix("_mask"): path for path in base.glob("PedMasks/*_mask.png")}
    files, problems = pair_files(images, masks, f"{base}/PedMasks/{{}}_mask.png")
    return Part("all", [PeoplePicture(*paths) for paths in files], problems)


def check_people(folder: Path, progress: bool = True) -> Report:
    """Read every file of a folder and list all problems; ``kinds`` are the pictures of each part.

    Problems are: a picture without masks or the reverse, a broken file, another size than the picture's, and
    a picture without anybody.

    Raises:
        FileNotFoundError: There is nothing of the kind in the folder at all.
    """
    part = find_people(folder)
    report = Report(problems=list(part.problems))
    for picture in tqdm(part.pictures, desc="check", unit="picture", disable=not progress):
        report.pictures += 1
        report.kinds[part_of(picture.id)] += 1
        try:
            _, labels = picture.read()
        except DataError as error:
            report.problems.append(str(error))
            continue
        people = len(np.setdiff1d(labels, [0]))
        report.instances += people
        if not people:
            report.problems.append(f"{picture.truth}: has nobody in it")
    return report
