"""Files in and out, overlays, normalisation, COCO and tables."""

import io
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import skimage.measure
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pycocotools import mask as coco_mask

from lessons_lib.data import (
    DataError,
    instance_table,
    instances_to_coco,
    normalize_image,
    overlay,
    overlay_panoptic,
    read_image,
    read_labels,
    renumber,
    write_labels,
)
from lessons_lib.data.files import write_bytes

RNG = np.random.default_rng(0)
GRAY8 = RNG.integers(0, 256, (7, 9), dtype=np.uint8)
RGB8 = RNG.integers(0, 256, (7, 9, 3), dtype=np.uint8)
ALPHA = np.full((7, 9, 1), 77, np.uint8)

LABELS = hnp.arrays(
    np.int64,
    st.tuples(st.integers(1, 12), st.integers(1, 12)),
    elements=st.sampled_from([0, 0, 0, 1, 2, 5, 9]),
)


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)


# --- pictures ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "stored", "seen"),
    [
        ("gray.png", GRAY8, GRAY8),
        ("rgb.png", RGB8, RGB8),
        ("rgba.png", np.concatenate([RGB8, ALPHA], axis=2), RGB8),
        ("gray_alpha.png", np.concatenate([GRAY8[:, :, None], ALPHA], axis=2), GRAY8),
        ("gray.tif", GRAY8, GRAY8),
        ("rgb.tiff", RGB8, RGB8),
    ],
)
def test_read_image_8_bit(tmp_path: Path, name: str, stored: np.ndarray, seen: np.ndarray) -> None:
    Image.fromarray(stored).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.dtype == torch.float32 and image.is_contiguous()
    assert np.array_equal(image.permute(1, 2, 0).numpy(), as_rgb(seen) / np.float32(255))


@pytest.mark.parametrize("pixels", [GRAY8, RGB8], ids=["gray", "rgb"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_read_image_16_bit(tmp_path: Path, pixels: np.ndarray, suffix: str) -> None:
    deep = pixels.astype(np.uint16) * 200 + 13
    path = tmp_path / f"deep{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, deep, photometric="rgb" if deep.ndim == 3 else "minisblack")
    else:
        assert cv2.imwrite(str(path), deep if deep.ndim == 2 else deep[:, :, ::-1])
    image = read_image(path).permute(1, 2, 0).numpy()
    assert np.array_equal(image, as_rgb(deep) / np.float32(65535))


def test_read_image_palette_and_jpeg(tmp_path: Path) -> None:
    palette = Image.fromarray(RGB8).quantize(200)
    palette.save(tmp_path / "palette.png")
    expected = np.asarray(palette.convert("RGB")) / np.float32(255)
    assert np.array_equal(read_image(tmp_path / "palette.png").permute(1, 2, 0).numpy(), expected)
    Image.fromarray(np.full((20, 30, 3), (200, 100, 50), np.uint8)).save(tmp_path / "p.jpg")
    red, green, blue = read_image(tmp_path / "p.jpg").mean(dim=(1, 2)).tolist()
    assert (red, green, blue) == pytest.approx((200 / 255, 100 / 255, 50 / 255), abs=0.02)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.9, 0.99])
def test_truncated_picture_is_named(tmp_path: Path, suffix: str, part: float) -> None:
    path = tmp_path / f"cut{suffix}"
    noise = RNG.integers(0, 256, (60, 70, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(part * len(data))])
    with pytest.raises(DataError, match=f"cut{suffix}"):
        read_image(path)


def test_every_flipped_bit_of_a_png_is_noticed_or_harmless(tmp_path: Path) -> None:
    write_labels(tmp_path / "a.png", GRAY8)
    data = (tmp_path / "a.png").read_bytes()
    for position in range(len(data)):
        spoiled = bytearray(data)
        spoiled[position] ^= 1 << (position % 8)
        (tmp_path / "b.png").write_bytes(spoiled)
        for read in (read_image, read_labels):
            with pytest.raises(DataError, match=r"b\.png"):
                read(tmp_path / "b.png")


def test_other_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"text\.png: neither PNG, JPEG nor TIFF"):
        read_image(tmp_path / "text.png")
    with pytest.raises(DataError, match=r"absent\.png: cannot be opened"):
        read_image(tmp_path / "absent.png")
    tifffile.imwrite(tmp_path / "float.tif", np.zeros((4, 4), np.float32))
    with pytest.raises(DataError, match=r"float\.tif: pixels are float32; expected 8 or 16 bits"):
        read_image(tmp_path / "float.tif")


# --- labels -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("largest", "depth"), [(0, 8), (255, 8), (256, 16), (65535, 16)])
def test_labels_round_trip(tmp_path: Path, largest: int, depth: int) -> None:
    labels = RNG.integers(0, largest + 1, (11, 5))
    labels[0, 0] = largest
    for given_labels in (labels, torch.from_numpy(labels), labels.astype(np.uint16)):
        write_labels(tmp_path / "l.png", given_labels)
        back = read_labels(tmp_path / "l.png")
        assert back.dtype == torch.int64 and np.array_equal(back.numpy(), labels)
    assert (tmp_path / "l.png").read_bytes()[24] == depth
    assert [path.name for path in tmp_path.iterdir()] == ["l.png"]


