"""NYU Depth v2: the MATLAB file's axes and mappings, the folder layouts, depth in metres."""

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch

from lessons_lib.data import DataError, DownloadError, NYUv2
from lessons_lib.data.nyuv2 import MAT

from .labelled_trees import cut, lessons_data, noise, save

SIZE = (24, 32)
COUNT = 7
TRAIN, TEST = [2, 3, 5, 7], [1, 4, 6]
MAPPING = np.random.default_rng(0).integers(1, 41, 894)
THIRTEEN = np.random.default_rng(1).integers(1, 14, 40)


def scene(number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, labels 0..894 and depth in metres of picture ``number``, counted from 1."""
    rng = np.random.default_rng(number)
    depth = rng.integers(0, 9000, SIZE).astype(np.float32) / 1000
    return noise(number, SIZE), rng.integers(0, 895, SIZE).astype(np.uint16), depth


class FakeFile(dict[str, np.ndarray]):
    """What of an open h5py.File is used: arrays by name, a context."""

    def __enter__(self) -> "FakeFile":
        return self

    def __exit__(self, *arguments: object) -> None:
        pass


@pytest.fixture
def mat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The four files; h5py is replaced by one that reads .npz, arrays with HDF5's order of axes."""
    scenes = [scene(number) for number in range(1, COUNT + 1)]
    arrays = {
        "images": np.stack([pixels.transpose(2, 1, 0) for pixels, _, _ in scenes]),
        "labels": np.stack([labels.T for _, labels, _ in scenes]),
        "depths": np.stack([depth.T for _, _, depth in scenes]),
    }
    assert arrays["images"].shape == (COUNT, 3, 32, 24)  # as the file's (1449, 3, 640, 480)
    np.savez(tmp_path / "arrays.npz", **arrays)
    (tmp_path / "arrays.npz").rename(tmp_path / MAT)
    splits = {"trainNdxs": np.array(TRAIN)[:, None], "testNdxs": np.array(TEST)[:, None]}
    scipy.io.savemat(tmp_path / "splits.mat", splits)
    scipy.io.savemat(tmp_path / "classMapping40.mat", {"mapClass": MAPPING[None]})
    struct = {"labels13": THIRTEEN[None], "class13Names": np.array(["x"], object)}
    scipy.io.savemat(tmp_path / "class13Mapping.mat", {"classMapping13": struct})

    def open_file(path: Path, mode: str) -> FakeFile:
        assert mode == "r"
        with np.load(path) as arrays:
            return FakeFile(arrays)

    fake: Any = types.ModuleType("h5py")
    fake.File = open_file
    monkeypatch.setitem(sys.modules, "h5py", fake)
    return tmp_path


def expected(number: int, classes: int) -> np.ndarray:
    _, labels, _ = scene(number)
    forty = np.concatenate([[0], MAPPING])[labels]
    wanted = forty if classes == 40 else np.concatenate([[0], THIRTEEN])[forty]
    return np.where(wanted == 0, 255, wanted - 1)


@pytest.mark.parametrize("classes", [40, 13])
def test_matlab_file(mat: Path, classes: int) -> None:
    for split, numbers in (("train", TRAIN), ("test", TEST)):
        rooms = NYUv2(mat, split=split, classes=classes)
        assert rooms.ids == [f"{number:04d}" for number in numbers]
        assert rooms.sizes == [SIZE] * len(numbers)
        assert len(rooms.CLASSES) == len(rooms.PALETTE) == classes
        for number, sample in zip(numbers, rooms, strict=True):
            check(sample, number, classes)


def check(sample: dict[str, Any], number: int, classes: int) -> None:
    pixels, _, depth = scene(number)
    assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), pixels / np.float32(255))
    assert np.array_equal(sample["semantic"].numpy(), expected(number, classes))
    assert sample["depth"].shape == (1, *SIZE) and sample["depth"].dtype == torch.float32
    np.testing.assert_allclose(sample["depth"][0].numpy(), depth, atol=1e-6)


