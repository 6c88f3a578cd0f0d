"""Windows bitmaps, which some data sets still come in; the rest of the library takes PNG, JPEG and TIFF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL.BmpImagePlugin import BmpImageFile

from .errors import DataError
from .headers import Header


def is_bitmap(path: Path) -> bool:
    """By its first two bytes, "BM".

    Raises:
        DataError: It cannot be opened.
    """
    return _start(path)[:2] == b"BM"


def bitmap_size(path: Path) -> tuple[int, int]:
    """(height, width), from the header: signed 32 bits each at bytes 22 and 18, the height negative if upside down.

    Raises:
        DataError: It cannot be opened, or is cut off before that.
    """
    start = _start(path)
    if len(start) < 26:
        raise DataError(f"{path}: truncated BMP, {len(start)} bytes")
    width, height = np.frombuffer(start, "<i4", 2, 18)
    return abs(int(height)), int(width)


def read_bitmap(path: Path) -> np.ndarray:
    """Pixels uint8, (H, W) where gray or of three equal channels, else RGB (H, W, 3).

    Raises:
        DataError: It cannot be opened, is truncated, or no bitmap.
    """
    Header("bmp", *bitmap_size(path)).check_size(path)
    try:
        # the class itself, for Image.open refuses large pictures
        with path.open("rb") as file, BmpImageFile(file) as picture:
            pixels = np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be decoded as BMP ({error})") from error
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    return np.ascontiguousarray(pixels)


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(26)
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror or error})") from error
