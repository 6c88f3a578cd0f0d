"""Windows of pictures of any size, their brightness, and headers that Pillow would refuse."""

import json
import struct
import subprocess
import sys
import textwrap
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from lessons_lib.data import DataError, open_picture, read_image, read_labels
from lessons_lib.data.bright_nuclei import bright_nuclei, prepare_nuclei
from lessons_lib.data.files import picture_size, read_pixels
from lessons_lib.data.large_pictures import CACHE_BYTES
from lessons_lib.data.picture_statistics import count_statistics, statistics_of
from lessons_lib.data.pictures import normalize_image, percentile_limits
from lessons_lib.recipes import RECIPES

RNG = np.random.default_rng(0)
GRAY8 = RNG.integers(0, 256, (150, 211), dtype=np.uint8)
RGB8 = RNG.integers(0, 256, (150, 211, 3), dtype=np.uint8)
GRAY16 = RNG.integers(0, 65536, (150, 211), dtype=np.uint16)
RGB16 = RNG.integers(0, 65536, (150, 211, 3), dtype=np.uint16)
RGBA8 = np.concatenate([RGB8, np.full((150, 211, 1), 255, np.uint8)], axis=2)


def opencv(path: Path, pixels: np.ndarray) -> None:
    assert cv2.imwrite(str(path), pixels if pixels.ndim == 2 else pixels[:, :, ::-1])


def tiff(**arguments: Any) -> Callable[[Path, np.ndarray], None]:
    def write(path: Path, pixels: np.ndarray) -> None:
        kind = "minisblack" if pixels.ndim == 2 else "rgb"
        tifffile.imwrite(path, pixels, **{"photometric": kind, **arguments})

    return write