def folder_tree(folder: Path, layout: str, classes: int) -> Path:
    for split, numbers in (("train", TRAIN), ("test", TEST)):
        for number in numbers:
            name = f"{number:04d}.png"
            pixels, _, depth = scene(number)
            stored = np.where((e := expected(number, classes)) == 255, 0, e + 1).astype(np.uint8)
            image, labels, depths = {
                "by split": (f"{split}/rgb", f"{split}/labels_{classes}", f"{split}/depth"),
                "by kind": (f"image/{split}", f"seg{classes}/{split}", f"depth/{split}"),
                "lists": ("image", f"seg{classes}", "depth"),
            }[layout]
            save(folder / image / name, pixels)
            save(folder / labels / name, stored)
            save(folder / depths / name, np.round(depth * 1000).astype(np.uint16))
        (folder / f"{split}.txt").write_text("\n".join(f"{number:04d}" for number in numbers))
    return folder


@pytest.mark.parametrize("classes", [40, 13])
@pytest.mark.parametrize("layout", ["by split", "by kind", "lists"])
def test_folders(
    tmp_path: Path, layout: str, classes: int, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = folder_tree(tmp_path / "nyuv2", layout, classes)
    for split, numbers in (("train", TRAIN), ("test", TEST)):
        rooms = NYUv2(folder, split=split, classes=classes)
        assert rooms.ids == [f"{number:04d}" for number in numbers]
        for number, sample in zip(numbers, rooms, strict=True):
            check(sample, number, classes)
    assert lessons_data("check", "nyuv2", "--root", tmp_path) == 0
    assert "7 pictures (3 test, 4 train), no problems" in capsys.readouterr().out


def test_problems_of_folders_are_named(tmp_path: Path) -> None:
    folder_tree(tmp_path, "by split", 40)
    rooms = NYUv2(tmp_path)
    save(tmp_path / "train/labels_40/0002.png", np.full(SIZE, 41, np.uint8))
    with pytest.raises(
        DataError, match=r"0002\.png: has the label 41 in 768 pixels; expected 0..40"
    ):
        rooms[0]
    save(tmp_path / "train/depth/0003.png", np.zeros(SIZE, np.uint8))
    with pytest.raises(DataError, match=r"depth/0003\.png: is uint8.*millimetres, 16 bits"):
        rooms[1]
    save(tmp_path / "train/depth/0005.png", np.zeros((3, 3), np.uint16))
    with pytest.raises(DataError, match=r"depth/0005\.png: is 3×3, but its picture"):
        rooms[2]
    cut(tmp_path / "train/depth/0007.png")
    with pytest.raises(DataError, match=r"depth/0007\.png"):
        rooms[3]
    (tmp_path / "train/depth/0007.png").unlink()
    with pytest.raises(DataError, match=r"rgb/0007\.png: its depth .*0007\.png is missing"):
        NYUv2(tmp_path)


def test_problems_of_the_matlab_files_are_named(mat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scipy.io.savemat(mat / "splits.mat", {"trainNdxs": np.array([[0], [3]])})
    with pytest.raises(DataError, match=r"splits\.mat: trainNdxs should be in 1\.\.7"):
        NYUv2(mat)
    with pytest.raises(DataError, match=r"splits\.mat: has no variable 'testNdxs'"):
        NYUv2(mat, split="test")
    scipy.io.savemat(mat / "classMapping40.mat", {"mapClass": MAPPING[None, :-1]})
    with pytest.raises(DataError, match=r"classMapping40\.mat: expected 894 classes.*found 893"):
        NYUv2(mat)
    (mat / "classMapping40.mat").write_text("no MATLAB")
    with pytest.raises(DataError, match=r"classMapping40\.mat: cannot be read as a MATLAB file"):
        NYUv2(mat)
    (mat / "classMapping40.mat").unlink()
    with pytest.raises(DataError, match=r"classMapping40\.mat: cannot be read"):
        NYUv2(mat)


def test_without_h5py(mat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match="needs the package h5py: pip install h5py"):
        NYUv2(mat)


def test_arguments_are_named(tmp_path: Path) -> None:
    for arguments in ({"split": "val"}, {"classes": 37}):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))} is"):
            NYUv2(tmp_path, **arguments)
    with pytest.raises(FileNotFoundError, match=r"Fetch nyu_depth_v2_labeled\.mat"):
        NYUv2(tmp_path)
    with pytest.raises(DownloadError, match="By hand: download nyu_depth_v2_labeled"):
        NYUv2(tmp_path, download=True)
