"""The two layouts in which the nuclei come, found and read."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .checks import check_size
from .files import read_label_pixels, read_pixels


@dataclass(frozen=True)
class NucleusPicture:
    """One picture and where its instances are: a label file or a folder of masks."""

    id: str
    image: Path
    truth: Path

    def mask_files(self) -> list[Path]:
        """The mask files in name order; empty in the merged layout."""
        return sorted(self.truth.glob("*.png")) if self.truth.suffix != ".png" else []

    def read_instances(self, size: tuple[int, ...]) -> np.ndarray:
        """Instances (H, W) with the ids of the file, or the q-th mask as id q.

        Args:
            size: (H, W) of the picture, which the labels must have too.

        Raises:
            DataError: A file is broken or has another size.
        """
        if self.truth.suffix == ".png":
            labels = read_label_pixels(self.truth)
            check_size(self.truth, labels.shape, self.image, size)
            return labels
        instances = np.zeros(size, dtype=np.int32)
        for number, path in enumerate(self.mask_files(), start=1):
            instances[self.read_mask(path, size)] = number
        return instances

    def read_mask(self, path: Path, size: tuple[int, ...]) -> np.ndarray:
        """One mask file as bool (H, W); every pixel that is not black belongs to the nucleus."""
        pixels = read_pixels(path)
        check_size(path, pixels.shape[:2], self.image, size)
        mask: np.ndarray = pixels > 0
        return mask if mask.ndim == 2 else np.any(mask, axis=2)


def find_pictures(folder: Path) -> tuple[list[NucleusPicture], list[str]]:
    """Find the pictures under a folder, in either layout, sorted by id; nothing is decoded.

    Looked for in this order, the first that is there wins: ``images`` and ``labels`` in the folder
    itself, in ``dev``, in ``train``; then picture folders ``<id>/images`` in ``stage1_train`` and in
    the folder itself.

    Returns:
        The pictures, and a line for each that has no labels, or labels without a picture.

    Raises:
        FileNotFoundError: Nothing of the kind is there.
    """
    for base in (folder, folder / "dev", folder / "train"):
        if (base / "images").is_dir() and (base / "labels").is_dir():
            return _find_merged(base)
    for base in (folder / "stage1_train", folder):
        folders = [path.parent for path in sorted(base.glob("*/images")) if path.is_dir()]
        if folders:
            return _find_original(folders)
    raise FileNotFoundError(
        f"{folder}: no nuclei here. Fetch them with `lessons data fetch nuclei`, or put a folder "
        "there with images/ and labels/, or with <id>/images/ and <id>/masks/ for each picture"
    )


def _find_merged(base: Path) -> tuple[list[NucleusPicture], list[str]]:
    images = {path.stem: path for path in sorted((base / "images").glob("*.png"))}
    labels = {path.stem: path for path in (base / "labels").glob("*.png")}
    problems = [
        f"{images[stem]}: its labels {base / 'labels' / (stem + '.png')} are missing"
        for stem in sorted(images.keys() - labels.keys())
    ]
    problems += [
        f"{labels[stem]}: its picture {base / 'images' / (stem + '.png')} is missing"
        for stem in sorted(labels.keys() - images.keys())
    ]
    both = sorted(images.keys() & labels.keys())
    return [NucleusPicture(stem, images[stem], labels[stem]) for stem in both], problems


def _find_original(folders: list[Path]) -> tuple[list[NucleusPicture], list[str]]:
    pictures, problems = [], []
    for folder in folders:
        image = folder / "images" / f"{folder.name}.png"
        if not image.is_file():
            problems.append(f"{image}: the picture is missing")
        elif not (folder / "masks").is_dir():
            problems.append(f"{image}: its folder {folder / 'masks'} is missing")
        else:
            pictures.append(NucleusPicture(folder.name, image, folder / "masks"))
    return pictures, problems
