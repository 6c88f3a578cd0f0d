"""Your own pictures with their instances, from a folder."""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from .errors import DataError, DataWarning
from .files import picture_size, read_pixels, to_tensor
from .folder_files import FolderPicture, find_folder
from .picture_sets import check_choice

SPLITS = ("train", "val", "all")


class InstanceFolder(Dataset[dict[str, Any]]):
    """A folder of pictures with their instances.

    ``dataset[i]`` is a dict: ``image`` float32 (3, H, W) in [0, 1] (gray repeated, alpha dropped, not
    normalised), ``instances`` int64 (H, W), 0 background and ids 1..K without gaps, and ``id`` str, the
    file's name without its ending. Sizes may differ between pictures; :class:`~lessons_lib.data.InstanceCrops`
    cuts equal ones. Files are decoded when a sample is asked for. A picture without objects is a sample
    like any other.

    **Layouts.** ``images/`` with pictures (PNG, JPEG, TIFF of 8 or 16 bits), and either ``labels/`` with a
    label picture of the same name for each (PNG or TIFF with one channel of integers, the value of a pixel is
    its instance, 0 is background), or one COCO file ``annotations.json`` (or the only ``.json``) with polygons
    or run lengths. Or two folders ``train`` and ``val``, each of them so.

    **Split.** ``train/`` and ``val/`` if they are there; give them where pictures belong together, such as
    fields of one plate or frames of one film, for neighbours in both halves make the result look better than
    it is. Else a picture is in the validation half if ``zlib.crc32(id) % 5 == 4``, about a fifth of them,
    whatever others are there; if that leaves a half empty, the picture with the largest (or the smallest)
    checksum moves there. One picture alone is in both halves, with a warning: what is then measured says how
    well it was learned by heart.

    Args:
        root: The folder.
        split: "train", "val" or "all".

    Raises:
        FileNotFoundError: Nothing of the kind is there; says what is expected.
        DataError: A label is missing, say, or a file broken; names the file. ``lessons data check`` lists all.
        ValueError: Unknown split.
    """

    def __init__(self, root: str | os.PathLike[str], split: str = "all") -> None:
        check_choice("split", split, SPLITS)
        self.root, self.split = Path(root).expanduser(), split
        parts = find_folder(self.root).parts
        problems = [problem for part in parts for problem in part.problems]
        if problems:
            rest = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
            raise DataError(
                f"{problems[0]}{rest}; `lessons data check {self.root}` lists everything"
            )
        if split == "all" or len(parts) == 2:
            chosen = [part for part in parts if split in ("all", part.name)]
            self.pictures: list[FolderPicture] = [p for part in chosen for p in part.pictures]
        else:
            self.pictures = split_pictures(parts[0].pictures)[split == "val"]
            if len(parts[0].pictures) == 1:
                warnings.warn(
                    f"{self.root} has one picture, which is trained on and measured on: the measures say "
                    "nothing about other pictures",
                    DataWarning,
                    stacklevel=2,
                )

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pixels, instances = self.read(index)
        return {
            "image": to_tensor(pixels),
            "instances": torch.from_numpy(instances.astype(np.int64)),
            "id": self.pictures[index].id,
        }

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels as stored, uint8 or uint16 (H, W) or (H, W, 3), and instances, int32 (H, W)."""
        picture = self.pictures[index]
        pixels = read_pixels(picture.image)
        return pixels, picture.read_instances(pixels.shape[:2])

    @property
    def ids(self) -> list[str]:
        """The id of each picture."""
        return [picture.id for picture in self.pictures]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of each picture, from the file headers alone."""
        return [picture_size(picture.image) for picture in self.pictures]

    def __repr__(self) -> str:
        return (
            f"InstanceFolder(root={str(self.root)!r}, split={self.split!r}): {len(self)} pictures"
        )


def split_pictures(
    pictures: Sequence[FolderPicture],
) -> tuple[list[FolderPicture], list[FolderPicture]]:
    """The pictures to train on and those to measure on, by the rule of :class:`InstanceFolder`."""
    if len(pictures) < 2:
        return list(pictures), list(pictures)
    sums = [zlib.crc32(picture.id.encode()) for picture in pictures]
    held_out = [value % 5 == 4 for value in sums]
    if not any(held_out):
        held_out[int(np.argmax(sums))] = True
    elif all(held_out):
        held_out[int(np.argmin(sums))] = False
    halves: tuple[list[FolderPicture], list[FolderPicture]] = ([], [])
    for picture, out in zip(pictures, held_out, strict=True):
        halves[out].append(picture)
    return halves