@pytest.mark.parametrize(
    ("labels", "rule"),
    [
        (np.array([[65536]]), "PNG holds 0..65535"),
        (np.array([[-1]]), "PNG holds 0..65535"),
        (np.array([[1.0]]), "expected integers"),
        (np.zeros((1, 2, 2), int), r"expected integers of shape \(H, W\)"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_old_file_stays(
    tmp_path: Path, labels: np.ndarray, rule: str
) -> None:
    write_labels(tmp_path / "l.png", np.array([[3]]))
    with pytest.raises(DataError, match=rf"l\.png.*{rule}"):
        write_labels(tmp_path / "l.png", labels)
    assert read_labels(tmp_path / "l.png").item() == 3
    with pytest.raises(DataError, match=r"l\.jpg: labels are written as \.png"):
        write_labels(tmp_path / "l.jpg", np.array([[3]]))


def small_depth_png(values: np.ndarray, depth: int) -> bytes:
    """A gray PNG of 1, 2 or 4 bits, written by hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    height, width = values.shape
    bits = (values[:, :, None] >> np.arange(depth)[::-1]) & 1
    rows = np.packbits(bits.reshape(height, -1), axis=1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, 0, 0, 0, 0])
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_labels_of_few_bits_keep_their_values(tmp_path: Path, depth: int) -> None:
    values = RNG.integers(0, 2**depth, (6, 11))
    (tmp_path / "l.png").write_bytes(small_depth_png(values, depth))
    assert np.array_equal(read_labels(tmp_path / "l.png").numpy(), values)


def test_palette_labels_give_the_index_and_tiff_labels_the_value(tmp_path: Path) -> None:
    indices = RNG.integers(0, 21, (6, 7), dtype=np.uint8)
    picture = Image.fromarray(indices)
    picture.putpalette(RNG.integers(0, 256, 768, dtype=np.uint8).tobytes())
    picture.save(tmp_path / "voc.png")
    assert np.array_equal(read_labels(tmp_path / "voc.png").numpy(), indices)
    for kind in (np.uint8, np.uint16):
        tifffile.imwrite(tmp_path / "l.tif", indices.astype(kind))
        assert np.array_equal(read_labels(tmp_path / "l.tif").numpy(), indices)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_coloured_labels_are_refused(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 3)).save(tmp_path / "l.png")
    with pytest.raises(DataError, match=rf"l\.png: has the colour mode {mode}"):
        read_labels(tmp_path / "l.png")


# --- normalisation and overlay ----------------------------------------------------------------


def test_normalize_image() -> None:
    image = torch.from_numpy(RNG.gamma(2, 900, (3, 40, 50)).astype(np.float32))
    result = normalize_image(image)
    assert result.dtype == torch.float32 and result.min() == 0 and result.max() == 1
    assert (result == 0).float().mean() == pytest.approx(0.01, abs=0.002)
    assert (result == 1).float().mean() == pytest.approx(0.002, abs=0.001)
    assert np.allclose(normalize_image(image.numpy()), result.numpy(), atol=1e-6)
    scaled = normalize_image(image * 0.001 + 5)
    assert torch.allclose(scaled, result, atol=1e-3)
    order = image.flatten().argsort()
    assert (result.flatten()[order].diff() >= 0).all()


def test_normalize_gray_is_the_same_in_one_channel_and_in_three() -> None:
    gray = torch.from_numpy(RNG.random((1, 30, 30), dtype=np.float32))
    assert torch.equal(
        normalize_image(gray).expand(3, -1, -1), normalize_image(gray.expand(3, -1, -1))
    )
    assert torch.equal(normalize_image(gray)[0], normalize_image(gray[0]))


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_normalize_constant_is_safe(value: float) -> None:
    result = normalize_image(torch.full((3, 8, 8), value))
    assert torch.equal(result, torch.zeros(3, 8, 8))


def test_normalize_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="low=50"):
        normalize_image(torch.zeros(3, 8, 8), low=50, high=50)
    with pytest.raises(ValueError, match="image has shape"):
        normalize_image(torch.zeros(2, 3, 8, 8))
    with pytest.raises(ValueError, match="at least one pixel"):
        normalize_image(torch.zeros(3, 0, 8))


def test_overlay_draws_each_instance_and_nothing_else() -> None:
    instances = torch.zeros(12, 14, dtype=torch.int64)
    instances[2:7, 2:7], instances[2:7, 7:12] = 1, 2
    drawn = overlay(torch.full((3, 12, 14), 0.5), instances)
    assert drawn.shape == (12, 14, 3) and drawn.dtype == np.uint8
    changed = (drawn != 128).any(axis=2)
    ring = np.zeros((12, 14), bool)
    ring[2:7, 2:12] = True
    ring[3:6, 3:6] = ring[3:6, 8:11] = False
    assert np.array_equal(changed, ring)
    assert not np.array_equal(drawn[4, 6], drawn[4, 7])
    assert np.array_equal(overlay(torch.full((12, 14), 0.5), instances), drawn)
    for many in (np.arange(168).reshape(12, 14), np.zeros((12, 14), np.uint8)):
        overlay(np.zeros((1, 12, 14)), many)
    with pytest.raises(DataError, match="image has shape"):
        overlay(torch.zeros(3, 12, 13), instances)
    with pytest.raises(DataError, match="4 channels"):
        overlay(torch.zeros(4, 12, 14), instances)


def test_overlay_panoptic_colours_things_one_by_one_and_stuff_by_class() -> None:
    semantic = torch.full((12, 14), 255)
    semantic[:6], semantic[6:9, 2:12] = 3, 1
    instances = torch.zeros(12, 14, dtype=torch.int64)
    instances[6:9, 2:7], instances[6:9, 7:12] = 1, 2
    image = torch.full((3, 12, 14), 0.5)
    drawn = overlay_panoptic(image, semantic, instances)
    assert drawn.shape == (12, 14, 3) and drawn.dtype == np.uint8
    first, second, sky, nothing = (drawn[p].tolist() for p in ((7, 4), (7, 9), (2, 5), (11, 5)))
    assert nothing == [128, 128, 128] and len({tuple(c) for c in (first, second, sky)}) == 3
    assert drawn[7, 6].tolist() == drawn[7, 7].tolist() == [245, 245, 245], "a border between them"
    assert np.array_equal(overlay_panoptic(image, semantic, instances, 0)[2, 5], [128, 128, 128])
    with pytest.raises(DataError, match="semantic has shape"):
        overlay_panoptic(image, semantic[:-1], instances)
    with pytest.raises(DataError, match="image has shape"):
        overlay_panoptic(image[:, :-1], semantic, instances)
    with pytest.raises(ValueError, match=r"opacity is 1\.5"):
        overlay_panoptic(image, semantic, instances, 1.5)


# --- instances --------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(labels=LABELS, huge=st.booleans(), min_area=st.integers(1, 4))
def test_renumber(labels: np.ndarray, huge: bool, min_area: int) -> None:
    original = np.where(labels > 0, labels + 10**12, 0) if huge else labels
    ids, areas = np.unique(original[original > 0], return_counts=True)
    kept = ids[areas >= min_area]
    expected = np.zeros_like(labels)
    for number, old in enumerate(kept, start=1):
        expected[original == old] = number
    result = renumber(original, min_area)
    assert result.dtype == np.int32 and np.array_equal(result, expected)


def test_renumber_refuses() -> None:
    with pytest.raises(DataError, match="smallest is -1"):
        renumber(np.array([[-1, 2]]))
    with pytest.raises(DataError, match="expected integers"):
        renumber(np.array([[0.5]]))
    assert renumber(np.zeros((0, 4), int)).shape == (0, 4)
    assert renumber(np.array([[10**12, 10**12]])).tolist() == [[1, 1]]


@settings(max_examples=200, deadline=None)
@given(labels=LABELS)
def test_table_equals_scikit_image(labels: np.ndarray) -> None:
    rows = instance_table(torch.from_numpy(labels))
    regions = skimage.measure.regionprops(labels)
    assert [row["id"] for row in rows] == [region.label for region in regions]
    for row, region in zip(rows, regions, strict=True):
        y1, x1, y2, x2 = region.bbox
        assert (row["x1"], row["y1"], row["x2"], row["y2"]) == (x1, y1, x2, y2)
        assert row["area"] == region.area
        assert (row["centroid_y"], row["centroid_x"]) == pytest.approx(region.centroid)


@settings(max_examples=300, deadline=None)
@given(labels=LABELS)
def test_coco_equals_pycocotools(labels: np.ndarray) -> None:
    annotations = instances_to_coco(labels, image_id=4, category_id=2, first_id=11)
    ids = np.unique(labels[labels > 0])
    assert [a["id"] for a in annotations] == list(range(11, 11 + len(ids)))
    for annotation, instance in zip(annotations, ids, strict=True):
        segmentation = annotation["segmentation"]
        ours = coco_mask.frPyObjects(segmentation, *labels.shape)
        theirs = coco_mask.encode(np.asfortranarray(labels == instance).astype(np.uint8))
        assert ours["counts"] == theirs["counts"]
        assert sum(segmentation["counts"]) == labels.size
        assert annotation["area"] == coco_mask.area(theirs)
        assert annotation["bbox"] == coco_mask.toBbox(theirs).tolist()
        assert (annotation["image_id"], annotation["category_id"]) == (4, 2)


def test_coco_is_plain_json() -> None:
    import json

    annotations = instances_to_coco(torch.tensor([[0, 7], [7, 7]]), image_id="a")
    assert json.load(io.StringIO(json.dumps(annotations))) == annotations
    assert annotations[0]["segmentation"]["counts"] == [1, 3]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"new: there is no such folder; make it first"):
        write_bytes(tmp_path / "new" / "a.json", b"{}")
    assert not (tmp_path / "new").exists()
