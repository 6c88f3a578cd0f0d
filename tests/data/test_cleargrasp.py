"""ClearGrasp's scenes: metres, holes, shrinking by medians, broken files, the facts of the real ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lessons_lib.data import ClearGrasp, DataError, DownloadError
from lessons_lib.data.cleargrasp import shrink_depth

from .labelled_trees import cut, lessons_data, noise, save

SIZE = (24, 32)


def tree(folder: Path, count: int = 2) -> Path:
    rng = np.random.default_rng(0)
    for k in range(count):
        mask = np.zeros(SIZE, np.uint8)
        mask[4:12, 8:20] = 255
        true = rng.integers(400, 1200, SIZE).astype(np.uint16)
        true[rng.random(SIZE) < 0.1] = 0
        broken = np.where((mask > 0) & (rng.random(SIZE) < 0.5), 0, true)
        save(folder / f"{k}-transparent-depth-mm.png", broken.astype(np.uint16))
        save(folder / f"{k}-opaque-depth-mm.png", true)
        save(folder / f"{k}-mask.png", mask)
        image = folder / f"{k}-transparent-rgb-img.jpg"
        Image.fromarray(noise(k, SIZE)).save(image, quality=95)
    return folder


def stored(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_sample_is_what_the_files_say(tmp_path: Path) -> None:
    scenes = ClearGrasp(tree(tmp_path))
    assert scenes.ids == ["0", "1"] and scenes.sizes == [SIZE] * 2
    for k, sample in enumerate(scenes):
        assert sample["image"].shape == (3, *SIZE)
        for name, file in (("depth", "transparent"), ("true_depth", "opaque")):
            metres = stored(tmp_path / f"{k}-{file}-depth-mm.png") / 1000
            assert sample[name].dtype == torch.float32 and sample[name].shape == (1, *SIZE)
            np.testing.assert_allclose(sample[name][0].numpy(), metres, atol=1e-6)
        assert sample["mask"].dtype == torch.bool
        assert np.array_equal(sample["mask"][0], stored(tmp_path / f"{k}-mask.png") > 0)


@pytest.mark.parametrize("size", [(24, 32), (12, 8), (7, 9), (1, 1), (5, 32)])
def test_shrinking_is_a_median_of_each_part(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(sum(size))
    depth = rng.uniform(0.3, 2, SIZE).astype(np.float32)
    depth[rng.random(SIZE) < 0.4] = 0
    small = shrink_depth(depth, size)
    window = [-(-whole // parts) for whole, parts in zip(SIZE, size, strict=True)]
    for r, c in np.ndindex(*size):
        top = min(r * SIZE[0] // size[0], SIZE[0] - window[0])
        left = min(c * SIZE[1] // size[1], SIZE[1] - window[1])
        part = depth[top : top + window[0], left : left + window[1]]
        measured = np.sort(part[part > 0])
        if 2 * len(measured) < part.size:
            assert small[r, c] == 0
        else:
            assert small[r, c] == measured[(len(measured) - 1) // 2]
    assert small.dtype == np.float32


def test_shrinking_invents_no_depth() -> None:
    """Of an edge between two planes a mean would give a third depth; the holes would come forward."""
    depth = np.full((12, 12), 2.0, np.float32)
    depth[:, 7:] = 0.5
    depth[3] = 0
    assert set(np.unique(shrink_depth(depth, (4, 4)))) == {np.float32(0.5), np.float32(2.0)}
    with pytest.raises(ValueError, match=r"size is \(13, 4\); it must be at most that of the map"):
        shrink_depth(depth, (13, 4))


def test_all_maps_shrink_together(tmp_path: Path) -> None:
    sample = ClearGrasp(tree(tmp_path), size=(12, 16))[0]
    assert {k: tuple(v.shape) for k, v in sample.items() if k != "id"} == {
        "image": (3, 12, 16),
        "depth": (1, 12, 16),
        "true_depth": (1, 12, 16),
        "mask": (1, 12, 16),
    }
    assert np.array_equal(sample["mask"][0], stored(tmp_path / "0-mask.png")[::2, ::2] > 0)
    with pytest.raises(ValueError, match=r"size is \(0, 3\); expected \(height, width\)"):
        ClearGrasp(tmp_path, size=(0, 3))


def test_problems_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tree(tmp_path / "rgbd_cleargrasp", 5)
    scenes = ClearGrasp(folder)
    save(folder / "1-opaque-depth-mm.png", np.zeros(SIZE, np.uint8))
    save(folder / "2-mask.png", np.zeros((4, 5), np.uint8))
    save(folder / "3-mask.png", np.zeros(SIZE, np.uint8))
    cut(folder / "4-transparent-depth-mm.png")
    with pytest.raises(DataError, match=r"1-opaque-depth-mm\.png: is uint8 .*16 bits"):
        scenes[1]
    with pytest.raises(DataError, match=r"2-mask\.png: is 5×4, but its picture"):
        scenes[2]
    (folder / "0-opaque-depth-mm.png").unlink()
    with pytest.raises(DataError, match=r"0-opaque-depth-mm\.png: is missing"):
        ClearGrasp(folder)
    assert lessons_data("check", "cleargrasp", "--root", tmp_path) == 1
    said = capsys.readouterr().out
    for text in (
        "0-opaque-depth-mm.png: is missing",
        "1-opaque-depth-mm.png: is uint8",
        "2-mask.png: is 5×4",
        "3-mask.png: marks nothing",
        "4-transparent-depth-mm.png: ",
        "4 pictures (4 all), 5 problems",
    ):
        assert text in said
    with pytest.raises(FileNotFoundError, match="no ClearGrasp scenes here"):
        ClearGrasp(tmp_path)
    with pytest.raises(DownloadError, match="cannot be fetched by a program"):
        ClearGrasp(tmp_path / "none", download=True)


def test_facts_of_the_real_scenes(data_root: Callable[[str], Path]) -> None:
    scenes = ClearGrasp(data_root("rgbd_cleargrasp"), size=(144, 256))
    assert scenes.ids == ["000000080", "000000123", "000000130", "000000153"]
    for sample in scenes:
        depth, true, mask = sample["depth"], sample["true_depth"], sample["mask"]
        assert float(true[true > 0].min()) > 0.3 and float(true.max()) < 1.6
        inside, outside = mask & (true > 0), ~mask & (true > 0) & (depth > 0)
        missing = (depth[inside] == 0).float().mean()
        assert missing > 0.1 and missing > (depth[~mask & (true > 0)] == 0).float().mean()
        assert (depth - true)[outside].abs().mean() < 0.004
        assert (depth - true)[inside].abs().mean() > 0.1
