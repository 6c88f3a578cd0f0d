"""The run lengths of two contests: text in a CSV file, down the columns, only the foreground counted."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .annotations import Annotations, MarkedObject, MarkedPicture, mask_runs
from .box_tables import read_table
from .errors import DataError
from .files import picture_size, write_bytes
from .rle import encode_rle, rle_box

EMPTY = "-1"
PNEUMOTHORAX_SIZE = (1024, 1024)


def encode_starts(mask: np.ndarray) -> str:
    """ "start length start length …" with starts counted from 1: the Data Science Bowl 2018's form.

    An empty mask gives the empty text.

    Args:
        mask: bool (H, W).
    """
    return _starts_text(_counts(mask))


def decode_starts(text: str, size: tuple[int, int]) -> np.ndarray:
    """The mask bool (height, width) of :func:`encode_starts`'s text.

    Raises:
        DataError: Not pairs of whole numbers, or runs out of order, that overlap or leave the picture.
    """
    starts, lengths = _pairs(text)
    return _fill(starts - 1, lengths, size, text)


def encode_gaps(mask: np.ndarray) -> str:
    """ "gap length gap length …": the SIIM-ACR pneumothorax contest's form; "-1" for an empty mask.

    A gap is the number of pixels between the end of the last run, or the beginning, and the run: COCO's
    counts without the background at the end.

    Args:
        mask: bool (H, W).
    """
    return _gaps_text(_counts(mask))


def decode_gaps(text: str, size: tuple[int, int] = PNEUMOTHORAX_SIZE) -> np.ndarray:
    """The mask bool (height, width) of :func:`encode_gaps`'s text.

    Raises:
        DataError: Not pairs of whole numbers, or runs that leave the picture.
    """
    gaps, lengths = _pairs("" if text.strip() == EMPTY else text)
    return _fill(np.cumsum(gaps + lengths) - lengths, lengths, size, text)


def read_runs(path: Path, gaps: bool, size_of: Callable[[str], tuple[int, int]]) -> Annotations:
    """The objects of a contest's CSV file with the columns ImageId and EncodedPixels, one row an object.

    Args:
        path: The CSV file.
        gaps: Whether runs are relative (SIIM-ACR) or absolute (Data Science Bowl).
        size_of: (height, width) of a picture by its id.

    Raises:
        DataError: No such table, or broken runs; names file and line.
    """
    objects: dict[str, list[MarkedObject]] = {}
    for line, row in read_table(path, ("ImageId", "EncodedPixels")):
        name, text = row["ImageId"], row["EncodedPixels"]
        found = objects.setdefault(name, [])
        if text in ("", EMPTY):
            continue
        try:
            runs = encode_rle((decode_gaps if gaps else decode_starts)(text, size_of(name)))
        except DataError as error:
            raise DataError(f"{path}: line {line} ({name}): {error}") from error
        found.append(MarkedObject("object", rle_box(runs), runs))
    pictures = tuple(
        MarkedPicture(f"{name}.png", size_of(name), tuple(found)) for name, found in objects.items()
    )
    return Annotations(pictures, ("object",))


def write_runs(path: Path, annotations: Annotations, gaps: bool) -> None:
    """Write a contest's CSV file; classes, boxes of their own, sizes and flags are lost.

    Raises:
        DataError: An object has no mask; names it.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("ImageId", "EncodedPixels"))
    write = _gaps_text if gaps else _starts_text
    for picture in annotations.pictures:
        name = Path(picture.file_name).stem
        for number in range(len(picture.objects)):
            writer.writerow((name, write(mask_runs(picture, number).counts(0))))
        if not picture.objects:
            writer.writerow((name, EMPTY if gaps else ""))
    write_bytes(path, text.getvalue().encode())


def size_by_picture(find_picture: Callable[[str], Path]) -> Callable[[str], tuple[int, int]]:
    """(height, width) by id, from the picture files' headers."""
    return lambda name: picture_size(find_picture(name))


def _counts(mask: np.ndarray) -> list[int]:
    """COCO's run lengths."""
    counts = encode_rle(mask)["counts"]
    return [int(count) for count in counts]


def _starts_text(counts: list[int]) -> str:
    ends = np.cumsum(counts, dtype=np.int64).tolist()
    return " ".join(f"{end + 1} {n}" for end, n in zip(ends[::2], counts[1::2], strict=False))


def _gaps_text(counts: list[int]) -> str:
    return " ".join(map(str, counts[: len(counts) // 2 * 2])) or EMPTY


def _pairs(text: str) -> tuple[np.ndarray, np.ndarray]:
    fields = text.split()
    if len(fields) % 2 or not all(f.isdecimal() and len(f) < 16 for f in fields):
        raise DataError(
            f"runs are {_short(text)}; expected pairs of whole numbers, start and length"
        )
    numbers = np.array([int(field) for field in fields], np.int64)
    return numbers[::2], numbers[1::2]


def _fill(starts: np.ndarray, lengths: np.ndarray, size: tuple[int, int], text: str) -> np.ndarray:
    height, width = size
    ends = starts + lengths
    if len(starts) and (starts[0] < 0 or ends[-1] > height * width):
        raise DataError(f"runs are {_short(text)}; they leave the picture of {width}×{height}")
    if (starts[1:] < ends[:-1]).any():
        raise DataError(f"runs are {_short(text)}; they overlap or are out of order")
    change = np.zeros(height * width + 1, np.int8)
    np.add.at(change, starts, 1)
    np.add.at(change, ends, -1)
    return np.cumsum(change[:-1]).astype(bool).reshape((height, width), order="F")


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "…")
