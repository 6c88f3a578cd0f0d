"""Where the files of the RGB-D saliency sets lie, and which way round each set stores its depth.

The sets went from hand to hand, and every package of them names its folders anew. What is known here was read
from public code that loads them: the released UC-Net (``RGB``, ``depth``, ``GT`` in ``test_dataset/NJU2K`` and so on;
github.com/JingZhang617/UCNet), the benchmark of D3Net (``NJU2K_TRAIN``, ``NJU2K_TEST``, ``NLPR_TRAIN``;
github.com/DengPingFan/D3NetBenchmark), loaders with ``trainset`` and ``testset``, with ``Image``, ``Depth`` and
``Mask`` and with ``train_images``, ``train_depth`` and ``train_masks``, and lists of names in text files. No
original archive was at hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .errors import DataError
from .picture_sets import read_lines

SPLITS = ("train", "test")
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff")
KINDS = {
    "image": ("RGB", "Image", "Images", "Imgs", "Img", "left", "LR"),
    "depth": ("depth", "depths"),
    "truth": ("GT", "Mask", "Masks", "groundtruth"),
}
"""Names of the three folders, in upper or lower case, and after ``train_`` or ``test_``."""
ABOVE = ("train", "test", "TrainingSet", "TestingSet", "RGBD_for_test", "test_dataset")
"""Folders in which packages have the sets' folders."""


@dataclass(frozen=True)
class SaliencySet:
    """What is known of one data set.

    Attributes:
        names: Of its folder; the first is the one used here.
        near: "bright" or "dark", what near things are in its depth maps.
        sure: Whether that follows from how the depth was measured; else somebody reported it.
        train, test: How many pictures the papers train and test on.
        about: A line.
        source: Who made it.
    """

    names: tuple[str, ...]
    near: str
    sure: bool
    train: int
    test: int
    about: str
    source: str


# Issue 6 of github.com/jiwei0921/RGBD-SOD-datasets reports of one package: LFSD, NJU2K and SSD have near things
# brighter, the other sets have them darker. A Kinect (NLPR, DES) measures distances, which are small for
# near things; so do phones (SIP). STERE's depth was calculated from two views: as a disparity, near would
# be bright, but the report counts it among the others, and packages differ.
SETS = {
    "NJU2K": SaliencySet(
        ("NJU2K", "NJUD", "NJU2000", "NJUDS2000"),
        *("bright", False, 1485, 500),
        "1,985 stereo pictures from the internet, films and a camera; the disparity is the depth",
        "Ju, Ge, Geng, Ren, Wu, ICIP 2014",
    ),
    "NLPR": SaliencySet(
        ("NLPR", "NLPR_FULL", "RGBD1000"),
        *("dark", True, 700, 300),
        "1,000 pictures of a Kinect, indoors and outdoors",
        "Peng, Li, Xiong, Hu, Ji, ECCV 2014",
    ),
    "STERE": SaliencySet(
        ("STERE", "STEREO", "STERE1000", "SSB"),
        *("dark", False, 0, 1000),
        "1,000 stereo pictures from the internet; some papers call it SSB",
        "Niu, Geng, Li, Liu, CVPR 2012",
    ),
    "DES": SaliencySet(
        ("DES", "RGBD135"),
        *("dark", True, 0, 135),
        "135 pictures of a Kinect, indoors; also called RGBD135",
        "Cheng, Fu, Wei, Xiao, Cao, ICIMCS 2014",
    ),
    "LFSD": SaliencySet(
        ("LFSD",),
        *("bright", False, 0, 100),
        "100 light fields; the depth was calculated from them",
        "Li, Ye, Ji, Ling, Yu, CVPR 2014",
    ),
    "SIP": SaliencySet(
        ("SIP",),
        *("dark", False, 0, 929),
        "929 pictures of people with a phone's two cameras",
        "Fan, Lin, Zhang, Zhu, Cheng, TNNLS 2020",
    ),
    "SSD": SaliencySet(
        ("SSD", "SSD100", "SSD80"),
        *("bright", False, 0, 80),
        "80 stereo pictures from three films",
        "Zhu, Li, ICCV workshops 2017",
    ),
}


