"""Blood smears with a box round every cell: the BCCD data set.

BCCD, https://github.com/Shenggan/BCCD_Dataset, MIT licence; pictures and first annotations by cosmicad
and akshaylamba.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from .boxed import BoxedPicture
from .nuclei import is_test
from .picture_sets import Part, Pictures, check_choice, data_folder, pair_files, read_lines

SPLITS = ("train", "test", "all")


class BloodCells(Pictures):
    """Stained blood under the microscope, 640×480, with a box round every red and white cell and platelet.

    ``dataset[i]`` is a dict: ``image`` float32 (3, H, W) in [0, 1], ``boxes`` float32 (N, 4) as x1, y1, x2,
    y2 in px (x2, y2 exclusive), ``labels`` int64 (N,) with the index in :attr:`CLASSES`, and ``id``. Boxes
    may overlap, and touch the border where a cell is cut.

    **What the numbers mean.** The files are in Pascal VOC's form, but were made with labelImg, which writes
    distances from the upper left corner and not numbers of pixels, and 1 where it should write 0. The data
    agree: 301 boxes begin at row 1 and only 8 at row 2, while 259 end at 480 and 29 at 479, as if on the near
    side two bins had become one. So the corners are taken as they are, and nothing is subtracted; a 1 may
    stand for 0, and is left.

    **Empty boxes.** Two boxes have no pixel (a click instead of a drag). They are left out, since no detector
    can be trained with them or find them; ``keep_empty=True`` leaves them in, and ``lessons data check
    blood-cells`` lists them.

    **Split.** As for :class:`~lessons_lib.data.Nuclei`: a picture is in the test part if
    ``zlib.crc32(id) % 5 == 4``, with an id such as ``BloodImage_00007``. So a picture stays
    in its part whatever others are there. Where the repository's lists lie (``ImageSets/Main`` beside
    the pictures or a folder up), only the 292 pictures of its trainval list are used; the 72 of its
    test list are left for a last look.

    **What is missing.** In the first hundred pictures nearly every red cell is marked, later a good part is
    not: a network's confident "errors" are mostly cells. Read scores for red cells with that in mind.

    Layout: ``JPEGImages/<id>.jpg`` and ``Annotations/<id>.xml``, in the folder itself, in ``dev`` or ``BCCD``,
    or in what ``lessons data fetch blood-cells`` unpacks.

    Args:
        root: Folder of the data set; None means ``lessons_lib.data.root() / "bccd"``.
        split: "train", "test" or "all".
        download: Fetch the original repository (MIT) if nothing is there yet.
        keep_empty: Keep boxes that have no pixel.

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DataError: An annotation is missing or broken, a class unknown, or sizes differ; names the file.
        ValueError: Unknown split.
    """

    NAME: ClassVar[str] = "blood-cells"
    CLASSES: ClassVar[tuple[str, ...]] = ("background", "RBC", "WBC", "Platelets")
    PALETTE: ClassVar[np.ndarray] = np.array(
        [(0, 0, 0), (213, 94, 0), (0, 114, 178), (0, 158, 115)], np.uint8
    )

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "train",
        download: bool = False,
        keep_empty: bool = False,
    ) -> None:
        check_choice("split", split, SPLITS)
        folder = data_folder(self.NAME, root, download)
        everything = find_smears(folder, keep_empty)
        kept = [p for p in everything.pictures if split in ("all", part_of(p.id))]
        super().__init__(folder, split, Part(split, kept, everything.problems))


def part_of(picture_id: str) -> str:
    """ "train" or "test", by the id alone."""
    return "test" if is_test(picture_id) else "train"


def find_parts(folder: Path) -> Iterator[Part]:
    """Training and test part; the problems are with the first."""
    everything = find_smears(folder)
    for name in ("train", "test"):
        kept = [p for p in everything.pictures if part_of(p.id) == name]
        yield Part(name, kept, everything.problems if name == "train" else ())


def find_smears(folder: Path, keep_empty: bool = False) -> Part:
    """All pictures of the trainval list, or all there are without one; nothing is decoded."""
    base = find_folder(folder)
    lists = [up / "ImageSets" / "Main" / "trainval.txt" for up in (base, base.parent)]
    listed = next((set(read_lines(path)) for path in lists if path.is_file()), None)
    images, truths = (
        {p.stem: p for p in base.glob(pattern) if listed is None or p.stem in listed}
        for pattern in ("JPEGImages/*.jpg", "Annotations/*.xml")
    )
    files, problems = pair_files(images, truths, f"{base}/Annotations/{{}}.xml")
    pictures = [BoxedPicture(*paths, BloodCells.CLASSES, "corners", keep_empty) for paths in files]
    return Part("all", pictures, problems)


def find_folder(folder: Path) -> Path:
    """The folder with ``JPEGImages`` and ``Annotations``.

    Raises:
        FileNotFoundError: It is in none of the usual places.
    """
    for base in (folder, folder / "dev", folder / "BCCD", *sorted(folder.glob("*/*/BCCD"))):
        if (base / "JPEGImages").is_dir() and (base / "Annotations").is_dir():
            return base
    raise FileNotFoundError(
        f"{folder}: no blood cells here. Fetch them with `lessons data fetch blood-cells`, or put a "
        "folder there with JPEGImages/ and Annotations/"
    )
