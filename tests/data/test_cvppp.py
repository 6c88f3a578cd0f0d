"""CVPPP: the layouts, label pictures with palettes, gray or colours, the parts, what is wrong."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lessons_lib.data import CVPPP, DataError, DownloadError, fetch

from .labelled_trees import cut, lessons_data, noise, save

SIZES = {"A1": (53, 50), "A2": (53, 50), "A3": (60, 70), "A4": (44, 44)}
COLOURS = np.random.default_rng(5).permutation(np.arange(1, 256))


def leaves(seed: int, size: tuple[int, int]) -> np.ndarray:
    """Leaves 1, 2, 4, 5 with gaps in their numbers, the later ones above the earlier."""
    y, x = np.mgrid[: size[0], : size[1]]
    labels = np.zeros(size, np.uint8)
    for number in (1, 2, 4, 5):
        cy, cx = np.random.default_rng((seed, number)).uniform(12, 36, 2)
        labels[(y - cy) ** 2 + 2 * (x - cx) ** 2 < 90] = number
    return labels


def palette() -> np.ndarray:
    colours = np.stack([COLOURS, COLOURS[::-1], np.roll(COLOURS, 40)], axis=1)
    return np.concatenate([np.zeros((1, 3), np.uint8), colours]).astype(np.uint8)


def tree(base: Path, count: int = 6) -> Path:
    for subset, size in SIZES.items():
        for number in range(1, count + 1):
            name = f"plant{number:04d}" if subset == "A4" else f"plant{number:03d}"
            pixels = noise(number, size)
            if subset == "A1":  # there the pictures have an alpha channel
                pixels = np.dstack([pixels, np.full(size, 255, np.uint8)])
            save(base / subset / f"{name}_rgb.png", pixels)
            labels = leaves(number, size)
            save(base / subset / f"{name}_label.png", labels, palette())
            save(base / subset / f"{name}_fg.png", (labels > 0).astype(np.uint8) * 255)
            save(base / subset / f"{name}_centers.png", np.zeros(size, np.uint8))
    return base


@pytest.mark.parametrize("base", ["", "training", "CVPPP2017_LSC_training/training"])
def test_layouts_and_samples(tmp_path: Path, base: str):
    tree(tmp_path / base)
    plants = CVPPP(tmp_path, split="all", subsets=("A1", "A4"))
    assert plants.ids[0] == "A1/plant001" and plants.ids[-1] == "A4/plant0006" and len(plants) == 12
    assert set(plants.sizes) == {(53, 50), (44, 44)}
    for number, sample in enumerate(plants):
        size = SIZES[sample["id"][:2]]
        truth = leaves(number % 6 + 1, size)
        assert sample["image"].shape == (3, *size)
        shown = np.unique(truth)[1:]
        assert sample["instances"].unique().tolist() == list(range(len(shown) + 1))
        for place, value in enumerate(shown, start=1):
            assert np.array_equal(sample["instances"].numpy() == place, truth == value)
        assert torch.equal(sample["semantic"], (sample["instances"] > 0).long())


def test_parts_by_the_id_alone(tmp_path: Path):
    tree(tmp_path, count=20)
    parts = {split: CVPPP(tmp_path, split, tuple(SIZES)).ids for split in ("train", "test", "all")}
    assert parts["test"] == [i for i in parts["all"] if zlib.crc32(i.encode()) % 5 == 4] != []
    assert sorted(parts["train"] + parts["test"]) == sorted(parts["all"])


@pytest.mark.parametrize("form", ["gray", "rgb", "rgba"])
def test_labels_without_palette(tmp_path: Path, form: str):
    """A copy that lost its palette has the same leaves, whatever their order."""
    tree(tmp_path)
    path = tmp_path / "A2/plant003_label.png"
    expected = CVPPP(tmp_path, "all", ["A2"])[2]["instances"]
    mode = {"gray": "L", "rgb": "RGB", "rgba": "RGBA"}[form]
    if form == "gray":
        Image.fromarray(leaves(3, SIZES["A2"])).save(path)
    else:
        Image.open(path).convert(mode).save(path)
    assert Image.open(path).mode == mode
    found = CVPPP(tmp_path, "all", ["A2"])[2]["instances"]
    pairs = {(int(a), int(b)) for a, b in zip(found.flatten(), expected.flatten(), strict=True)}
    assert len(pairs) == len(expected.unique()) and (0, 0) in pairs


def test_problems_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tree(tmp_path / "cvppp")
    assert lessons_data("check", "cvppp", "--root", tmp_path) == 0
    out = capsys.readouterr().out
    assert "24 pictures (6 A1, 6 A2, 6 A3, 6 A4)" in out and "no problems" in out
    save(folder / "A1/plant001_label.png", np.zeros((53, 50), np.uint8), palette())
    save(folder / "A1/plant002_label.png", np.zeros((50, 53), np.uint8), palette())
    smooth = np.random.default_rng(0).integers(0, 255, (53, 50, 3)).astype(np.uint8)
    save(folder / "A1/plant003_label.png", smooth)
    cut(folder / "A2/plant001_rgb.png")
    cut(folder / "A2/plant002_label.png")
    (folder / "A3/plant004_rgb.png").unlink()
    assert lessons_data("check", "cvppp", "--root", tmp_path) == 1
    lines = capsys.readouterr().out.splitlines()
    for words in (
        "plant001_label.png: has no leaf in it",
        "plant002_label.png: is 53×50, but its picture",
        "colours; expected one a leaf, at most 255",
        "A2/plant001_rgb.png: ",
        "A2/plant002_label.png: ",
        "A3/plant004_label.png: there is no picture for these labels",
    ):
        assert any(words in line for line in lines), words
    assert len(lines) == 7 and "6 problems" in lines[-1]
    with pytest.raises(DataError, match="there is no picture for these labels"):
        CVPPP(folder, subsets=["A3"])


def test_missing_and_unknown(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no CVPPP leaves here.*plant-phenotyping\.org"):
        CVPPP(tmp_path)
    (tmp_path / "A2").mkdir()
    with pytest.raises(
        FileNotFoundError, match="A1: is missing; it should be the folder of subset"
    ):
        CVPPP(tmp_path)
    with pytest.raises(ValueError, match="subsets is 'A5'; expected one of A1, A2, A3, A4"):
        CVPPP(tmp_path, subsets=["A5"])
    with pytest.raises(DownloadError, match=r"By hand: ask for CVPPP2017_LSC_training\.zip"):
        fetch("cvppp", tmp_path / "nothing")
