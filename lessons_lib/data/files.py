"""Pictures and label pictures from and to files.

A broken file must never become a training picture that is half black, so every file is decoded to
its end, and what is broken raises :class:`DataError` with the file's name.
"""

import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
import torch
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from .errors import DataError
from .headers import PNG_SIGNATURE, header_of, kind_of_file, only_page, quiet_tifffile, read_header
from .tiff_pixels import read_tiff

PathLike = str | os.PathLike[str]
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


def read_image(path: PathLike) -> torch.Tensor:
    """Read a PNG, JPEG or TIFF picture of 8 or 16 bits as RGB.

    Gray is repeated three times, a palette is looked up, alpha is dropped, and the values are
    divided by the largest that the file's type can hold (255 or 65535), whatever the picture's own
    maximum is. An orientation tag (EXIF) is not applied: labels are drawn on the stored pixels.

    Returns:
        float32 (3, H, W) in [0, 1].

    Raises:
        DataError: The file is unreadable, truncated, or of another type.
    """
    return to_tensor(read_pixels(path))


def to_tensor(pixels: np.ndarray) -> torch.Tensor:
    """Stored pixels, uint8 or uint16 (H, W) or (H, W, 3), as float32 (3, H, W) in [0, 1]."""
    values = pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)
    planes = (
        np.broadcast_to(values, (3, *values.shape))
        if values.ndim == 2
        else values.transpose(2, 0, 1)
    )
    return torch.from_numpy(np.ascontiguousarray(planes))


def read_pixels(path: PathLike) -> np.ndarray:
    """Read a picture as it is stored: uint8 or uint16, (H, W) where gray, else RGB (H, W, 3).

    A picture stored in colour whose three channels are equal comes back as gray. A palette is looked up;
    alpha is dropped, without multiplying the colours by it; where a TIFF says that white is 0, the values
    are turned round.

    Raises:
        DataError: The file is unreadable, truncated, not of 8 or 16 bits, or a TIFF of channels that are
            neither gray nor RGB.
    """
    path = Path(path)
    data = _read_bytes(path)
    pixels = read_tiff(path, data) if kind_of_file(data) == "tiff" else None
    if pixels is None:
        pixels = _decode_opencv(path, data)
    if pixels.ndim == 2:
        return pixels
    red, green, blue = (pixels[:, :, channel] for channel in range(3))
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return np.ascontiguousarray(red)
    return np.ascontiguousarray(pixels)


def read_labels(path: PathLike) -> torch.Tensor:
    """Read a label picture: one channel, the value of a pixel is its class or instance.

    Palette PNGs (as Pascal VOC's) give the index, not the colour. PNG depths of 1, 2, 4, 8 and 16
    bits and gray TIFFs of 8, 16 and 32 bits are read.

    Returns:
        int64 (H, W), the values as stored.

    Raises:
        DataError: The file is unreadable or truncated, or has more than one channel.
    """
    return torch.from_numpy(read_label_pixels(path).astype(np.int64))


def read_label_pixels(path: PathLike) -> np.ndarray:
    """As :func:`read_labels`, as a numpy array of the stored integer type."""
    path = Path(path)
    data = _read_bytes(path)
    mode, labels = _decode_labels(path, data)
    if labels.ndim != 2:
        raise DataError(
            f"{path}: has the colour mode {mode}, {labels.shape[2]} channels; a label picture has one "
            "channel, whose values are the ids (a picture of coloured labels lost them)"
        )
    if labels.dtype == np.bool_:
        return labels.astype(np.uint8)
    if labels.dtype.kind not in "ui":
        raise DataError(f"{path}: labels are {labels.dtype}; expected integers")
    if mode == "L" and data.startswith(PNG_SIGNATURE) and data[24] in (2, 4):
        labels = labels // (255 // (2 ** data[24] - 1))  # the decoder stretched them to 0..255
    return labels


def write_labels(path: PathLike, labels: torch.Tensor | np.ndarray) -> None:
    """Write labels as a gray PNG, of 8 bits if they fit, else of 16; an old file is replaced whole.

    Args:
        path: Where to, ending in ``.png``; its folder must exist.
        labels: Integers (H, W) in 0..65535.

    Raises:
        DataError: The labels have another shape, are no integers, or do not fit 16 bits.
    """
    path = Path(path)
    array = as_labels(labels, name=f"labels for {path}")
    if path.suffix.lower() != ".png":
        raise DataError(f"{path}: labels are written as .png, which loses nothing")
    smallest, largest = int(array.min(initial=0)), int(array.max(initial=0))
    if smallest < 0 or largest > 65535:
        raise DataError(f"{path}: labels run from {smallest} to {largest}; PNG holds 0..65535")
    write_png(path, array.astype(np.uint8 if largest <= 255 else np.uint16))


