"""Pictures of any size from files, read by windows."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np
import tifffile

from .errors import DataError
from .files import PathLike, read_pixels
from .headers import only_page, quiet_tifffile, read_header
from .picture_statistics import PictureStatistics, count_statistics
from .tiff_pixels import (
    CODECS,
    channels_last,
    check_layout,
    check_segments,
    gray_or_colour,
    is_separate,
)

WHOLE_PIXELS = 2**24
"""Pictures of up to this many pixels (4096 x 4096) are decoded whole in any case."""
SEGMENT_BYTES = 2**26
"""A TIFF with larger strips or tiles is decoded whole: a window would need no less memory."""
CACHE_BYTES = 2**27
"""Decoded strips and tiles that are kept, since neighbouring windows share them."""


class PictureFile:
    """A picture in a file, of which any window can be read.

    How much of it lies in memory depends on the file. A small picture is decoded when it is opened. Of a
    large TIFF, an uncompressed one is mapped into memory and only the windows are read; one in strips or
    tiles that are deflated, packed or not compressed is decoded strip by strip or tile by tile, of which
    the last 128 MB are kept. Everything else (PNG, JPEG, TIFFs with other compressions) is decoded whole,
    as it is stored: one byte or two a value, 300 MB for 10,000 x 10,000 pixels in colour.

    Attributes:
        path: the file.
        height, width: in px.
        dtype: uint8 or uint16.
    """

    def __init__(self, path: Path, source: _Whole | _Segments) -> None:
        self.path = path
        self._source = source
        self.height, self.width = source.height, source.width
        self.dtype = source.dtype
        self._statistics: PictureStatistics | None = None

    def read(self, rows: slice, columns: slice) -> np.ndarray:
        """A window, uint8 or uint16, (h, w) where the picture is gray, else RGB (h, w, 3).

        Args:
            rows, columns: as for an array; what lies outside is left away, steps are not allowed.

        Raises:
            DataError: The file is broken there.
            ValueError: A slice with a step.
        """
        for name, part in (("rows", rows), ("columns", columns)):
            if part.step not in (None, 1):
                raise ValueError(f"{name} is {part}; windows have no step")
        top, bottom, _ = rows.indices(self.height)
        left, right, _ = columns.indices(self.width)
        return self._source.read(top, max(top, bottom), left, max(left, right))

    def statistics(self) -> PictureStatistics:
        """The brightness of the whole picture, exact; the first call reads all of it, in strips."""
        if self._statistics is None:
            strips = (self._source.read(*rows, 0, self.width) for rows in self._source.strips())
            self._statistics = count_statistics(strips, self.dtype)
        return self._statistics

    def close(self) -> None:
        """Closes the file, if it is still open."""
        self._source.close()

    def __enter__(self) -> PictureFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_picture(path: PathLike, whole_pixels: int = WHOLE_PIXELS) -> PictureFile:
    """Opens a PNG, JPEG or TIFF picture of 8 or 16 bits to read windows of it.

    Pixels are as :func:`~lessons_lib.data.files.read_pixels` gives them: a palette is looked up, alpha is
    dropped, an orientation tag is not applied. A picture that is not decoded whole and stored in colour
    stays in colour even if its channels are equal.

    Args:
        path: The file.
        whole_pixels: Pictures of at most this many pixels are decoded at once.

    Raises:
        DataError: The file is unreadable, truncated, a stack of several pages, not of 8 or 16 bits, or
            too large for what it is (:data:`~lessons_lib.data.headers.LARGEST`).
    """
    path = Path(path)
    header = read_header(path)
    if header.kind == "tiff" and header.height * header.width > whole_pixels:
        parts = _open_segments(path)
        if parts is not None:
            return PictureFile(path, parts)
    return PictureFile(path, _Whole(read_pixels(path)))


class _Whole:
    """Pixels that lie in memory, or are mapped into it."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]
        self.dtype = np.dtype(pixels.dtype.newbyteorder("="))

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        window = self.pixels[top:bottom, left:right]
        return np.ascontiguousarray(window, self.dtype)

    def strips(self) -> Iterator[tuple[int, int]]:
        for top in range(0, self.height, 256):
            yield top, min(self.height, top + 256)

    def close(self) -> None:
        self.pixels = np.empty((0, 0), self.dtype)