def find_split(root: Path, name: str, split: str) -> dict[str, dict[str, Path]]:
    """The files of one part of a set, by kind and id (the file's name without its ending).

    Returns:
        ``image``, ``depth`` and ``truth``, each a dict from id to file; nothing is decoded, nothing paired.

    Raises:
        FileNotFoundError: The part is not there in any of the layouts.
        DataError: Two files have the same id, or a list cannot be read.
    """
    for base, listed in _candidates(root, name, split):
        if folders := _three_folders(base, split):
            files = {kind: _by_id(folder) for kind, folder in folders.items()}
            if listed is None:
                return files
            wanted = dict.fromkeys(Path(line).stem for line in read_lines(listed))
            absent = [key for key in wanted if not any(key in known for known in files.values())]
            if absent:
                more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
                raise DataError(f"{listed}: no file for {absent[0]}{more} in {base}")
            return {
                kind: {key: known[key] for key in wanted if key in known}
                for kind, known in files.items()
            }
    raise FileNotFoundError(advice(root, name, split))


def advice(root: Path, name: str, split: str) -> str:
    """What to put where."""
    folder = f"{SETS[name].names[0]}_{split.upper()}" if SETS[name].train else SETS[name].names[0]
    return (
        f"{root}: no {split} part of {name} here. By hand: put its folders RGB, depth and GT into "
        f"{root / folder} (`lessons data fetch rgbd-saliency` says where to get them)"
    )


def _candidates(root: Path, name: str, split: str) -> list[tuple[Path, Path | None]]:
    """Folders that may hold the part, and the list of names to take from each; None: all."""
    known = SETS[name]
    above = [root, *(root / name for name in ABOVE)]
    found: list[tuple[Path, Path | None]] = []
    for spelling in known.names:
        for base in above:
            folder = base / spelling
            found.append((base / f"{spelling}_{split.upper()}", None))
            found.append((base / f"{spelling}_{split}", None))
            for part in (split, f"{split}set", f"{split}_data", f"{split}ing"):
                found.append((folder / part, None))
            lists = (f"{split}.txt", f"{spelling}_{split}.txt", f"{split}.lst")
            found += [(folder, folder / file) for file in lists if (folder / file).is_file()]
            # the second: train_images beside test_images
            if _is_whole(base, split, bool(known.train)) or _has_prefix(folder, split):
                found.append((folder, None))
    return found


def _is_whole(base: Path, split: str, divided: bool) -> bool:
    """Whether a set's own folder is the wanted part: a set that has no training part is all test; of the
    others, a folder without a list is the part that the folder above it is named after.
    """
    if not divided:
        return split == "test"
    return base.name.lower().startswith(split) or (base.name == "RGBD_for_test" and split == "test")


def _has_prefix(folder: Path, split: str) -> bool:
    return folder.is_dir() and any(
        path.name.lower().startswith(f"{split}_") for path in folder.iterdir() if path.is_dir()
    )


def _three_folders(base: Path, split: str) -> dict[str, Path] | None:
    """The folders of pictures, depth and truth, or None."""
    if not base.is_dir():
        return None
    there = {path.name.lower(): path for path in base.iterdir() if path.is_dir()}
    found = {}
    for kind, names in KINDS.items():
        spellings = [s for n in names for s in (n.lower(), f"{split}_{n.lower()}")]
        match = next((there[s] for s in spellings if s in there), None)
        if match is None:
            return None
        found[kind] = match
    return found


def _by_id(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in ENDINGS or path.name.startswith("."):
            continue
        if path.stem in found:
            raise DataError(f"{path}: {found[path.stem].name} has the same name; expected one file")
        found[path.stem] = path
    return found
