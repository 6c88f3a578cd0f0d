"""What the first bytes of a picture file say, read without decoding it and without a limit on its size.

Pillow refuses pictures of more than 179 million pixels before it has read one of them, since a small
file can claim to be huge. Slides and tiled micrographs are honestly that large, so their headers are
read here, and :data:`LARGEST` guards what is decoded whole.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import tifffile

from .errors import DataError

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8"
TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
LARGEST = 2**30
"""Pixels of a picture that is decoded whole, 32,768 x 32,768: OpenCV's own limit."""


@dataclass(frozen=True)
class Header:
    """Kind (``"png"``, ``"jpeg"``, ``"tiff"``) and size in px of a picture."""

    kind: str
    height: int
    width: int

    def check_size(self, path: Path) -> None:
        """DataError if the picture is too large to be decoded whole (:data:`LARGEST`)."""
        if self.height * self.width > LARGEST:
            raise DataError(
                f"{path}: says that it is {self.width}×{self.height} pixels (width×height); what is "
                f"decoded whole may have {LARGEST:,}. Cut it, or store it as a TIFF, uncompressed or in "
                "tiles, which is read in parts"
            )


def kind_of_file(start: bytes) -> str | None:
    """ "png", "jpeg" or "tiff" by a file's first bytes (8 or more); None for anything else."""
    if start.startswith(PNG_SIGNATURE):
        return "png"
    if start.startswith(JPEG_SIGNATURE):
        return "jpeg"
    return "tiff" if start[:4] in TIFF_SIGNATURES else None


def read_header(path: str | os.PathLike[str]) -> Header:
    """Kind and size of a picture file.

    Raises:
        DataError: It cannot be opened, is of another kind, or its header is broken.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return header_of(path, file)
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror or error})") from error


def header_of(path: Path, file: BinaryIO) -> Header:
    """As :func:`read_header`, of a file that is open at its beginning; ``path`` is for the messages."""
    kind = kind_of_file(start := file.read(26))
    if kind is None:
        raise DataError(f"{path}: neither PNG, JPEG nor TIFF, by its first bytes")
    try:
        if kind == "png":
            if start[12:16] != b"IHDR":
                raise ValueError("it does not begin with IHDR")
            width, height = struct.unpack(">II", start[16:24])
        elif kind == "jpeg":
            height, width = _jpeg_size(file)
        else:
            file.seek(0)
            with quiet_tifffile(), tifffile.TiffFile(file) as tiff:
                page = only_page(path, tiff)
                height, width = page.imagelength, page.imagewidth
        if height < 1 or width < 1:
            raise ValueError(f"it has {width}×{height} pixels")
    except DataError:
        raise
    except Exception as error:  # tifffile lets through whatever a broken file makes Python raise
        raise DataError(f"{path}: header cannot be read ({error})") from error
    return Header(kind, height, width)


def only_page(path: Path, tiff: tifffile.TiffFile) -> tifffile.TiffPage:
    """The picture of a TIFF. Smaller copies of it (the levels of a pyramid) are passed over.

    Raises:
        DataError: The file is a stack, of several pages or as ImageJ writes one, or has more than 4
            channels.
    """
    pages = [page for page in (entry.aspage() for entry in tiff.pages) if not page.is_reduced]
    if not pages:
        raise ValueError("it has no page")
    images = (tiff.imagej_metadata or {}).get("images", 1) if tiff.is_imagej else 1
    count = max(len(pages), int(images))
    if count > 1:
        raise DataError(
            f"{path}: is a stack of {count} pages; a picture is one page. Store each slice as a file "
            "of its own, and channels that belong together as one RGB picture"
        )
    if pages[0].samplesperpixel > 4:
        raise DataError(
            f"{path}: has {pages[0].samplesperpixel} channels; expected gray or RGB, with alpha or without"
        )
    return pages[0]


@contextmanager
def quiet_tifffile() -> Iterator[None]:
    """tifffile's own complaints stay off the screen: a DataError says it better."""
    logger = logging.getLogger("tifffile")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _jpeg_size(file: BinaryIO) -> tuple[int, int]:
    """(height, width) from the frame header of a JPEG, which other segments come before.

    A segment is 0xFF, its kind, and its length in two bytes, which count themselves; a frame header is of
    kind 0xC0 to 0xCF, without 0xC4, 0xC8 and 0xCC, and has precision, height and width first (ITU T.81, B.2.2).
    """
    file.seek(len(JPEG_SIGNATURE))
    while True:
        mark = file.read(1)
        while mark == b"\xff":  # may be repeated
            mark = file.read(1)
        head = file.read(2)
        if not mark or len(head) < 2:
            raise ValueError("it ends before its frame header")
        (length,) = struct.unpack(">H", head)
        if 0xC0 <= mark[0] <= 0xCF and mark[0] not in (0xC4, 0xC8, 0xCC):
            _, height, width = struct.unpack(">BHH", file.read(5))
            return height, width
        file.seek(length - 2, os.SEEK_CUR)
