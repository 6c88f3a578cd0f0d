"""Run lengths against pycocotools: bytes, pixels, areas and overlaps must be the same."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco

from lessons_lib.data import DataError, mask_runs
from lessons_lib.data.mask_runs import intersections, read_segmentations
from lessons_lib.data.rle import (
    compress_counts,
    decode_rle,
    decompress_counts,
    encode_rle,
    polygons_to_rle,
    rle_area,
    rle_box,
    rle_iou,
)


def random_mask(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    return rng.uniform(size=(height, width)) < rng.choice([0, 0.02, 0.5, 0.98, 1])


def reference(mask: np.ndarray) -> dict:
    rle = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {**rle, "counts": rle["counts"].decode()}


@pytest.mark.parametrize("seed", range(20))
def test_encode_and_decode(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(20):
        mask = random_mask(rng, *rng.integers(1, 70, 2))
        plain, packed = encode_rle(mask), encode_rle(mask, compress=True)
        assert packed == reference(mask)
        assert decompress_counts(packed["counts"]) == plain["counts"]  # type: ignore[arg-type]
        for rle in (plain, packed, {**packed, "counts": packed["counts"].encode()}):  # type: ignore[union-attr]
            assert np.array_equal(decode_rle(rle), mask)  # type: ignore[arg-type]
            assert rle_area(rle) == mask.sum()  # type: ignore[arg-type]
            x1, y1, x2, y2 = rle_box(rle)  # type: ignore[arg-type]
            assert np.array_equal(mask[y1:y2, x1:x2].sum(), mask.sum())
            if mask.any():
                assert mask[y1].any() or mask[y1:y2, x1].any()
                assert [x1, y1, x2 - x1, y2 - y1] == coco.toBbox(reference(mask)).tolist()


def test_long_runs() -> None:
    """Lengths of several characters, and differences of both signs."""
    rng = np.random.default_rng(0)
    for top in (3, 15, 16, 31, 32, 1023, 1024, 40_000, 3_000_000):
        counts = rng.integers(0, top + 1, 30).tolist()
        text = compress_counts(counts)
        assert decompress_counts(text) == counts
        rle = {"size": [sum(counts), 1], "counts": counts}
        assert coco.frPyObjects(rle, sum(counts), 1)["counts"].decode() == text


@pytest.mark.parametrize("seed", range(10))
def test_polygons(seed: int) -> None:
    """Corners anywhere, also outside, on pixel sides, repeated, on one line; one to three parts."""
    rng = np.random.default_rng(seed)
    for k in range(60):
        height, width = (int(v) for v in rng.integers(1, (60, 700)[k % 2], 2))
        parts = []
        for _ in range(int(rng.integers(1, 4))):
            points = rng.uniform(-0.3, 1.3, (int(rng.integers(3, 20)), 2)) * [width, height]
            grid = rng.choice([0, 0, 1, 2, 5, 10])
            if grid:
                points = np.round(points * grid) / grid
            if rng.uniform() < 0.2:
                points[1] = points[0]
            if rng.uniform() < 0.2:
                points[:, rng.integers(2)] = points[0, 0]
            parts.append(points.ravel().tolist())
        rle = polygons_to_rle(parts, (height, width))
        right = coco.merge(coco.frPyObjects(parts, height, width))
        assert compress_counts(rle["counts"]) == right["counts"].decode()  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(10))
def test_iou(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(1, 50, 2))
    masks = [random_mask(rng, height, width) for _ in range(11)]
    ours = [encode_rle(m, compress=n % 2 == 0) for n, m in enumerate(masks)]
    theirs = [reference(m) for m in masks]
    crowd = rng.integers(0, 2, 7).astype(bool)
    right = coco.iou(theirs[:4], theirs[4:], crowd.tolist())
    assert np.array_equal(rle_iou(ours[:4], ours[4:], crowd), right)
    assert rle_iou(ours[:4], []).shape == (4, 0)
    assert rle_iou([], ours).shape == (0, 11)


def test_intersections_in_chunks() -> None:
    rng = np.random.default_rng(0)
    sizes = [(20, 30), (31, 7), (20, 30), (5, 5)]
    masks = [random_mask(rng, *size) for size in sizes]
    names = [str(n) for n in range(4)]
    a = read_segmentations([encode_rle(m) for m in masks], sizes, names)
    others = [random_mask(rng, *size) for size in sizes]
    b = read_segmentations([encode_rle(m, compress=True) for m in others], sizes, names)
    i, j = np.array([2, 0, 1, 3, 0, 2]), np.array([0, 0, 1, 3, 2, 2])
    right = [(masks[m] & others[n]).sum() for m, n in zip(i, j, strict=True)]
    for chunk in (1, 7, 10**6):
        assert intersections(a, b, i, j, chunk).tolist() == right


def test_reading_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    masks = [random_mask(rng, 12, 9) for _ in range(11)]
    rles = [encode_rle(m, compress=n % 3 == 0) for n, m in enumerate(masks)]
    names = [f"mask {n}" for n in range(11)]
    whole = read_segmentations(rles, [(12, 9)] * 11, names)
    monkeypatch.setattr(mask_runs, "CHUNK", 4)
    parts = read_segmentations(rles, [(12, 9)] * 11, names)
    for name in ("start", "stop", "first", "height", "width", "area"):
        assert np.array_equal(getattr(parts, name), getattr(whole, name)), name
    assert whole.area.tolist() == [int(m.sum()) for m in masks]
    assert len(read_segmentations([], [], [])) == 0
    with pytest.raises(DataError, match="mask 10"):
        read_segmentations([*rles[:10], 5], [(12, 9)] * 11, names)


@pytest.mark.parametrize(
    ("rle", "words"),
    [
        ({"size": [2, 2], "counts": [1, 2]}, "add up to 3; the picture has 4"),
        ({"size": [2, 2], "counts": "12"}, "add up to 3"),
        ({"size": [2, 2], "counts": "1\x7f"}, "character"),
        ({"size": [2, 2], "counts": "P"}, "middle of a number"),
        ({"size": [2, 2], "counts": [5, -1]}, "0 or more"),
        ({"size": [2, 2], "counts": [1.0, 3.0]}, "integers"),
        ({"size": [2, 2], "counts": [[4]]}, "flat list"),
        ({"size": [2], "counts": [4]}, "height, width"),
        ({"counts": [4]}, "size and counts"),
    ],
)
def test_bad_run_lengths(rle: dict, words: str) -> None:
    with pytest.raises(DataError, match=words):
        decode_rle(rle)  # type: ignore[arg-type]


def test_bad_arguments() -> None:
    with pytest.raises(DataError, match="must be \\(H, W\\)"):
        encode_rle(np.zeros((1, 2, 2), bool))
    with pytest.raises(DataError, match="0 or 1"):
        encode_rle(np.full((2, 2), 2))
    with pytest.raises(DataError, match="bool"):
        encode_rle(np.zeros((2, 2)))
    for polygons in ([[0, 0, 1, 1]], [[0, 0, 1, 1, 2]], [[0, 0, 1, 1, 2, float("nan")]], [3]):
        with pytest.raises(DataError, match="three corners"):
            polygons_to_rle(polygons, (5, 5))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="negative"):
        decompress_counts("O")
    with pytest.raises(DataError, match=r"counts\[1\] is -1"):
        compress_counts([3, -1])
    with pytest.raises(DataError, match="they must be one"):
        rle_iou([encode_rle(np.ones((2, 2), bool))], [encode_rle(np.ones((2, 3), bool))])
    with pytest.raises(DataError, match="crowd has shape"):
        rle_iou(
            [encode_rle(np.ones((2, 2), bool))], [encode_rle(np.ones((2, 2), bool))], [True] * 2
        )
