"""Folders of instances: label pictures, or one mask an instance, with their pictures; and their table."""

import csv
import io
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from .errors import DataError
from .files import picture_size, read_label_pixels, write_bytes, write_labels, write_png
from .instances import instance_table, renumber
from .nuclei_files import find_pictures

Sample = tuple[str, Path | None, np.ndarray]  # id, picture file if there is one, instances (H, W)


def read_samples(source: Path) -> Iterator[Sample]:
    """The instances of every picture of a folder, by rising id.

    A folder with PNGs in it is a folder of label pictures; else it is nuclei in either layout.

    Raises:
        FileNotFoundError: Nothing that can be read is there.
        DataError: A file is broken, or a label or picture is missing.
    """
    labels = sorted(source.glob("*.png"))
    for path in labels:
        yield path.stem, None, read_label_pixels(path)
    if labels:
        return
    pictures, problems = find_pictures(source)
    if problems:
        raise DataError(problems[0])
    for picture in pictures:
        yield picture.id, picture.image, picture.read_instances(picture_size(picture.image))


def to_merged(source: Path, target: Path) -> int:
    """Write ``images/<id>.png`` and ``labels/<id>.png`` (ids 1..K); returns the number of pictures.

    Picture files are copied byte for byte. The target is a new folder, there whole or not at all.
    """

    def write(folder: Path, name: str, image: Path, instances: np.ndarray) -> None:
        (folder / "images").mkdir(exist_ok=True)
        (folder / "labels").mkdir(exist_ok=True)
        shutil.copyfile(image, folder / "images" / f"{name}.png")
        write_labels(folder / "labels" / f"{name}.png", renumber(instances))

    return _write_folder(source, target, write)


def to_original(source: Path, target: Path) -> int:
    """Write ``<id>/images/<id>.png`` and ``<id>/masks/<number>.png``, 255 on the nucleus.

    The numbers have leading zeros, so that name order is id order and :func:`to_merged` gives the
    same labels back.
    """

    def write(folder: Path, name: str, image: Path, instances: np.ndarray) -> None:
        (folder / name / "images").mkdir(parents=True)
        (folder / name / "masks").mkdir()
        shutil.copyfile(image, folder / name / "images" / f"{name}.png")
        instances = renumber(instances)
        for number in range(1, int(instances.max(initial=0)) + 1):
            mask = np.where(instances == number, np.uint8(255), np.uint8(0))
            write_png(folder / name / "masks" / f"{number:05d}.png", mask)

    return _write_folder(source, target, write)


def to_csv(samples: Iterable[Sample], target: Path) -> int:
    """Write one CSV file, a row an instance: picture, id, area, centroid, box in pixels."""
    fields = ["picture", "id", "area", "centroid_x", "centroid_y", "x1", "y1", "x2", "y2"]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    pictures = 0
    for name, _, instances in samples:
        pictures += 1
        writer.writerows({"picture": name, **row} for row in instance_table(instances))
    write_bytes(target, text.getvalue().encode())
    return pictures


def _write_folder(
    source: Path, target: Path, write: Callable[[Path, str, Path, np.ndarray], None]
) -> int:
    """Write every sample into a temporary folder, which becomes ``target`` at the end."""
    if target.exists():
        raise FileExistsError(f"{target}: exists already; give a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        count = 0
        for name, image, instances in read_samples(source):
            if image is None:
                raise DataError(f"{source}: has labels only; this form needs the pictures too")
            write(temporary, name, image, instances)
            count += 1
        temporary.chmod(0o755)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return count