def packed(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(
        path, compression="packbits", tiffinfo={278: 11}
    )  # rows in a strip


FILES: dict[str, tuple[str, np.ndarray, Callable[[Path, np.ndarray], None]]] = {
    "png": (".png", RGB8, opencv),
    "png of 16 bits": (".PNG", RGB16, opencv),
    "gray png": (".png", GRAY8, opencv),
    "jpeg": (".jpg", RGB8, opencv),
    "map": (".tif", RGB8, tiff()),
    "map of 16 bits": (".tiff", GRAY16, tiff()),
    "other byte order": (".tif", RGB16, tiff(byteorder=">")),
    "other byte order, tiles": (
        ".tif",
        GRAY16,
        tiff(byteorder=">", tile=(32, 48), compression="zlib", predictor=True),
    ),
    "big tiff": (".tif", RGB8, tiff(bigtiff=True)),
    "alpha": (".tif", RGBA8, tiff(extrasamples=["unassalpha"])),
    "tiles": (".tif", RGB8, tiff(tile=(64, 48), compression="zlib")),
    "tiles with predictor": (".tif", RGB16, tiff(tile=(16, 96), compression="zlib", predictor=2)),
    "tiles with alpha": (".tif", RGBA8, tiff(tile=(32, 32), extrasamples=["unassalpha"])),
    "plain tiles": (".tif", GRAY8, tiff(tile=(32, 32))),
    "strips": (".tif", RGB8, tiff(rowsperstrip=7, compression="zlib")),
    "packed strips": (".tif", GRAY8 // 200, packed),
    "one strip": (".tif", GRAY16, tiff(rowsperstrip=150, compression="zlib")),
    "planes": (".tif", RGB8.transpose(2, 0, 1), tiff(photometric="rgb", planarconfig="separate")),
    "white is 0": (".tif", GRAY8, tiff(photometric="miniswhite")),
    "LZW": (".tif", RGB8, opencv),
}


@pytest.mark.parametrize("name", FILES)
def test_windows_are_parts_of_the_whole(name: str, tmp_path: Path) -> None:
    suffix, stored, write = FILES[name]
    path = tmp_path / f"picture{suffix}"
    write(path, stored)
    whole = read_pixels(path)
    assert picture_size(path) == whole.shape[:2] == (150, 211)
    rng = np.random.default_rng(1)
    for whole_pixels in (0, 10**6):
        with open_picture(path, whole_pixels) as picture:
            assert (picture.height, picture.width, picture.dtype) == (150, 211, whole.dtype)
            assert np.array_equal(picture.read(slice(None), slice(None)), whole)
            for _ in range(20):
                top, bottom = sorted(rng.integers(0, 170, 2).tolist())
                left, right = sorted(rng.integers(0, 230, 2).tolist())
                window = picture.read(slice(top, bottom), slice(left, right))
                assert window.dtype == whole.dtype and window.flags.c_contiguous
                assert np.array_equal(window, whole[top:bottom, left:right])
            low, high = percentile_limits(whole)
            largest = np.float32(np.iinfo(whole.dtype).max)
            found = picture.statistics()
            assert (found.low, found.high) == (
                float(np.float32(low) / largest),
                float(np.float32(high) / largest),
            )
            assert found is picture.statistics()


def test_a_colour_picture_in_parts_stays_in_colour(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.repeat(GRAY8[:, :, None], 3, 2), photometric="rgb")
    assert open_picture(tmp_path / "a.tif").read(slice(5), slice(5)).shape == (5, 5)
    in_parts = open_picture(tmp_path / "a.tif", whole_pixels=0)
    assert in_parts.read(slice(5), slice(5)).shape == (5, 5, 3)
    assert in_parts.statistics() == open_picture(tmp_path / "a.tif").statistics()


def test_windows_have_no_step(tmp_path: Path) -> None:
    opencv(tmp_path / "a.png", GRAY8)
    with pytest.raises(ValueError, match=r"columns is slice\(0, 9, 2\); windows have no step"):
        open_picture(tmp_path / "a.png").read(slice(3), slice(0, 9, 2))


# --- the layouts of TIFF ------------------------------------------------------------------------

PIXELS = np.random.default_rng(5)
SMALL = {
    dtype: PIXELS.integers(0, np.iinfo(dtype).max + 1, (37, 53, 4)).astype(dtype)
    for dtype in (np.uint8, np.uint16)
}


def check_readers(path: Path, expected: np.ndarray) -> None:
    """The small and the large reader give these pixels."""
    found = read_pixels(path)
    assert found.dtype == expected.dtype and np.array_equal(found, expected)
    for whole_pixels in (0, 10**6):
        with open_picture(path, whole_pixels) as picture:
            assert np.array_equal(picture.read(slice(None), slice(None)), expected)
            window = picture.read(slice(15, 34), slice(9, 50))
            assert window.dtype == expected.dtype
            assert np.array_equal(window, expected[15:34, 9:50])


@pytest.mark.parametrize("storage", [{}, {"rowsperstrip": 5}, {"tile": (16, 16)}])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("alpha", [None, "unassalpha", "assocalpha"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_readers_give_what_was_written(
    dtype: type,
    planar: str,
    alpha: str | None,
    compression: str | None,
    storage: dict[str, Any],
    tmp_path: Path,
) -> None:
    """Gray with black or white as 0, and RGB; alpha is dropped and nothing is multiplied by it."""
    path, pixels = tmp_path / "a.tif", SMALL[dtype]
    for kind, channels in (("minisblack", 1), ("miniswhite", 1), ("rgb", 3)):
        stored = pixels[:, :, : channels + (alpha is not None)]
        if planar == "separate":
            stored = np.moveaxis(stored, 2, 0)
        if stored.size == 37 * 53:
            stored = stored.reshape(37, 53)
        arguments: dict[str, Any] = {"photometric": kind, "compression": compression, **storage}
        if stored.ndim == 3:
            arguments["planarconfig"] = planar
        if alpha is not None:
            arguments["extrasamples"] = [alpha]
        tifffile.imwrite(path, stored, **arguments)
        expected = pixels[:, :, 0] if channels == 1 else pixels[:, :, :3]
        check_readers(path, np.iinfo(dtype).max - expected if kind == "miniswhite" else expected)


def test_planes_as_tifffile_writes_them_by_default(tmp_path: Path) -> None:
    """OpenCV decodes these wrongly, without an error."""
    planes = np.ascontiguousarray(np.moveaxis(SMALL[np.uint16][:, :, :3], 2, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the default will change
        tifffile.imwrite(tmp_path / "a.tif", planes)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        default_is_rgb = len(file.pages) == 1
    if not default_is_rgb:
        tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    check_readers(tmp_path / "a.tif", SMALL[np.uint16][:, :, :3])


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [2, 3, 4])
def test_gray_of_several_channels_is_refused(
    channels: int, dtype: type, planar: str, compression: str | None, tmp_path: Path
) -> None:
    stored = SMALL[dtype][:, :, :channels]
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.moveaxis(stored, 2, 0) if planar == "separate" else stored,
        photometric="minisblack",
        planarconfig=planar,
        compression=compression,
        extrasamples=["unspecified"] * (channels - 1),
    )
    rule = rf"a\.tif: has {channels} channels; store one \(gray\) or three as RGB"
    for whole_pixels in (0, 10**6):
        with pytest.raises(DataError, match=rule):
            open_picture(tmp_path / "a.tif", whole_pixels)


def test_palette_and_bits_in_tiff(tmp_path: Path) -> None:
    index = SMALL[np.uint8][:, :, 0]
    colours = PIXELS.integers(0, 256, (3, 256), dtype=np.uint8)
    for table in (colours.astype(np.uint16) * 257, colours.astype(np.uint16)):
        tifffile.imwrite(tmp_path / "a.tif", index, photometric="palette", colormap=table)
        check_readers(tmp_path / "a.tif", colours.T[index])
    for compression in ("raw", "tiff_lzw", "group4"):
        Image.fromarray(index > 99).save(tmp_path / "a.tif", compression=compression)
        check_readers(tmp_path / "a.tif", np.where(index > 99, 255, 0).astype(np.uint8))


def retag(path: Path, name: str, value: int) -> None:
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].aspage().tags[name].overwrite(value)


def test_lzw_is_read_exactly_or_refused(tmp_path: Path) -> None:
    """A compression that tifffile needs another package for."""
    path = tmp_path / "a.tif"
    for dtype in (np.uint8, np.uint16):
        for pixels in (SMALL[dtype][:, :, 0], SMALL[dtype][:, :, :3]):
            opencv(path, pixels)
            check_readers(path, pixels)
    Image.fromarray(SMALL[np.uint8]).save(path, compression="tiff_lzw")
    check_readers(path, SMALL[np.uint8][:, :, :3])
    gray = SMALL[np.uint8][:, :, 0]
    opencv(path, gray)
    retag(path, "PhotometricInterpretation", 0)
    check_readers(path, 255 - gray)
    deep = SMALL[np.uint16]
    for name, value, pixels, why in (
        ("PhotometricInterpretation", 0, deep[:, :, 0], "it has 16 bits and white is 0"),
        ("PlanarConfiguration", 2, deep[:, :, :3], ""),
    ):
        opencv(path, pixels)
        retag(path, name, value)
        with pytest.raises(DataError, match=rf"a\.tif: .*{why}"):
            read_pixels(path)


# --- brightness ---------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_statistics_are_those_of_the_picture_in_memory(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16]))
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 30)))
    channels = data.draw(st.sampled_from([(), (3,)]))
    few = data.draw(st.booleans())  # many equal values, so that percentiles fall between them
    top = 3 if few else np.iinfo(dtype).max
    pixels = data.draw(hnp.arrays(dtype, (*shape, *channels), elements=st.integers(0, top)))
    cuts = sorted(data.draw(st.lists(st.integers(0, shape[0]), max_size=3)))
    found = count_statistics(np.split(pixels, cuts), np.dtype(dtype))
    largest = int(np.iinfo(dtype).max)
    image = torch.from_numpy(pixels.astype(np.float32) / np.float32(largest))
    planes = image.expand(3, *shape) if not channels else image.permute(2, 0, 1)
    expected = statistics_of(planes)
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found.median == pytest.approx(expected.median, abs=2e-7)
    sums = pixels.astype(int).reshape(-1, 3).sum(1) if channels else pixels.ravel().astype(int) * 3
    assert found.median == np.sort(sums)[(len(sums) - 1) // 2] / (3 * largest)


def test_statistics_of_nothing() -> None:
    with pytest.raises(ValueError, match="no pixel"):
        count_statistics([], np.dtype(np.uint8))


@pytest.mark.parametrize("stained", [False, True])
def test_a_part_is_prepared_as_in_the_whole_picture(stained: bool) -> None:
    rng = np.random.default_rng(3)
    gray = rng.gamma(1.0, 0.05, (40, 50)).clip(0, 1)
    gray[:20] *= 0.3  # the parts differ in brightness
    image = torch.from_numpy((1 - gray if stained else gray).astype(np.float32)).repeat(3, 1, 1)
    statistics = statistics_of(image)
    whole = prepare_nuclei(image)
    assert torch.equal(whole, bright_nuclei(normalize_image(image), stained))
    part = image[:, :20, :25]
    assert torch.equal(prepare_nuclei(part, statistics), whole[:, :20, :25])
    assert not torch.equal(prepare_nuclei(part), whole[:, :20, :25])
    for name, recipe in RECIPES.items():
        options = recipe.preset(next(iter(recipe.presets))).options
        try:
            prepared = recipe.prepare(image, options)
        except NotImplementedError:
            continue
        assert torch.equal(recipe.prepare(image, options, statistics), prepared), name
        if "nuclei" in name or name == "spatial-folder":
            given_all = recipe.prepare(part, options, statistics)
            assert torch.equal(given_all, prepared[:, :20, :25]), name


# --- what is refused ----------------------------------------------------------------------------


def png(width: int, height: int, depth: int = 8) -> bytes:
    """A PNG that says it is so large, with the data of a few rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**5)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("read", [read_pixels, read_labels, open_picture])
def test_absurd_sizes_are_refused_before_anything_is_decoded(
    read: Callable[[Path], object], tmp_path: Path
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(200_000, 100_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert picture_size(path) == (100_000, 200_000)
        with pytest.raises(DataError, match=r"bomb\.png: says that it is 200000×100000 pixels"):
            read(path)


@pytest.mark.parametrize("read", [read_pixels, read_labels, open_picture, picture_size])
def test_stacks_are_refused(read: Callable[[Path], object], tmp_path: Path) -> None:
    stack = np.zeros((5, 30, 40), np.uint16)
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "imagej.tif", stack, imagej=True)
    for name in ("stack", "imagej"):
        with pytest.raises(DataError, match=rf"{name}\.tif: is a stack of 5 pages"):
            read(tmp_path / f"{name}.tif")
    channels = np.zeros((30, 40, 5), np.uint8)
    tifffile.imwrite(
        tmp_path / "five.tif", channels, photometric="minisblack", planarconfig="contig"
    )
    with pytest.raises(DataError, match=r"five\.tif: has 5 channels"):
        read(tmp_path / "five.tif")


def test_smaller_copies_in_a_tiff_are_passed_over(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "pyramid.tif") as file:
        file.write(GRAY16)
        file.write(GRAY16[::2, ::2], subfiletype=1)
    assert np.array_equal(read_pixels(tmp_path / "pyramid.tif"), GRAY16)
    with open_picture(tmp_path / "pyramid.tif", whole_pixels=0) as picture:
        assert np.array_equal(picture.read(slice(None), slice(None)), GRAY16)


@pytest.mark.parametrize("whole_pixels", [0, 10**6])
def test_other_types_are_refused(whole_pixels: int, tmp_path: Path) -> None:
    for dtype in (np.float32, np.int16, np.uint32):
        tifffile.imwrite(tmp_path / "a.tif", np.ones((30, 40), dtype))
        with pytest.raises(DataError, match=r"a\.tif: "):
            open_picture(tmp_path / "a.tif", whole_pixels)


@pytest.mark.parametrize("layout", [{}, {"tile": (32, 32), "compression": "zlib"}])
def test_broken_tiffs_are_refused(layout: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tiff(**layout)(path, RGB8)
    data = path.read_bytes()
    for part in (0.0, 0.3, 0.9, 0.999):
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(DataError, match=r"a\.tif: "):
            open_picture(path, whole_pixels=0).read(slice(None), slice(None))
    if layout:
        path.write_bytes(data)
        with tifffile.TiffFile(path) as file:
            offset = file.pages[0].aspage().dataoffsets[3]
        path.write_bytes(data[:offset] + bytes(50) + data[offset + 50 :])
        picture = open_picture(path, whole_pixels=0)
        assert np.array_equal(picture.read(slice(32), slice(32)), RGB8[:32, :32])
        with pytest.raises(DataError, match=r"a\.tif: strip or tile 3 is damaged"):
            picture.read(slice(32), slice(96, 97))
        with pytest.raises(DataError, match=r"a\.tif: strip or tile 3 is damaged"):
            picture.statistics()


# --- headers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("progressive", [False, True])
def test_size_of_a_jpeg(progressive: bool, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 3000  # a long segment before the frame header
    exif[0x0112] = 6  # turned by 90 degrees: not applied
    picture = Image.fromarray(RGB8[:37, :90])
    picture.save(tmp_path / "a.jpg", exif=exif, progressive=progressive, icc_profile=b"y" * 5000)
    assert picture_size(tmp_path / "a.jpg") == (37, 90) == read_pixels(tmp_path / "a.jpg").shape[:2]


@pytest.mark.parametrize("size", [(1, 1), (5, 5), (7, 9), (3, 100), (17, 8)])
def test_tiny_jpegs(size: tuple[int, int], tmp_path: Path) -> None:
    opencv(tmp_path / "a.jpg", np.full((*size, 3), 90, np.uint8))
    assert picture_size(tmp_path / "a.jpg") == read_pixels(tmp_path / "a.jpg").shape[:2] == size


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("quality", [30, 95])
def test_a_missing_end_of_a_jpeg_is_noticed(quality: int, progressive: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    settings = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive]
    assert cv2.imwrite(str(tmp_path / "a.jpg"), cv2.GaussianBlur(noise, (0, 0), 2), settings)
    data = (tmp_path / "a.jpg").read_bytes()
    for length in (len(data) // 3, len(data) - 400, len(data) - 30):
        (tmp_path / "a.jpg").write_bytes(data[:length])
        with pytest.raises(DataError, match=r"a\.jpg: damaged JPEG"):
            read_pixels(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("empty.png", b""),
        ("cut.png", png(5, 5)[:20]),
        ("odd.png", png(5, 5).replace(b"IHDR", b"JUNK")),
        ("nothing.png", png(0, 5)),
        ("cut.jpg", b"\xff\xd8\xff\xe0\x00\x10"),
        ("cut.tif", b"II*\0\x08\0\0\0"),
        ("text.tif", b"no picture at all"),
    ],
)
def test_broken_headers_are_named(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    for read in (picture_size, open_picture, read_labels):
        with pytest.raises(DataError, match=name.replace(".", r"\.")):
            read(tmp_path / name)
    with pytest.raises(DataError, match=r"absent\.png: cannot be opened"):
        picture_size(tmp_path / "absent.png")
    with pytest.raises(DataError, match="cannot be opened"):
        picture_size(tmp_path)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.int64])
@pytest.mark.parametrize("layout", [{}, {"compression": "zlib", "tile": (32, 32)}])
def test_tiff_labels(dtype: type, layout: dict[str, Any], tmp_path: Path) -> None:
    labels = RNG.integers(0, min(np.iinfo(dtype).max, 2**40), (50, 60)).astype(dtype)
    tifffile.imwrite(tmp_path / "l.tif", labels, **layout)
    assert np.array_equal(read_labels(tmp_path / "l.tif").numpy(), labels.astype(np.int64))


def test_lzw_labels(tmp_path: Path) -> None:
    """A compression that tifffile needs another package for."""
    Image.fromarray(GRAY8).save(tmp_path / "l.tif", compression="tiff_lzw")
    assert np.array_equal(read_labels(tmp_path / "l.tif").numpy(), GRAY8)


# --- 10,000 x 10,000 ----------------------------------------------------------------------------

MEASURE = """
import json, resource, sys, warnings
import numpy as np
from lessons_lib.data import open_picture, read_labels
from lessons_lib.data.files import picture_size, read_label_pixels, read_pixels
warnings.simplefilter("error")

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

folder, report, before = sys.argv[1], {}, peak()
for name in ("map.tif", "tiles.tif"):
    with open_picture(f"{folder}/{name}") as picture:
        assert (picture.height, picture.width) == (10000, 10000)
        window = picture.read(slice(9000, 9512), slice(4000, 4512))
        assert window.shape[:2] == (512, 512)
        report[name] = [int(window.astype(np.int64).sum()), peak() - before]
with open_picture(f"{folder}/tiles.tif") as picture:
    report["statistics"] = [picture.statistics().median, peak() - before]
assert picture_size(f"{folder}/labels.png") == (10000, 10000)
labels = read_label_pixels(f"{folder}/labels.png")
report["labels.png"] = [int(labels[9999, 9999]), peak() - before]
del labels
picture = open_picture(f"{folder}/picture.jpg")
report["picture.jpg"] = [float(picture.read(slice(5), slice(5)).mean()), peak() - before]
print(json.dumps(report))
"""


def test_ten_thousand_squared(tmp_path: Path) -> None:
    """Memory on top of what the imports take, MB; Pillow would warn of these sizes, or refuse them."""
    side, spot = 10_000, (slice(9100, 9110), slice(4100, 4110))
    mapped = tifffile.memmap(tmp_path / "map.tif", shape=(side, side, 3), dtype=np.uint8)
    mapped[spot] = 100
    mapped.flush()
    gray = np.full((side, side), 7, np.uint8)
    gray[spot] = 107
    tifffile.imwrite(tmp_path / "tiles.tif", gray, tile=(512, 512), compression="zlib")
    assert cv2.imwrite(str(tmp_path / "picture.jpg"), gray)
    labels = np.zeros((side, side), np.uint16)
    labels[-1, -1] = 60_000
    assert cv2.imwrite(str(tmp_path / "labels.png"), labels, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    del mapped, gray, labels
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["map.tif"][0] == 30_000
    assert report["tiles.tif"][0] == 7 * 512 * 512 + 10_000
    assert report["statistics"][0] == pytest.approx(7 / 255)
    assert report["labels.png"][0] == 60_000
    assert report["picture.jpg"][0] == pytest.approx(7, abs=1)
    megabytes = {name: value[1] for name, value in report.items()}
    assert megabytes["tiles.tif"] < 100, megabytes  # 100 MB of pixels, 300 MB in the map
    assert megabytes["statistics"] < 100 + CACHE_BYTES / 1e6, megabytes
    assert megabytes["labels.png"] < 650, megabytes  # 200 MB, decoded and copied
    assert megabytes["picture.jpg"] < 650, megabytes


def test_read_image_is_as_before(tmp_path: Path) -> None:
    opencv(tmp_path / "a.png", RGB16)
    expected = RGB16.transpose(2, 0, 1).astype(np.float32) / np.float32(65535)
    assert np.array_equal(read_image(tmp_path / "a.png").numpy(), expected)
