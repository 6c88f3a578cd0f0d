"""Cityscapes: streets of fifty cities, nineteen classes.

Cordts, Omran, Ramos, Rehfeld, Enzweiler, Benenson, Franke, Roth, Schiele, *The Cityscapes Dataset for
Semantic Urban Scene Understanding*, CVPR 2016.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from .files import read_label_pixels
from .labelled import IGNORE, LabelledPictures, look_up, pair, table
from .picture_sets import Part, check_choice, data_folder

SPLITS = ("train", "val", "test")
IMAGE, LABELS = "_leftImg8bit", "_gtFine_labelIds"

# label id, class, colour: those of the 34 ids that are evaluated, in the order of their train ids
EVALUATED = (
    (7, "road", (128, 64, 128)),
    (8, "sidewalk", (244, 35, 232)),
    (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)),
    (13, "fence", (190, 153, 153)),
    (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)),
    (20, "traffic sign", (220, 220, 0)),
    (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)),
    (23, "sky", (70, 130, 180)),
    (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)),
    (26, "car", (0, 0, 142)),
    (27, "truck", (0, 0, 70)),
    (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)),
    (32, "motorcycle", (0, 0, 230)),
    (33, "bicycle", (119, 11, 32)),
)
TRAIN_IDS = table(
    {
        **{label: IGNORE for label in range(34)},
        **{label: number for number, (label, _, _) in enumerate(EVALUATED)},
    }
)


class Cityscapes(LabelledPictures):
    """Street scenes, 2048×1024 pixels, finely annotated: 2,975 to train, 500 to validate.

    Samples as in :class:`~lessons_lib.data.LabelledPictures`: the 34 label ids of the files become
    the 19 classes that are evaluated ("train ids"), the other 15 become 255 = ignore. Any other value
    is an error. The test part's 1,525 pictures come with dummy labels, in which nothing counts: the
    truth is withheld.

    Layout: ``leftImg8bit/<split>/<city>/<id>_leftImg8bit.png`` and
    ``gtFine/<split>/<city>/<id>_gtFine_labelIds.png``. There is no public download: register at
    https://www.cityscapes-dataset.com and take leftImg8bit_trainvaltest.zip and
    gtFine_trainvaltest.zip.

    Args:
        root: Folder of the data set; None means ``lessons_lib.data.root() / "cityscapes"``.
        split: "train", "val" or "test".
        download: Only raises, if nothing is there, and says where to register.

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DownloadError: ``download`` is set and nothing is there.
        DataError: A label is missing or unknown, a file broken, or sizes differ; names the file.
        ValueError: Unknown split.
    """

    NAME: ClassVar[str] = "cityscapes"
    CLASSES: ClassVar[tuple[str, ...]] = tuple(name for _, name, _ in EVALUATED)
    PALETTE: ClassVar[np.ndarray] = np.array([colour for _, _, colour in EVALUATED], np.uint8)

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "train",
        download: bool = False,
    ) -> None:
        check_choice("split", split, SPLITS)
        folder = data_folder(self.NAME, root, download)
        super().__init__(folder, split, find_part(folder, split))


def street_files(
    folder: Path, split: str, truth: str
) -> tuple[dict[str, Path], dict[str, Path], str]:
    """The pictures and the label pictures of one part by id, and where a missing label picture should be.

    Args:
        folder: Of the data set.
        split: Of the part.
        truth: What the names of the label pictures end with, such as ``_gtFine_labelIds``.

    Raises:
        FileNotFoundError: The part is not there.
    """
    images, labels = folder / "leftImg8bit" / split, folder / "gtFine" / split
    if not images.is_dir() or not labels.is_dir():
        raise FileNotFoundError(
            f"{folder}: no Cityscapes here: {images} and {labels} should be folders. Register at "
            "https://www.cityscapes-dataset.com and unpack leftImg8bit_trainvaltest.zip and "
            "gtFine_trainvaltest.zip there"
        )
    return (
        {path.stem.removesuffix(IMAGE): path for path in images.glob(f"*/*{IMAGE}.png")},
        {path.stem.removesuffix(truth): path for path in labels.glob(f"*/*{truth}.png")},
        f"{labels}/<city>/{{}}{truth}.png",
    )


def find_part(folder: Path, split: str) -> Part:
    """The pictures of one part, as :func:`street_files` finds them; nothing is decoded."""
    images, labels, expected = street_files(folder, split, LABELS)
    return pair(split, images, labels, read_label_ids, expected)


def find_parts(folder: Path, find: Callable[[Path, str], Part] = find_part) -> Iterator[Part]:
    """Every part that is there; at least the training part must be."""
    yield find(folder, "train")
    for split in SPLITS[1:]:
        if (folder / "leftImg8bit" / split).is_dir():
            yield find(folder, split)


def read_label_ids(path: Path) -> np.ndarray:
    """Train ids uint8 (H, W), 255 = ignore, of a file of label ids."""
    return look_up(path, read_label_pixels(path), TRAIN_IDS, "the label ids 0..33")
