"""White blood cells: both layouts, the split, broken files, the facts of the real pictures."""

import dataclasses
import functools
import json
import threading
import zipfile
import zlib
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from lessons_lib.data import DataError, WhiteBloodCells, download

from .labelled_trees import cut, lessons_data, noise, save

IDS = [f"{number:03d}" for number in range(1, 21)]
STORED = np.array([0, 128, 255], np.uint8)


def cell(name: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(int(name))
    size = (int(rng.integers(88, 121)), int(rng.integers(88, 121)))
    return noise(int(name), size), rng.integers(0, 3, size).astype(np.uint8)


def prepared_tree(folder: Path) -> Path:
    for name in IDS:
        pixels, classes = cell(name)
        save(folder / "dev" / "images" / f"{name}.png", pixels)
        save(folder / "dev" / "labels" / f"{name}.png", STORED[classes])
    return folder


def original_tree(folder: Path) -> Path:
    for name in IDS:
        pixels, classes = cell(name)
        save(folder / "Dataset 1" / f"{name}.bmp", pixels)
        save(folder / "Dataset 1" / f"{name}.png", STORED[classes])
    return folder


@pytest.mark.parametrize("tree", [prepared_tree, original_tree])
def test_both_layouts_give_the_same_samples(tmp_path: Path, tree: Callable[[Path], Path]) -> None:
    cells = WhiteBloodCells(tree(tmp_path), split="all")
    assert cells.ids == IDS and len(cells) == 20
    for index, name in enumerate(IDS):
        pixels, classes = cell(name)
        sample = cells[index]
        assert set(sample) == {"image", "semantic", "id"} and sample["id"] == name
        assert sample["image"].dtype == torch.float32 and sample["semantic"].dtype == torch.int64
        assert np.array_equal(sample["image"].permute(1, 2, 0).numpy(), pixels / np.float32(255))
        assert np.array_equal(sample["semantic"].numpy(), classes)
        assert cells.sizes[index] == classes.shape
    assert WhiteBloodCells.PALETTE.shape == (len(WhiteBloodCells.CLASSES), 3)


def test_split_is_by_id_alone(tmp_path: Path) -> None:
    train, test = (WhiteBloodCells(prepared_tree(tmp_path), split=s) for s in ("train", "test"))
    assert test.ids == [name for name in IDS if zlib.crc32(name.encode()) % 5 == 4]
    assert test.ids and sorted(train.ids + test.ids) == IDS
    assert "20 pictures" in repr(WhiteBloodCells(tmp_path, split="all"))


@pytest.mark.parametrize("tree", [prepared_tree, original_tree])
def test_broken_files_are_named(tmp_path: Path, tree: Callable[[Path], Path]) -> None:
    tree(tmp_path)
    image, label = ("images", "labels") if tree is prepared_tree else ("Dataset 1", "Dataset 1")
    suffix = "png" if tree is prepared_tree else "bmp"
    cells = WhiteBloodCells(tmp_path, split="all")
    folder = cells.pictures[0].image.parents[1]
    cut(folder / image / f"001.{suffix}")
    with pytest.raises(DataError, match=rf"001\.{suffix}"):
        cells[0]
    cut(folder / label / "002.png")
    with pytest.raises(DataError, match=r"002\.png"):
        cells[1]
    save(folder / label / "003.png", STORED[cell("003")[1]][:-1])
    with pytest.raises(DataError, match=r"003\.png: is \d+×\d+, but its picture"):
        cells[2]
    odd = STORED[cell("004")[1]]
    odd[3:5, 7] = 127
    save(folder / label / "004.png", odd)
    with pytest.raises(
        DataError, match=r"004\.png: has the label 127 in 2 pixels; expected 0, 128"
    ):
        cells[3]
    (folder / label / "005.png").unlink()
    (folder / image / f"006.{suffix}").unlink()
    with pytest.raises(
        DataError, match=rf"005\.{suffix}: its labels .*005\.png are missing \(and 1"
    ):
        WhiteBloodCells(tmp_path)


def test_check_lists_every_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = prepared_tree(tmp_path / "wbc") / "dev" / "labels"
    assert lessons_data("check", "white-blood-cells", "--root", tmp_path) == 0
    test = sum(zlib.crc32(name.encode()) % 5 == 4 for name in IDS)
    assert capsys.readouterr().out == (
        f"white-blood-cells in {tmp_path / 'wbc'}: 20 pictures ({test} test, {20 - test} train), "
        "no problems\n"
    )
    cut(labels / "001.png")
    save(labels / "002.png", np.full((4, 4), 128, np.uint8))
    save(labels / "003.png", STORED[cell("003")[1]] // 2)
    (labels / "004.png").unlink()
    assert lessons_data("check", "white-blood-cells", "--root", tmp_path) == 1
    *problems, summary = capsys.readouterr().out.splitlines()
    assert "19 pictures" in summary and "4 problems" in summary
    for text in ("001.png: truncated", "002.png: is 4×4", "003.png: has the label", "004.png"):
        assert sum(text in problem for problem in problems) == 1, text


def test_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split is 'val'; expected one of train, test, all"):
        WhiteBloodCells(tmp_path, split="val")
    with pytest.raises(FileNotFoundError, match="lessons data fetch white-blood-cells"):
        WhiteBloodCells(tmp_path)


def test_download_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As GitHub packs it: everything in a folder named after the commit."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    tree = original_tree(tmp_path / "tree")
    (tmp_path / "served").mkdir()
    with zipfile.ZipFile(tmp_path / "served" / "a.zip", "w") as archive:
        for path in sorted(tree.rglob("*.*")):
            archive.write(path, f"segmentation_WBC-fa9c/{path.relative_to(tree)}")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/a.zip"
        source = dataclasses.replace(download.SOURCES["white-blood-cells"], url=address)
        monkeypatch.setitem(download.SOURCES, "white-blood-cells", source)
        cells = WhiteBloodCells(tmp_path / "new", split="all", download=True)
        server.shutdown()
    assert cells.ids == IDS
    assert np.array_equal(cells[4]["semantic"].numpy(), cell("005")[1])
    assert WhiteBloodCells(tmp_path / "new", split="all", download=True).ids == IDS, "not again"


def test_facts_of_the_real_pictures(data_root: Callable[[str], Path]) -> None:
    folder = data_root("wbc")
    facts = json.loads((folder / "dev" / "facts.json").read_text())
    cells = WhiteBloodCells(folder, split="all")
    assert len(cells) == facts["images"] == 226
    counts = torch.zeros(3, dtype=torch.int64)
    for sample in cells:
        counts += torch.bincount(sample["semantic"].flatten(), minlength=3)
    assert counts.tolist() == list(facts["pixels"].values())
    assert min(map(min, cells.sizes)) == 88 and max(map(max, cells.sizes)) == 120
    train, test = WhiteBloodCells(folder), WhiteBloodCells(folder, split="test")
    assert len(train) == 179 and len(test) == 47
    assert {"112", "139"} <= set(train.ids), "the same picture twice, not in both parts"