def write_png(path: PathLike, pixels: np.ndarray) -> None:
    """Write uint8 or uint16 (H, W) or RGB (H, W, 3) pixels as PNG, atomically."""
    stored = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    encoded, data = cv2.imencode(".png", stored)
    if not encoded:
        raise DataError(f"{path}: cannot encode {pixels.dtype} pixels of shape {pixels.shape}")
    write_bytes(path, data.tobytes())


def write_bytes(path: PathLike, data: bytes) -> None:
    """Write a file whole or not at all: into a temporary neighbour, then renamed."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: there is no such folder; make it first")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def picture_size(path: PathLike) -> tuple[int, int]:
    """(height, width) of a picture from its header, without decoding it.

    Raises:
        DataError: The header is unreadable.
    """
    header = read_header(path)
    return header.height, header.width


def as_labels(labels: torch.Tensor | np.ndarray, name: str = "labels") -> np.ndarray:
    """A (H, W) integer array of a tensor or an array; DataError, naming ``name``, if it is not."""
    array = (
        labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    )
    if array.ndim != 2 or array.dtype.kind not in "uib":
        raise DataError(f"{name}: {array.dtype} {array.shape}; expected integers of shape (H, W)")
    return array


def _read_bytes(path: Path) -> bytes:
    """The bytes of a file; a PNG's chunks are checked against their checksums, a JPEG's end too."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror or error})") from error
    if data.startswith(PNG_SIGNATURE):
        _check_png(path, data)  # before its header, so that what is truncated is called so
    header = header_of(path, io.BytesIO(data))
    header.check_size(path)
    if header.kind == "jpeg":
        try:
            # the class itself, for Image.open refuses large pictures; an eighth of the size is decoded
            # eight times faster, from all of the data
            with JpegImageFile(io.BytesIO(data)) as picture:
                picture.draft(None, (max(1, header.width // 8), max(1, header.height // 8)))
                picture.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise DataError(f"{path}: damaged JPEG ({error})") from error
    return data


def _decode_opencv(path: Path, data: bytes) -> np.ndarray:
    """A picture as OpenCV decodes it, without alpha: (H, W) or RGB (H, W, 3)."""
    try:
        with _quiet_opencv():
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise DataError(f"{path}: cannot be decoded ({error.err})") from error
    if pixels is None:
        raise DataError(
            f"{path}: cannot be decoded; expected a whole PNG, JPEG or TIFF picture (a TIFF not compressed, "
            "or by LZW, deflate, packbits or JPEG)"
        )
    if pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f"{path}: pixels are {pixels.dtype}; expected 8 or 16 bits without sign")
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] not in (3, 4):  # gray with alpha comes as 2 channels from some decoders
        return np.ascontiguousarray(pixels[:, :, 0])
    return pixels[:, :, 2::-1]


def _decode_labels(path: Path, data: bytes) -> tuple[str, np.ndarray]:
    """The colour mode and the stored values of a label picture, (H, W) or, wrongly, (H, W, C)."""
    kind = kind_of_file(data) or ""
    if kind == "tiff":
        try:
            with quiet_tifffile(), tifffile.TiffFile(io.BytesIO(data)) as tiff:
                page = only_page(path, tiff)
                labels = page.asarray()
                if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and labels.ndim == 3:
                    labels = np.moveaxis(labels, 0, 2)
                return tifffile.PHOTOMETRIC(page.photometric).name, labels
        except DataError:
            raise
        except Exception:  # a compression that tifffile leaves to other packages: Pillow knows most
            pass
    # the classes themselves, for Image.open refuses large pictures
    classes: dict[str, Any] = {"png": PngImageFile, "jpeg": JpegImageFile, "tiff": TiffImageFile}
    try:
        with classes[kind](io.BytesIO(data)) as picture:
            return picture.mode, np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: cannot be decoded ({error})") from error


def _check_png(path: Path, data: bytes) -> None:
    """Walk through a PNG's chunks: each whole, each with the right checksum, IEND the last."""
    position = len(PNG_SIGNATURE)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 12 + length
        if end > len(data):
            break
        kind = data[position + 4 : position + 8]
        if zlib.crc32(data[position + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise DataError(f"{path}: damaged PNG, the checksum of a {kind!r} chunk is wrong")
        if kind == b"IEND":
            return
        position = end
    raise DataError(f"{path}: truncated PNG, {len(data)} bytes and no end")


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """OpenCV's own complaints stay off the screen: a DataError says it better."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
