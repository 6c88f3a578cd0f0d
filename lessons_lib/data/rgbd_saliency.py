"""Pictures with depth and the object that people look at first: seven public sets behind one loader."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from .bitmaps import bitmap_size, is_bitmap, read_bitmap
from .checks import check_size
from .depth import LEAST
from .errors import DataError
from .files import picture_size, read_pixels, to_tensor
from .picture_sets import Part, Pictures, check_choice, data_folder
from .rgbd_layouts import SETS, SPLITS, find_split

NEAR = ("bright", "dark")


@dataclass(frozen=True)
class SaliencyPicture:
    """One picture, its depth map and the mask of its salient object."""

    id: str
    image: Path
    depth: Path
    truth: Path
    near: str
    holes: bool | None

    def size(self) -> tuple[int, int]:
        """(height, width), from the picture's header."""
        return stored_size(self.image)

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Pixels as stored, nearness float32 (H, W) and the salient object bool (H, W).

        Raises:
            DataError: A file is missing or broken, has colours where it should have none, or another size.
        """
        pixels = read_stored(self.image)
        depth, truth = read_gray(self.depth), read_gray(self.truth)
        for path, found in ((self.depth, depth), (self.truth, truth)):
            check_size(path, found.shape, self.image, pixels.shape[:2])
        return pixels, relative_depth(depth, self.near, self.holes), salient(truth)

    def sample(self) -> dict[str, Any]:
        """``image``, ``depth``, ``saliency`` and ``id``."""
        pixels, near, mask = self.read()
        return {
            "image": to_tensor(pixels),
            "depth": torch.from_numpy(near)[None],
            "saliency": torch.from_numpy(mask.astype(np.float32))[None],
            "id": self.id,
        }


class RGBDSaliency(Pictures):
    """One of the seven sets on which RGB-D saliency is measured.

    ``dataset[i]`` is a dict: ``image`` float32 (3, H, W) in [0, 1], ``depth`` float32 (1, H, W), ``saliency``
    float32 (1, H, W), 1 on the salient object and 0 elsewhere, and ``id`` str. Sizes differ between pictures.

    **Depth** is relative here, not in metres: the sets keep gray values of no unit, stretched picture by picture.
    It is stretched once more, so that the nearest pixel of a picture is 1 and the farthest 1/255, and 0 means "not
    measured", as :func:`~lessons_lib.data.nearness` has it. Whether near is bright or dark differs from set to
    set, and from one copy of a set to the next; ``RGBDSaliency.SETS`` has what is assumed, and whether that is sure:

    ===== ====== =================================
    set   near   because
    ===== ====== =================================
    NLPR  dark   a Kinect measures distances
    DES   dark   a Kinect measures distances
    NJU2K bright reported for a common copy
    LFSD  bright reported for a common copy
    SSD   bright reported for a common copy
    STERE dark   reported for a common copy
    SIP   dark   reported for a common copy
    ===== ====== =================================

    What people look at tends to be near. ``lessons data check rgbd-saliency`` says where the salient objects are
    mostly the
    *farther* part, and then ``near`` should be turned round.

    **Parts.** NJU2K and NLPR have one to train (1,485 and 700 pictures in most papers, UC-Net's too) and one to
    test; the others are for testing only. The part is that of the folder it lies in, or of a list of names
    ``train.txt`` and ``test.txt``; this class draws no split of its own.

    **Layout**, in the folder ``root``: a folder a set with ``RGB``, ``depth`` and ``GT`` in it (other common names
    are known too), whose files have the same name, ending in jpg, png, bmp or tif:

    * ``NJU2K_TRAIN``, ``NJU2K_TEST``, ``NLPR_TRAIN``, ``NLPR_TEST``, ``STERE``, ``DES``, ``LFSD``, ``SIP``,
      ``SSD``; also in ``TrainingSet``, ``TestingSet``, ``RGBD_for_test`` or ``test_dataset``;
    * ``NJU2K/train``, ``NJU2K/trainset``, or ``NJU2K`` with ``train_images``, ``train_depth``, ``train_masks``;
    * ``NJU2K`` whole, with the lists. A folder in which the training pictures of two sets are mixed is not read, for
      their depths run in opposite directions.

    Args:
        name: "NJU2K", "NLPR", "STERE" (which UC-Net's table calls SSB), "DES" (RGBD135), "LFSD", "SIP" or "SSD".
        split: "train" or "test".
        root: Folder of the sets; None means ``lessons_lib.data.root() / "rgbd_saliency"``.
        near: "bright" or "dark", what near things are in the files; None as in the table.
        holes: Whether stored 0 means "not measured"; None: in files of 16 bits, not in those of 8.
        skip_mismatched: Leave out pictures whose depth or truth has another size, as UC-Net's released loader
            does, instead of raising when one is asked for.
        download: Only raises, if nothing is there, and says where to look.

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DataError: A file is missing or broken, or sizes differ; names the file.
        DownloadError: ``download`` is set and nothing is there.
        ValueError: Unknown name or split, a part that a set does not have, or another ``near``.
    """

    NAME: ClassVar[str] = "rgbd-saliency"
    CLASSES: ClassVar[tuple[str, ...]] = ("background", "salient object")
    PALETTE: ClassVar[np.ndarray] = np.array([(0, 0, 0), (230, 159, 0)], np.uint8)
    SETS: ClassVar = SETS

    def __init__(
        self,
        name: str,
        split: str = "test",
        root: str | os.PathLike[str] | None = None,
        near: str | None = None,
        holes: bool | None = None,
        skip_mismatched: bool = False,
        download: bool = False,
    ) -> None:
        check_choice("name", name, tuple(SETS))
        check_choice("split", split, SPLITS)
        if near is not None:
            check_choice("near", near, NEAR)
        if split == "train" and not SETS[name].train:
            raise ValueError(
                f"split is 'train', but {name} has no part to train on; expected 'test'"
            )
        folder = data_folder(self.NAME, root, download)
        part = find_saliency(folder, name, split, near, holes)
        if skip_mismatched:
            part = Part(part.name, [p for p in part.pictures if fits(p)], part.problems)
        super().__init__(folder, split, part)
        self.name = name
        self.near = near or SETS[name].near


def find_saliency(
    folder: Path, name: str, split: str, near: str | None = None, holes: bool | None = None
) -> Part:
    """The pictures of one part of a set, and a problem for each that lacks a file; nothing is decoded."""
    files = find_split(folder, name, split)
    everything = sorted(set().union(*files.values()))
    complete = [key for key in everything if all(key in known for known in files.values())]
    problems = []
    for key in sorted(set(everything) - set(complete)):
        there = next(known[key] for known in files.values() if key in known)
        absent = " and ".join(kind for kind, known in files.items() if key not in known)
        problems.append(f"{there}: {key} has no {absent}")
    pictures = [
        SaliencyPicture(
            f"{name}/{key}",
            files["image"][key],
            files["depth"][key],
            files["truth"][key],
            near or SETS[name].near,
            holes,
        )
        for key in complete
    ]
    return Part(f"{name} {split}", pictures, problems)


def fits(picture: SaliencyPicture) -> bool:
    """Whether depth and truth have the picture's size, by the headers alone."""
    return stored_size(picture.depth) == picture.size() == stored_size(picture.truth)


def relative_depth(stored: np.ndarray, near: str, holes: bool | None = None) -> np.ndarray:
    """Nearness of a stored depth map: 1 = nearest, 1/255 = farthest, 0 = not measured.

    Args:
        stored: uint8 or uint16 (H, W).
        near: "bright" or "dark", what near things are.
        holes: Whether 0 means "not measured"; None: if there are 16 bits.

    Returns:
        float32 (H, W). A map of one value says nothing: it is 1 wherever it is measured.
    """
    measured = np.ones(stored.shape, bool)
    if holes or (holes is None and stored.dtype == np.uint16):
        measured = stored > 0
    if not measured.any():
        return np.zeros(stored.shape, np.float32)
    low, high = (float(bound) for bound in (stored[measured].min(), stored[measured].max()))
    share = (stored.astype(np.float32) - low) / (high - low) if high > low else 1.0
    if high > low and near == "dark":
        share = 1 - share
    result: np.ndarray = (LEAST + (1 - LEAST) * share) * measured
    return result.astype(np.float32)


def salient(stored: np.ndarray) -> np.ndarray:
    """The mask bool (H, W) of a stored truth: what is above 128 of 255, as evaluation codes take it (above 32,768 of
    65,535), so that a soft edge (which JPEG and resampling leave) falls to the side it is nearer to. A file of 0 and
    1 is taken as one.
    """
    if stored.max(initial=0) <= 1:
        return stored > 0
    mask: np.ndarray = stored > np.iinfo(stored.dtype).max // 2 + 1
    return mask


def read_gray(path: Path) -> np.ndarray:
    """A stored picture of one channel, uint8 or uint16 (H, W).

    Raises:
        DataError: Also where its three channels differ.
    """
    pixels = read_stored(path)
    if pixels.ndim != 2:
        raise DataError(f"{path}: is in colour; expected one channel, or three that are equal")
    return pixels


def read_stored(path: Path) -> np.ndarray:
    """As ``files.read_pixels``, and BMP too, in which some copies of the sets keep their depth."""
    return read_bitmap(path) if is_bitmap(path) else read_pixels(path)


def stored_size(path: Path) -> tuple[int, int]:
    """(height, width) from the header, of BMP too."""
    return bitmap_size(path) if is_bitmap(path) else picture_size(path)
