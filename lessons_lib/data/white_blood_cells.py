"""White blood cells: nucleus and cytoplasm, Dataset 1 of Zheng et al.

Zheng, Wang, Wang, Liu, *Fast and Robust Segmentation of White Blood Cell Images by Self-supervised
Learning*, Micron 107, 2018.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from .bitmaps import bitmap_size, read_bitmap
from .checks import check_size
from .files import read_label_pixels
from .labelled import LabelledPicture, LabelledPictures, look_up, pair, table
from .nuclei import is_test
from .picture_sets import Part, check_choice, data_folder

CLASSES = table({0: 0, 128: 1, 255: 2})


class WhiteBloodCells(LabelledPictures):
    """Single white blood cells, about 120×120 pixels, with nucleus and cytoplasm.

    Samples as in :class:`~lessons_lib.data.LabelledPictures`: classes are 0 background,
    1 cytoplasm, 2 nucleus (stored as 0, 128, 255; any other value is an error). Nothing is ignored.
    Sides are 88 to 120 pixels.

    Two layouts are read: ``images/<id>.png`` and ``labels/<id>.png`` in the folder itself or in
    ``dev``, and the original repository's ``Dataset 1`` with ``<id>.bmp`` and ``<id>.png``.

    **Split.** As for :class:`~lessons_lib.data.Nuclei`: a picture is in the test part if
    ``zlib.crc32(id) % 5 == 4``. Pictures 112 and 139, which are the same, are both in the training
    part by this rule.

    Args:
        root: Folder of the data set; None means ``lessons_lib.data.root() / "wbc"``.
        split: "train", "test" or "all".
        download: Fetch the original repository (GPL-3) if nothing is there yet.

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DataError: A label is missing or unknown, a file broken, or sizes differ; names the file.
        ValueError: Unknown split.
    """

    NAME: ClassVar[str] = "white-blood-cells"
    CLASSES: ClassVar[tuple[str, ...]] = ("background", "cytoplasm", "nucleus")
    PALETTE: ClassVar[np.ndarray] = np.array([(0, 0, 0), (86, 180, 233), (213, 94, 0)], np.uint8)

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "train",
        download: bool = False,
    ) -> None:
        check_choice("split", split, ("train", "test", "all"))
        folder = data_folder(self.NAME, root, download)
        everything = find_cells(folder)
        kept = [p for p in everything.pictures if split in ("all", part_of(p.id))]
        super().__init__(folder, split, Part(split, kept, everything.problems))


@dataclass(frozen=True)
class BitmapPicture(LabelledPicture):
    """A picture stored as Windows bitmap."""

    def size(self) -> tuple[int, int]:
        """(height, width), from the picture's header."""
        return bitmap_size(self.image)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        pixels = read_bitmap(self.image)
        semantic = self.decode(self.truth)
        check_size(self.truth, semantic.shape, self.image, pixels.shape[:2])
        return pixels, semantic


def part_of(picture_id: str) -> str:
    """ "train" or "test", by the id alone."""
    return "test" if is_test(picture_id) else "train"


def find_parts(folder: Path) -> Iterator[Part]:
    """Training and test part; the problems are with the first."""
    everything = find_cells(folder)
    for name in ("train", "test"):
        kept = [p for p in everything.pictures if part_of(p.id) == name]
        yield Part(name, kept, everything.problems if name == "train" else ())


def find_cells(folder: Path) -> Part:
    """All pictures of either layout; nothing is decoded.

    Raises:
        FileNotFoundError: Nothing of the kind is there.
    """
    for base in (folder, folder / "dev"):
        if (base / "images").is_dir() and (base / "labels").is_dir():
            images = {path.stem: path for path in (base / "images").glob("*.png")}
            labels = {path.stem: path for path in (base / "labels").glob("*.png")}
            return pair("all", images, labels, read_cell_labels, f"{base}/labels/{{}}.png")
    for original in (folder / "Dataset 1", *sorted(folder.glob("*/*/Dataset 1"))):
        if original.is_dir():
            images = {path.stem: path for path in original.glob("*.bmp")}
            labels = {path.stem: path for path in original.glob("*.png")}
            found = pair("all", images, labels, read_cell_labels, f"{original}/{{}}.png")
            bitmaps = [BitmapPicture(p.id, p.image, p.truth, p.decode) for p in found.pictures]
            return Part("all", bitmaps, found.problems)
    raise FileNotFoundError(
        f"{folder}: no white blood cells here. Fetch them with `lessons data fetch "
        "white-blood-cells`, or put a folder there with images/ and labels/, or with Dataset 1/"
    )


def read_cell_labels(path: Path) -> np.ndarray:
    """Classes uint8 (H, W) of a label file with 0, 128 and 255."""
    return look_up(path, read_label_pixels(path), CLASSES, "0, 128 and 255 only")
