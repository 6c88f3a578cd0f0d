"""NYU Depth v2: rooms with depth, 40 or 13 classes.

Silberman, Hoiem, Kohli, Fergus, *Indoor Segmentation and Support Inference from RGBD Images*, ECCV
2012. The 40 classes: Gupta, Arbeláez, Malik, *Perceptual Organization and Recognition of Indoor Scenes
from RGB-D Images*, CVPR 2013. The 13 classes: Couprie, Farabet, Najman, LeCun, *Indoor Semantic
Segmentation using Depth Information*, ICLR 2013.
"""

import importlib
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import scipy.io
import torch
from scipy.io.matlab import MatReadError

from .checks import check_size
from .errors import DataError
from .files import read_label_pixels, read_pixels
from .labelled import IGNORE, LabelledPicture, LabelledPictures, look_up, pair, table
from .palettes import voc_palette
from .picture_sets import Part, check_choice, data_folder, read_lines

SPLITS = ("train", "test")
MAT = "nyu_depth_v2_labeled.mat"
CLASSES_40 = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf"),
    *("picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror"),
    *("floor mat", "clothes", "ceiling", "books", "refrigerator", "television", "paper", "towel"),
    *("shower curtain", "box", "whiteboard", "person", "night stand", "toilet", "sink", "lamp"),
    *("bathtub", "bag", "other structure", "other furniture", "other prop"),
)
CLASSES_13 = (
    *("bed", "books", "ceiling", "chair", "floor", "furniture", "objects", "picture", "sofa"),
    *("table", "tv", "wall", "window"),
)
# All that scipy raises for a file that is absent, cut off, of a later version, or something else.
MAT_DAMAGE = (OSError, ValueError, TypeError, NotImplementedError, zlib.error, MatReadError)
NAMES = {40: CLASSES_40, 13: CLASSES_13}


class NYUv2(LabelledPictures):
    """Rooms seen by a Kinect, 640×480 pixels: 795 pictures to train, 654 to test.

    Samples as in :class:`~lessons_lib.data.LabelledPictures`, and ``depth`` float32 (1, H, W) in
    metres, 0 = no measurement. Classes are 0..39 or 0..12, stored labels less one; stored 0,
    unlabelled, becomes 255 = ignore. Any other value is an error. The data set has no colours of its own:
    the palette is Pascal VOC's, from 1 on.

    Layouts, the first that is found is read:

    * ``nyu_depth_v2_labeled.mat``, ``splits.mat`` and ``classMapping40.mat``, for 13 classes
      ``class13Mapping.mat`` too. The first two are the authors'
      (https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html), the mappings are those of
      https://github.com/ankurhanda/nyuv2-meta-data. Needs the package ``h5py``, which Colab has. Depth
      is the in-painted one. The id is the number of the picture from 1, four digits.
    * ``{train,test}/rgb``, ``labels_40`` or ``labels_13``, and ``depth``, as ESANet's preparation
      script writes them (https://github.com/TUI-NICR/ESANet).
    * ``image``, ``seg40`` or ``seg13``, and ``depth``, each with ``train`` and ``test`` in it, or
      together with lists of ids ``train.txt`` and ``test.txt``.

    In the folders, files are ``<id>.png``; labels have one channel with 0 = unlabelled and 1..40 or
    1..13; depth has 16 bits, in millimetres.

    Args:
        root: Folder of the data set; None means ``lessons_lib.data.root() / "nyuv2"``.
        split: "train" or "test".
        classes: 40 or 13.
        download: Only raises, if nothing is there, and says what to fetch.

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DownloadError: ``download`` is set and nothing is there.
        ImportError: The .mat file is there, ``h5py`` is not.
        DataError: A file is missing or broken, a label unknown, or sizes differ; names the file.
        ValueError: Unknown split or number of classes.
    """

    NAME: ClassVar[str] = "nyuv2"
    CLASSES: ClassVar[tuple[str, ...]] = CLASSES_40
    PALETTE: ClassVar[np.ndarray] = voc_palette(41)[1:]

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "train",
        classes: int = 40,
        download: bool = False,
    ) -> None:
        check_choice("split", split, SPLITS)
        check_choice("classes", classes, tuple(NAMES))
        folder = data_folder(self.NAME, root, download)
        super().__init__(folder, split, find_part(folder, split, classes))
        self.CLASSES = NAMES[classes]  # type: ignore[misc]  # of this object
        self.PALETTE = self.PALETTE[:classes]  # type: ignore[misc]


