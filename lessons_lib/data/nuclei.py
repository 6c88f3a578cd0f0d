"""Nuclei under the microscope: the 2018 Data Science Bowl's pictures, one id a nucleus.

Caicedo et al., *Nucleus segmentation across imaging experiments: the 2018 Data Science Bowl*,
Nature Methods 16, 2019; data BBBC038 of the Broad Bioimage Benchmark Collection, CC0.
"""

import os
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from .download import fetch_into, find_source
from .errors import DataError
from .files import picture_size, read_pixels, to_tensor
from .instances import renumber
from .nuclei_files import NucleusPicture, find_pictures
from .paths import root as data_root

KINDS = ("fluorescence-small", "fluorescence-large", "stained")
SPLITS = ("train", "test", "all")
STAINED_BACKGROUND = 0.3
SMALL_PIXELS = 100_000


class Nuclei(Dataset[dict[str, Any]]):
    """Pictures of nuclei with their instances.

    ``dataset[i]`` is a dict: ``image`` float32 (3, H, W) in [0, 1] (gray repeated, alpha dropped,
    not normalised: see :func:`~lessons_lib.data.normalize_image`), ``instances`` int64 (H, W),
    0 background and ids 1..K without gaps, ``id`` and ``kind``, both str. Sizes differ between
    pictures, so a batch is one picture; :class:`~lessons_lib.data.NucleiCrops` cuts equal ones.

    Two layouts are read, whichever is found: the merged one (``images/<id>.png`` and
    ``labels/<id>.png``) and the original (``<id>/images/<id>.png`` and ``<id>/masks/*.png``, one
    file a nucleus). Where original masks overlap, the later one in sorted name order wins.

    **Split.** A picture is in the test half if ``zlib.crc32(id) % 5 == 4``, a fifth of them. The
    rule needs nothing but the id, so a picture stays in its half whatever others are there. It is
    a split by picture, not by plate: neighbouring fields of one plate are in both halves.

    **Kinds.** Decided by the picture alone, see :func:`kind_of`.

    Args:
        root: Folder of the data set; None means ``lessons_lib.data.root() / "dsb2018"``.
        split: "train", "test" or "all".
        kinds: Only pictures of these kinds; None means all. Needs every picture decoded once.
        download: Fetch the original (BBBC038) if nothing is there yet.

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DataError: A label is missing, a file broken, or sizes differ; names the file.
        ValueError: Unknown split or kind.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "train",
        kinds: Sequence[str] | str | None = None,
        download: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
        wanted = KINDS if kinds is None else (kinds,) if isinstance(kinds, str) else tuple(kinds)
        if unknown := sorted(set(wanted) - set(KINDS)):
            raise ValueError(f"kinds has {unknown}; expected some of {', '.join(KINDS)}")
        self.root = nuclei_folder(root, download)
        self.split = split
        pictures, problems = find_pictures(self.root)
        if problems:
            more = f" (and {len(problems) - 1} more: `lessons data check nuclei` lists all)"
            raise DataError(problems[0] + (more if len(problems) > 1 else ""))
        self.pictures = [
            p for p in pictures if split == "all" or is_test(p.id) == (split == "test")
        ]
        if kinds is not None:
            found = [kind_of(read_pixels(picture.image)) for picture in self.pictures]
            kept = [i for i, kind in enumerate(found) if kind in wanted]
            self.pictures = [self.pictures[i] for i in kept]
            self.kinds = [found[i] for i in kept]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pixels, instances = self.read(index)
        return {
            "image": to_tensor(pixels),
            "instances": torch.from_numpy(instances.astype(np.int64)),
            "id": self.pictures[index].id,
            "kind": kind_of(pixels),
        }

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels as stored, uint8 or uint16 (H, W) or (H, W, 3), and instances, int32 (H, W)."""
        picture = self.pictures[index]
        pixels = read_pixels(picture.image)
        return pixels, renumber(picture.read_instances(pixels.shape[:2]))

    @cached_property
    def kinds(self) -> list[str]:
        """The kind of each picture; the first use decodes all of them."""
        return [kind_of(read_pixels(picture.image)) for picture in self.pictures]

    @property
    def ids(self) -> list[str]:
        """The id of each picture."""
        return [picture.id for picture in self.pictures]

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of each picture, from the file headers alone."""
        return [picture_size(picture.image) for picture in self.pictures]

    def kind_counts(self) -> dict[str, int]:
        """Number of pictures of each kind, absent kinds too."""
        counts = Counter(self.kinds)
        return {kind: counts[kind] for kind in KINDS}

    def __repr__(self) -> str:
        return f"Nuclei(root={str(self.root)!r}, split={self.split!r}): {len(self)} pictures"


def nuclei_folder(root: str | os.PathLike[str] | None = None, download: bool = False) -> Path:
    """The folder of the nuclei; fetched first if it holds none and ``download`` is set."""
    folder = data_root() / "dsb2018" if root is None else Path(root).expanduser()
    if download and not (folder.is_dir() and any(folder.iterdir())):
        fetch_into(find_source("nuclei"), folder)
    return folder


def is_test(picture_id: str) -> bool:
    """Whether a picture belongs to the test half: ``zlib.crc32(id) % 5 == 4``."""
    return zlib.crc32(picture_id.encode()) % 5 == 4


def kind_of(pixels: np.ndarray) -> str:
    """The kind of a picture, from the picture alone.

    * ``stained``: the median brightness is at least 0.3 of what the file's type can hold. Light
      passed through a dyed specimen, so the background is bright and nuclei are darker: purple on
      white, purple on purple, and two gray smears.
    * ``fluorescence-large``: dark background, more than 100,000 pixels (360×360 and up).
    * ``fluorescence-small``: dark background, at most 100,000 pixels (256×256, 320×256, 347×260).

    "Large" means the picture. The nuclei mostly follow (median area per picture: small 39 to
    537 pixels, large mostly 900 to 2,100), but not always: two pictures of fly embryos are large
    and have small nuclei.

    Args:
        pixels: uint8 or uint16, (H, W) or (H, W, 3).
    """
    gray = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    if float(np.median(gray)) >= STAINED_BACKGROUND * np.iinfo(pixels.dtype).max:
        return "stained"
    return "fluorescence-small" if gray.size <= SMALL_PIXELS else "fluorescence-large"


__all__ = ["KINDS", "Nuclei", "NucleusPicture", "is_test", "kind_of", "nuclei_folder"]
