"""CamVid: 701 frames from a car in Cambridge, eleven classes.

Brostow, Fauqueur, Cipolla, *Semantic Object Classes in Video: A High-Definition Ground Truth
Database*, Pattern Recognition Letters 30, 2009.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from .errors import DataError
from .files import read_label_pixels, read_pixels
from .labelled import (
    IGNORE,
    LabelledPicture,
    LabelledPictures,
    look_up,
    look_up_colours,
    pair,
    table,
)
from .picture_sets import Part, check_choice, data_folder, read_lines

SPLITS = ("train", "val", "test")
STILLS, APPROVED = "701_StillsRaw_full", "LabeledApproved_full"

# The 32 colours of the original's label_colors.txt, grouped into eleven classes as those who use the
# eleven classes of Badrinarayanan et al. (SegNet) on the original files do, for instance MathWorks
# in the documentation of its segmentation example. The first colour of a group is the class's own.
GROUPS: dict[str, dict[str, tuple[int, int, int]]] = {
    "sky": {"Sky": (128, 128, 128)},
    "building": {
        "Building": (128, 0, 0),
        "Bridge": (0, 128, 64),
        "Wall": (64, 192, 0),
        "Tunnel": (64, 0, 64),
        "Archway": (192, 0, 128),
    },
    "pole": {"Column_Pole": (192, 192, 128), "TrafficCone": (0, 0, 64)},
    "road": {
        "Road": (128, 64, 128),
        "LaneMkgsDriv": (128, 0, 192),
        "LaneMkgsNonDriv": (192, 0, 64),
    },
    "pavement": {
        "Sidewalk": (0, 0, 192),
        "ParkingBlock": (64, 192, 128),
        "RoadShoulder": (128, 128, 192),
    },
    "tree": {"Tree": (128, 128, 0), "VegetationMisc": (192, 192, 0)},
    "sign": {
        "SignSymbol": (192, 128, 128),
        "Misc_Text": (128, 128, 64),
        "TrafficLight": (0, 64, 64),
    },
    "fence": {"Fence": (64, 64, 128)},
    "car": {
        "Car": (64, 0, 128),
        "SUVPickupTruck": (64, 128, 192),
        "Truck_Bus": (192, 128, 192),
        "Train": (192, 64, 128),
        "OtherMoving": (128, 64, 64),
    },
    "pedestrian": {
        "Pedestrian": (64, 64, 0),
        "Child": (192, 128, 64),
        "CartLuggagePram": (64, 0, 192),
        "Animal": (64, 128, 64),
    },
    "bicyclist": {"Bicyclist": (0, 128, 192), "MotorcycleScooter": (192, 0, 192)},
}
VOID = (0, 0, 0)
COLOURS = {
    **{colour: k for k, group in enumerate(GROUPS.values()) for colour in group.values()},
    VOID: IGNORE,
}
INDICES = table({**{k: k for k in range(11)}, 11: IGNORE})


class CamVid(LabelledPictures):
    """Frames of a drive through Cambridge with eleven classes.

    Samples as in :class:`~lessons_lib.data.LabelledPictures`: the eleven classes of Badrinarayanan et
    al. (SegNet, PAMI 2017) in their order, void = 255. Two layouts are read:

    * That of the SegNet tutorial, 480×360: ``{train,val,test}/<id>.png`` and
      ``{train,val,test}annot/<id>.png``, gray PNGs with 0..10 and 11 = void; 367, 101 and 233 frames.
    * The original, 960×720: ``701_StillsRaw_full/<id>.png`` and
      ``LabeledApproved_full/<id>_L.png``, in which 31 colours and black (void) are the classes. They
      become eleven: ``lessons_lib.data.camvid.GROUPS``. The original has no split. It is read with
      ``split="all"``, or by lists ``train.txt``, ``val.txt``, ``test.txt`` of frames in its folder (the
      lists of the SegNet tutorial do: folders and suffixes in them are left out).

    Any other index or colour is an error.

    Args:
        root: Folder of the data set; None means ``lessons_lib.data.root() / "camvid"``. Looked for
            in it, in ``CamVid`` in it, and in what ``lessons data fetch camvid`` unpacks.
        split: "train", "val", "test" or "all".
        download: Fetch the SegNet tutorial's files if nothing is there yet.

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DataError: A label is missing or unknown, a list missing, a file broken, or sizes differ.
        ValueError: Unknown split.
    """

    NAME: ClassVar[str] = "camvid"
    CLASSES: ClassVar[tuple[str, ...]] = tuple(GROUPS)
    PALETTE: ClassVar[np.ndarray] = np.array(
        [next(iter(group.values())) for group in GROUPS.values()], np.uint8
    )

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "train",
        download: bool = False,
    ) -> None:
        check_choice("split", split, (*SPLITS, "all"))
        folder = data_folder(self.NAME, root, download)
        super().__init__(folder, split, find_part(find_base(folder), split))


def find_base(folder: Path) -> Path:
    """The folder with the frames in it, in either layout.

    Raises:
        FileNotFoundError: There is none.
    """
    for base in (folder, folder / "CamVid", *sorted(folder.glob("*/*/CamVid"))):
        if (base / "trainannot").is_dir() or (base / APPROVED).is_dir():
            return base
    raise FileNotFoundError(
        f"{folder}: no CamVid here. Fetch it with `lessons data fetch camvid`, or put a folder "
        f"there with train/, trainannot/, …, or with {STILLS}/ and {APPROVED}/"
    )


def find_part(base: Path, split: str) -> Part:
    """The frames of one part; nothing is decoded."""
    if (base / APPROVED).is_dir():
        return _original(base, split)
    if split == "all":
        parts = [find_part(base, name) for name in SPLITS]
        return Part(
            "all", [p for q in parts for p in q.pictures], [t for q in parts for t in q.problems]
        )
    images = {path.stem: path for path in (base / split).glob("*.png")}
    labels = {path.stem: path for path in (base / f"{split}annot").glob("*.png")}
    if not images and not labels:
        return Part(split, [], [f"{base / split}: no frames in it"])
    return pair(split, images, labels, read_indices, f"{base}/{split}annot/{{}}.png")


def _original(base: Path, split: str) -> Part:
    images = {path.stem: path for path in (base / STILLS).glob("*.png")}
    labels = {path.stem.removesuffix("_L"): path for path in (base / APPROVED).glob("*_L.png")}
    everything = pair("all", images, labels, read_colours, f"{base / APPROVED}/{{}}_L.png")
    if split == "all":
        return everything
    path = base / f"{split}.txt"
    if not path.is_file():
        raise DataError(
            f"{path}: the list is missing. The original has no split: put the SegNet tutorial's "
            "train.txt, val.txt and test.txt there, or take split='all'"
        )
    known = {picture.id: picture for picture in everything.pictures}
    wanted = [Path(line.split()[0]).stem for line in read_lines(path)]
    missing = [f"{path}: the frame {name} is not there" for name in wanted if name not in known]
    kept: list[LabelledPicture] = [known[name] for name in wanted if name in known]
    return Part(split, kept, missing)


def find_parts(folder: Path) -> Iterator[Part]:
    """All frames: of each part where there are parts, else of "all"."""
    base = find_base(folder)
    for split in ("all",) if (base / APPROVED).is_dir() else SPLITS:
        yield find_part(base, split)


def read_indices(path: Path) -> np.ndarray:
    """Classes uint8 (H, W) of the SegNet tutorial's label files."""
    return look_up(path, read_label_pixels(path), INDICES, "0..11")


def read_colours(path: Path) -> np.ndarray:
    """Classes uint8 (H, W) of the original's coloured label files."""
    expected = "the 32 colours of CamVid's label_colors.txt"
    return look_up_colours(path, read_pixels(path), COLOURS, expected)