@dataclass(frozen=True)
class FilePicture(LabelledPicture):
    """One picture in three files."""

    depth: Path

    def extras(self) -> dict[str, Any]:
        millimetres = read_pixels(self.depth)
        if millimetres.dtype != np.uint16 or millimetres.ndim != 2:
            raise DataError(
                f"{self.depth}: is {millimetres.dtype} {millimetres.shape}; expected depth in "
                "millimetres, 16 bits, one channel"
            )
        check_size(self.depth, millimetres.shape, self.image, self.size())
        return {"depth": torch.from_numpy(millimetres.astype(np.float32) / 1000)[None]}


@dataclass(frozen=True)
class MatPicture(LabelledPicture):
    """One picture of the MATLAB file: the arrays there are (N, …, W, H), HDF5 being row by row."""

    index: int
    mapping: np.ndarray

    def size(self) -> tuple[int, int]:
        with open_hdf5(self.image) as file:
            width, height = file["labels"].shape[1:]
        return height, width

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        with open_hdf5(self.image) as file:
            pixels = np.ascontiguousarray(np.asarray(file["images"][self.index]).transpose(2, 1, 0))
            labels = np.ascontiguousarray(np.asarray(file["labels"][self.index]).T)
        return pixels, look_up(self.image, labels, self.mapping, "0..894")

    def extras(self) -> dict[str, Any]:
        with open_hdf5(self.image) as file:
            depth = np.asarray(file["depths"][self.index]).T.astype(np.float32)
        return {"depth": torch.from_numpy(np.ascontiguousarray(depth))[None]}


def find_part(folder: Path, split: str, classes: int) -> Part:
    """The pictures of one part in any of the layouts.

    Raises:
        FileNotFoundError: Nothing of the kind is there.
        DataError: A table or list is broken.
    """
    if (folder / MAT).is_file():
        return _in_mat(folder, split, classes)
    if (folder / split / "rgb").is_dir():
        names = f"{split}/rgb", f"{split}/labels_{classes}", f"{split}/depth"
        return _in_folders(folder, split, classes, names)
    names = "image", f"seg{classes}", "depth"
    if (folder / "image" / split).is_dir():
        return _in_folders(folder, split, classes, tuple(f"{name}/{split}" for name in names))
    if (folder / "image").is_dir():
        everything = _in_folders(folder, split, classes, names)
        wanted = [Path(line).stem for line in read_lines(folder / f"{split}.txt")]
        known = {picture.id: picture for picture in everything.pictures}
        missing = [
            f"{folder / (split + '.txt')}: the picture {name} is not there, or not whole"
            for name in wanted
            if name not in known
        ]
        return Part(split, [known[name] for name in wanted if name in known], missing)
    raise FileNotFoundError(
        f"{folder}: no NYU Depth v2 here. Fetch {MAT} (2.8 GB) and splits.mat from "
        "https://cs.nyu.edu/~silberman/datasets/nyu_depth_v2.html, and classMapping40.mat from "
        "https://github.com/ankurhanda/nyuv2-meta-data, and put them there"
    )


def _in_folders(folder: Path, split: str, classes: int, names: tuple[str, ...]) -> Part:
    images, labels, depths = (
        {path.stem: path for path in (folder / name).glob("*.png")} for name in names
    )
    decode = partial(read_stored_labels, classes=classes)
    both = pair(split, images, labels, decode, f"{folder / names[1]}/{{}}.png")
    pictures = [
        FilePicture(p.id, p.image, p.truth, p.decode, depths[p.id])
        for p in both.pictures
        if p.id in depths
    ]
    problems = [
        f"{p.image}: its depth {folder / names[2]}/{p.id}.png is missing"
        for p in both.pictures
        if p.id not in depths
    ]
    return Part(split, pictures, [*both.problems, *problems])


