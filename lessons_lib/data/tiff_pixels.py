"""Pixels of a TIFF picture, whichever of the format's many layouts it has.

tifffile gives what is stored; without its companion imagecodecs it lacks some compressions, LZW and JPEG
among them. OpenCV has these, but misreads some layouts without an error (channels in separate planes, 16
bits with alpha or with white as 0), so it is asked only for those that it reads exactly.
"""

import io
from pathlib import Path

import numpy as np
import tifffile
from PIL.TiffImagePlugin import TiffImageFile
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, PLANARCONFIG, SAMPLEFORMAT

from .errors import DataError
from .headers import only_page, quiet_tifffile

CODECS = (
    COMPRESSION.NONE,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.DEFLATE,
    COMPRESSION.PACKBITS,
)
"""What tifffile decodes without further packages."""
COLOURS = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.YCBCR: 3,
}
"""Channels of a picture without alpha, for each way to store colour that is read here."""
SIMPLER = (
    "store it uncompressed or by deflate, as gray or RGB with the channels of a pixel together"
)


def read_tiff(path: Path, data: bytes) -> np.ndarray | None:
    """The picture of a TIFF as uint8 or uint16, (H, W) where gray, else RGB (H, W, 3).

    Black is 0 whatever the file says, bits are stretched to 0..255, a palette is looked up and rounded down
    to 8 bits, and alpha is dropped: the colours are those stored, not multiplied by it.

    Args:
        path: for the messages.
        data: the whole file.

    Returns:
        The pixels, or None if OpenCV must decode them and does so exactly.

    Raises:
        DataError: The file is broken, or is of a kind that is not read here.
    """
    try:
        with quiet_tifffile(), tifffile.TiffFile(io.BytesIO(data)) as tiff:
            page = only_page(path, tiff)
            check_layout(path, page)
            check_segments(path, page, len(data))
            stored = _stored(page)
            if stored is not None:
                return _picture(page, stored)
            if _is_unmultiplied(page):  # OpenCV would multiply the colours by alpha
                with TiffImageFile(io.BytesIO(data)) as picture:
                    return np.asarray(picture)[:, :, :3].copy()
            _check_opencv(path, page)
            return None
    except DataError:
        raise
    except Exception as error:  # whatever a broken file makes a decoder raise
        raise DataError(f"{path}: cannot be decoded ({error})") from error


def check_layout(path: Path, page: tifffile.TiffPage) -> None:
    """DataError if a page is no gray or colour picture of up to 16 bits."""
    if page.sampleformat != SAMPLEFORMAT.UINT or page.bitspersample not in (1, 2, 4, 8, 16):
        whole = page.bitspersample in (8, 16, 32, 64) and page.dtype is not None
        kind = page.dtype if whole else f"of {page.bitspersample} bits"
        raise DataError(f"{path}: pixels are {kind}; expected 8 or 16 bits without sign")
    if page.photometric not in COLOURS:
        mode = getattr(page.photometric, "name", str(page.photometric))
        raise DataError(f"{path}: has the colour mode {mode}; store it as gray or RGB")
    if page.imagedepth != 1:
        raise DataError(f"{path}: is a volume of {page.imagedepth} slices; store each as a file")
    count, colours = page.samplesperpixel, COLOURS[PHOTOMETRIC(page.photometric)]
    alpha = EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA
    more = count - colours
    if (
        more == 1
        and colours == 1
        and (len(page.extrasamples) != 1 or page.extrasamples[0] not in alpha)
    ):
        more = 2  # a second channel that is not called alpha may be a stain
    if more not in (0, 1):
        raise DataError(f"{path}: has {count} channels; store one (gray) or three as RGB")


def check_segments(path: Path, page: tifffile.TiffPage, size: int) -> None:
    """DataError if strips or tiles are missing, or lie beyond the end of a file of ``size`` bytes."""
    if page.is_contiguous:
        needed = page.dataoffsets[0] + page.nbytes
    else:
        count = int(np.prod(page.chunked))
        if len(page.dataoffsets) < count or len(page.databytecounts) < count:
            raise DataError(f"{path}: damaged TIFF, {len(page.dataoffsets)} of {count} parts")
        if not all(page.databytecounts[:count]):
            raise DataError(f"{path}: damaged TIFF, a strip or tile is empty")
        needed = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=False)))
    if size < needed:
        raise DataError(f"{path}: truncated TIFF, {size} bytes of {needed}")


def channels_last(page: tifffile.TiffPage, stored: np.ndarray) -> np.ndarray:
    """(H, W, C) of tifffile's (planes, 1, H, W, channels), a view."""
    if is_separate(page):
        return np.moveaxis(stored[:, 0, :, :, 0], 0, 2)
    return stored[0, 0]


def is_separate(page: tifffile.TiffPage) -> bool:
    """Whether each channel is a plane of its own."""
    return bool(page.samplesperpixel > 1 and page.planarconfig == PLANARCONFIG.SEPARATE)


def gray_or_colour(pixels: np.ndarray) -> np.ndarray:
    """(h, w, C) without alpha: (h, w) of one or two channels, (h, w, 3) of three or four."""
    return pixels[:, :, 0] if pixels.shape[2] <= 2 else pixels[:, :, :3]


def _stored(page: tifffile.TiffPage) -> np.ndarray | None:
    """The values (H, W, C) by tifffile, None if it cannot decode them."""
    if page.photometric == PHOTOMETRIC.YCBCR or page.bitspersample in (2, 4):
        return None
    try:
        return channels_last(page, page.asarray(squeeze=False))
    except Exception:
        if page.compression in CODECS:
            raise
        return None


def _picture(page: tifffile.TiffPage, stored: np.ndarray) -> np.ndarray:
    """The picture that stored values (H, W, C) mean."""
    pixels = gray_or_colour(stored)
    if page.photometric == PHOTOMETRIC.PALETTE:
        table = page.colormap
        if table is None:
            raise ValueError("its palette is missing")
        if table.max() > 255:  # some writers fill the 16 bits of an entry, some the lower 8
            table = table // np.uint16(256)
        return np.ascontiguousarray(table.astype(np.uint8).T[pixels])
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        pixels = np.invert(pixels)
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * np.uint8(255)
    return np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("="))


def _is_unmultiplied(page: tifffile.TiffPage) -> bool:
    """Whether it is RGB of 8 bits, channels together, with alpha that the colours are not multiplied by."""
    return bool(
        page.photometric == PHOTOMETRIC.RGB
        and page.bitspersample == 8
        and tuple(page.extrasamples) == (EXTRASAMPLE.UNASSALPHA,)
        and not is_separate(page)
    )


def _check_opencv(path: Path, page: tifffile.TiffPage) -> None:
    """DataError if OpenCV would misread a page."""
    turned = page.tags.get("Orientation")
    white = page.photometric == PHOTOMETRIC.MINISWHITE
    wrong = (
        ("its channels are separate planes", is_separate(page)),
        ("it has 16 bits and white is 0", page.bitspersample == 16 and white),
        ("it is gray with alpha", page.samplesperpixel == 2),
        ("it has 16 bits and a palette", page.bitspersample == 16 and page.colormap is not None),
        ("it has an orientation tag", turned is not None and turned.value != 1),
        ("it is not the first page", page.index != 0),
    )
    for why, applies in wrong:
        if applies:
            kind = getattr(page.compression, "name", page.compression)
            raise DataError(
                f"{path}: cannot be decoded, its compression is {kind} and {why}; {SIMPLER}"
            )
