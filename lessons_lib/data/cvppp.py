"""CVPPP: the leaves of young plants from above, one by one.

Minervini, Fischbach, Scharr and Tsaftaris, *Finely-grained annotated datasets for image-based plant
phenotyping*, Pattern Recognition Letters 81, 2016; the Leaf Segmentation Challenge of the workshop CVPPP 2017.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from tqdm import tqdm

from .checks import Report, check_size
from .errors import DataError
from .files import picture_size, read_label_pixels, read_pixels, to_tensor
from .instances import renumber
from .nuclei import is_test
from .picture_sets import Part, Pictures, check_choice, data_folder, pair_files

SPLITS = ("train", "test", "all")
SUBSETS = ("A1", "A2", "A3", "A4")
RGB, LABEL = "_rgb", "_label"
MOST_LEAVES = 255


@dataclass(frozen=True)
class PlantPicture:
    """One plant and the label picture of its leaves."""

    id: str
    image: Path
    truth: Path

    def size(self) -> tuple[int, int]:
        """(height, width), from the picture's header."""
        return picture_size(self.image)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Pixels as stored and the leaves int32 (H, W) with ids 1..K, 0 = none.

        Raises:
            DataError: A file is missing or broken, or the sizes differ.
        """
        pixels, leaves = read_pixels(self.image), read_leaves(self.truth)
        check_size(self.truth, leaves.shape, self.image, pixels.shape[:2])
        return pixels, leaves

    def sample(self) -> dict[str, Any]:
        """``image``, ``instances``, ``semantic`` and ``id``."""
        pixels, leaves = self.read()
        instances = torch.from_numpy(leaves.astype(np.int64))
        return {
            "image": to_tensor(pixels),
            "instances": instances,
            "semantic": (instances > 0).long(),
            "id": self.id,
        }


class CVPPP(Pictures):
    """Plants of Arabidopsis (A1, A2, A4) and tobacco (A3), each leaf marked.

    ``dataset[i]`` is a dict: ``image`` float32 (3, H, W) in [0, 1], ``instances`` int64 (H, W) with ids 1..K,
    ``semantic`` int64 (H, W), 1 on leaves, and ``id`` str, such as "A1/plant001". Sizes differ between subsets.

    Layout of the challenge of 2017: ``<subset>/plant<number>_rgb.png`` and ``<subset>/plant<number>_label.png`` in
    the folder, or in ``training`` or ``CVPPP2017_LSC_training/training`` there. A label picture has the leaf's
    number (palette or gray; 0 = no leaf), or in copies that lost their palette a colour for each leaf, black =
    none. Masks of the plant (``_fg.png``) and leaf centres (``_centers.png``) may lie beside them; they are not
    needed. There is no public download: ask for CVPPP2017_LSC_training.zip at
    https://www.plant-phenotyping.org/datasets-download.

    **Split.** The truth of the challenge's test part is withheld, and there is no official validation part. As for
    :class:`~lessons_lib.data.Nuclei`, a picture is in the test part here if ``zlib.crc32(id) % 5 == 4``. Plants
    were photographed on several days, so that one plant may be in both parts.

    Args:
        root: Folder of the data set; None means ``lessons_lib.data.root() / "cvppp"``.
        split: "train", "test" or "all".
        subsets: Which of A1 to A4.
        download: Only raises, if nothing is there, and says where to ask.

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DataError: A file is missing or broken, or sizes differ; names the file.
        DownloadError: ``download`` is set and nothing is there.
        ValueError: Unknown split or subset.
    """

    NAME: ClassVar[str] = "cvppp"
    CLASSES: ClassVar[tuple[str, ...]] = ("background", "leaf")
    PALETTE: ClassVar[np.ndarray] = np.array([(0, 0, 0), (0, 158, 115)], np.uint8)

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "train",
        subsets: Sequence[str] = ("A1",),
        download: bool = False,
    ) -> None:
        check_choice("split", split, SPLITS)
        for subset in subsets:
            check_choice("subsets", subset, SUBSETS)
        folder = data_folder(self.NAME, root, download)
        parts = [find_plants(folder, subset) for subset in subsets]
        kept = [p for part in parts for p in part.pictures if split in ("all", part_of(p.id))]
        problems = [problem for part in parts for problem in part.problems]
        super().__init__(folder, split, Part(split, kept, problems))


def part_of(picture_id: str) -> str:
    """ "train" or "test", by the id alone."""
    return "test" if is_test(picture_id) else "train"


def find_base(folder: Path) -> Path:
    """The folder in which the subsets are.

    Raises:
        FileNotFoundError: There is none.
    """
    for base in (folder, folder / "training", folder / "CVPPP2017_LSC_training" / "training"):
        if any((base / subset).is_dir() for subset in SUBSETS):
            return base
    raise FileNotFoundError(
        f"{folder}: no CVPPP leaves here: one of {', '.join(SUBSETS)} should be a folder in it. Ask for "
        "CVPPP2017_LSC_training.zip at https://www.plant-phenotyping.org/datasets-download and unpack it there"
    )


def find_plants(folder: Path, subset: str) -> Part:
    """The pictures of one subset; nothing is decoded.

    Raises:
        FileNotFoundError: The subset is not there.
    """
    base = find_base(folder) / subset
    if not base.is_dir():
        raise FileNotFoundError(f"{base}: is missing; it should be the folder of subset {subset}")
    files, problems = pair_files(
        {path.stem.removesuffix(RGB): path for path in base.glob(f"*{RGB}.png")},
        {path.stem.removesuffix(LABEL): path for path in base.glob(f"*{LABEL}.png")},
        f"{base}/{{}}{LABEL}.png",
    )
    pictures = [PlantPicture(f"{subset}/{key}", image, truth) for key, image, truth in files]
    return Part(subset, pictures, problems)


def find_parts(folder: Path) -> Iterator[Part]:
    """Every subset that is there."""
    base = find_base(folder)
    for subset in SUBSETS:
        if (base / subset).is_dir():
            yield find_plants(folder, subset)


def read_leaves(path: Path) -> np.ndarray:
    """Leaves int32 (H, W), ids 1..K by rising number or colour, 0 = none.

    Raises:
        DataError: The file is broken, or has more colours than a plant has leaves.
    """
    try:
        return renumber(read_label_pixels(path))
    except DataError:  # colours; a broken file cannot be read as a picture either
        return numbers_of_colours(path, read_pixels(path))


def numbers_of_colours(path: Path, pixels: np.ndarray) -> np.ndarray:
    """Leaves int32 (H, W) of a picture with a colour for each leaf, uint8 (H, W) or (H, W, 3); black is none."""
    rgb = pixels if pixels.ndim == 3 else pixels[:, :, None]
    codes = rgb.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])[-rgb.shape[2] :]
    colours, numbers = np.unique(codes, return_inverse=True)
    if len(colours) > MOST_LEAVES + 1:
        raise DataError(
            f"{path}: has {len(colours)} colours; expected one a leaf, at most {MOST_LEAVES} (was the picture "
            "scaled or stored as JPEG?)"
        )
    return (numbers.reshape(codes.shape) + (colours[0] != 0)).astype(np.int32)


def check_plants(folder: Path, progress: bool = True) -> Report:
    """Read every file of a folder and list all problems; ``kinds`` are the pictures of each subset.

    Problems are: a picture without labels or the reverse, a broken file, another size than the picture's, and
    a plant without leaves.

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
            _, leaves = picture.read()
        except DataError as error:
            report.problems.append(str(error))
            continue
        report.instances += int(leaves.max(initial=0))
        if not leaves.any():
            report.problems.append(f"{picture.truth}: has no leaf in it")
    return report