def _in_mat(folder: Path, split: str, classes: int) -> Part:
    path = folder / MAT
    mapping = read_mapping(folder, classes)
    with open_hdf5(path) as file:
        absent = [name for name in ("images", "labels", "depths") if name not in file]
        if absent:
            raise DataError(f"{path}: has no array {absent[0]!r}")
        count = len(file["labels"])
    numbers = read_mat(folder / "splits.mat", f"{split}Ndxs").astype(np.int64).ravel()
    if numbers.size == 0 or numbers.min() < 1 or numbers.max() > count:
        raise DataError(
            f"{folder / 'splits.mat'}: {split}Ndxs should be in 1..{count}, the pictures of {MAT}"
        )
    pictures = [
        MatPicture(f"{number:04d}", path, path, read_label_pixels, number - 1, mapping)
        for number in numbers.tolist()
    ]
    return Part(split, pictures)


def read_mapping(folder: Path, classes: int) -> np.ndarray:
    """uint8 (895,): the class of each of the 894 labels of the MATLAB file, 255 for label 0."""
    path = folder / "classMapping40.mat"
    mapping = _checked(path, read_mat(path, "mapClass"), 894, 40)
    if classes == 13:
        path = folder / "class13Mapping.mat"
        found = read_mat(path, "classMapping13")
        if found.dtype.names is None or "labels13" not in found.dtype.names:
            raise DataError(f"{path}: classMapping13 has no field labels13")
        mapping = _checked(path, found["labels13"].ravel()[0], 40, 13)[mapping - 1]
    return np.concatenate([[IGNORE], mapping - 1]).astype(np.uint8)


def _checked(path: Path, mapping: np.ndarray, size: int, classes: int) -> np.ndarray:
    values = np.asarray(mapping).ravel().astype(np.int64)
    if values.size != size or values.min() < 1 or values.max() > classes:
        raise DataError(f"{path}: expected {size} classes in 1..{classes}, found {values.size}")
    return values


def read_mat(path: Path, name: str) -> np.ndarray:
    """One variable of a small MATLAB file (before version 7.3).

    Raises:
        DataError: The file is missing or broken, or has no such variable.
    """
    try:
        content = scipy.io.loadmat(path)
    except MAT_DAMAGE as error:
        raise DataError(f"{path}: cannot be read as a MATLAB file ({error})") from error
    if name not in content:
        raise DataError(f"{path}: has no variable {name!r}")
    return np.asarray(content[name])


def open_hdf5(path: Path) -> Any:
    """The HDF5 file, opened to read; opened anew for every sample, which is safe in any process.

    Raises:
        ImportError: ``h5py`` is not installed.
        DataError: No HDF5 file.
    """
    try:
        h5py = importlib.import_module("h5py")  # optional: not among the library's dependencies
    except ImportError as error:
        raise ImportError(f"{path}: reading it needs the package h5py: pip install h5py") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path}: cannot be read as HDF5 ({error})") from error


def read_stored_labels(path: Path, classes: int) -> np.ndarray:
    """Classes uint8 (H, W) of a label file with 0 = unlabelled and 1..classes."""
    known = table({0: IGNORE, **{k + 1: k for k in range(classes)}})
    return look_up(path, read_label_pixels(path), known, f"0..{classes}, 0 = unlabelled")


def find_parts(folder: Path) -> Iterator[Part]:
    """Both parts, with 40 classes if they are there, else with 13."""
    thirteen = not (folder / MAT).is_file() and (
        ((folder / "seg13").is_dir() and not (folder / "seg40").is_dir())
        or (
            (folder / "train" / "labels_13").is_dir()
            and not (folder / "train" / "labels_40").is_dir()
        )
    )
    for split in SPLITS:
        yield find_part(folder, split, 13 if thirteen else 40)