class _Segments:
    """Strips or tiles of a TIFF that are decoded when a window needs them."""

    def __init__(self, path: Path, file: tifffile.TiffFile, page: tifffile.TiffPage) -> None:
        self.path, self.file, self.page = path, file, page
        self.height, self.width = page.imagelength, page.imagewidth
        self.dtype = np.dtype(np.uint8 if page.bitspersample == 8 else np.uint16)
        if page.is_tiled:
            self.size = page.tilelength, page.tilewidth
        else:
            self.size = min(page.rowsperstrip, self.height), self.width
        self.cache: OrderedDict[int, np.ndarray] = OrderedDict()

    def read(self, top: int, bottom: int, left: int, right: int) -> np.ndarray:
        channels = () if self.page.samplesperpixel in (1, 2) else (3,)
        result = np.empty((bottom - top, right - left, *channels), self.dtype)
        if not result.size:
            return result
        high, wide = self.size
        across = -(-self.width // wide)
        for row in range(top // high, (bottom - 1) // high + 1):
            for column in range(left // wide, (right - 1) // wide + 1):
                segment = self.segment(row * across + column)
                y, x = row * high, column * wide
                inner = segment[max(0, top - y) : bottom - y, max(0, left - x) : right - x]
                begin = max(top, y) - top, max(left, x) - left
                end = begin[0] + inner.shape[0], begin[1] + inner.shape[1]
                result[begin[0] : end[0], begin[1] : end[1]] = inner
        return result

    def segment(self, index: int) -> np.ndarray:
        """A strip or tile, (h, w) or (h, w, 3), decoded or from the cache."""
        if index in self.cache:
            self.cache.move_to_end(index)
            return self.cache[index]
        offset, count = self.page.dataoffsets[index], self.page.databytecounts[index]
        try:
            handle = self.file.filehandle
            handle.seek(offset)
            data = handle.read(count)
            if len(data) < count:
                raise ValueError(f"it ends {count - len(data)} bytes too early")
            with quiet_tifffile():
                decoded, _, _ = self.page.decode(data, index)
            if decoded is None:
                raise ValueError("it is empty")
        except Exception as error:  # whatever a broken file makes a decoder raise
            raise DataError(f"{self.path}: strip or tile {index} is damaged ({error})") from error
        segment = gray_or_colour(decoded[0])
        self.cache[index] = segment
        while len(self.cache) > 1 and sum(s.nbytes for s in self.cache.values()) > CACHE_BYTES:
            self.cache.popitem(last=False)
        return segment

    def strips(self) -> Iterator[tuple[int, int]]:
        high = self.size[0] * max(1, 256 // self.size[0])
        for top in range(0, self.height, high):
            yield top, min(self.height, top + high)

    def close(self) -> None:
        self.cache.clear()
        self.file.close()


def _open_segments(path: Path) -> _Whole | _Segments | None:
    """The parts of a TIFF if it can be read in parts, else None."""
    file = tifffile.TiffFile(path)
    keep = False
    try:
        with quiet_tifffile():
            page = only_page(path, file)
            check_layout(path, page)
            if not _is_plain(page):
                return None
            check_segments(path, page, path.stat().st_size)
            if page.is_memmappable and page.dtype is not None:
                dtype = np.dtype(file.byteorder + page.dtype.char)
                mapped = np.memmap(path, dtype, "r", page.dataoffsets[0], page.shaped)
                return _Whole(gray_or_colour(channels_last(page, mapped)))
            if is_separate(page):
                return None
            parts = _Segments(path, file, page)
            if np.prod(parts.size) * page.samplesperpixel * parts.dtype.itemsize > SEGMENT_BYTES:
                return None
            if not _can_decode(page):
                return None
            keep = True
            return parts
    finally:
        if not keep:
            file.close()


def _is_plain(page: tifffile.TiffPage) -> bool:
    """Whether stored values are the picture's: 8 or 16 bits, black is 0, gray or RGB."""
    plain = tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB
    return bool(page.bitspersample in (8, 16) and page.photometric in plain)


def _can_decode(page: tifffile.TiffPage) -> bool:
    predictors = (tifffile.PREDICTOR.NONE, tifffile.PREDICTOR.HORIZONTAL)
    return page.compression in CODECS and page.predictor in predictors
