"""Penn-Fudan: layouts, split, broken files, the command, the download."""

import dataclasses
import functools
import threading
import zipfile
import zlib
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from lessons_lib.data import DataError, PennFudan, download

from .labelled_trees import cut, lessons_data, noise, save

IDS = [f"FudanPed{number:05d}" for number in range(1, 7)] + [
    f"PennPed{number:05d}" for number in range(1, 7)
]
SIZE = (40, 30)


def people(name: str) -> np.ndarray:
    """A label picture: one to three upright boxes, of which a later one may hide a part of an earlier."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    labels = np.zeros(SIZE, np.uint8)
    for number in range(1, int(rng.integers(1, 4)) + 1):
        x = 10 * (number - 1) + int(rng.integers(0, 3))
        labels[int(rng.integers(0, 8)) : int(rng.integers(20, 40)), x : x + 8] = number
    return labels


def tree(folder: Path) -> Path:
    for number, name in enumerate(IDS):
        save(folder / "PNGImages" / f"{name}.png", noise(number, SIZE))
        save(folder / "PedMasks" / f"{name}_mask.png", people(name))
        (folder / "Annotation").mkdir(exist_ok=True)
        (folder / "Annotation" / f"{name}.txt").write_text("# not needed\n")
    return folder


@pytest.mark.parametrize("where", ["", "PennFudanPed", "PennFudanPed/PennFudanPed"])
def test_samples_in_every_layout(tmp_path: Path, where: str) -> None:
    tree(tmp_path / where)
    pictures = PennFudan(tmp_path, split="all")
    assert pictures.ids == IDS and pictures.sizes == [SIZE] * 12
    for number, (name, sample) in enumerate(zip(IDS, pictures, strict=True)):
        labels = people(name)
        count = labels.max()
        assert set(sample) == {"image", "instances", "boxes", "labels", "masks", "id"}
        assert np.array_equal(sample["instances"], labels) and sample["id"] == name
        assert np.array_equal(sample["masks"], labels == np.arange(1, count + 1)[:, None, None])
        assert sample["masks"].dtype == torch.bool and sample["instances"].dtype == torch.int64
        assert sample["labels"].tolist() == [1] * count and sample["boxes"].dtype == torch.float32
        image = (sample["image"].permute(1, 2, 0) * 255).round().numpy()
        assert np.array_equal(image, noise(number, SIZE))
        for mask, (x1, y1, x2, y2) in zip(
            sample["masks"], sample["boxes"].int().tolist(), strict=True
        ):
            y, x = mask.nonzero().T
            assert [x.min(), y.min(), x.max() + 1, y.max() + 1] == [x1, y1, x2, y2]


def test_numbers_may_have_gaps(tmp_path: Path) -> None:
    tree(tmp_path)
    labels = np.zeros(SIZE, np.uint8)
    labels[3:9, 4:8], labels[20:30, 2:5] = 7, 2
    save(tmp_path / "PedMasks" / f"{IDS[0]}_mask.png", labels)
    sample = PennFudan(tmp_path, split="all")[0]
    assert sample["boxes"].tolist() == [[2, 20, 5, 30], [4, 3, 8, 9]]
    assert int(sample["instances"][5, 5]) == 2 and int(sample["instances"][25, 3]) == 1


def test_split_is_by_id_alone(tmp_path: Path) -> None:
    train, test = (PennFudan(tree(tmp_path / s), split=s) for s in ("train", "test"))
    assert test.ids == [name for name in IDS if zlib.crc32(name.encode()) % 5 == 4]
    assert test.ids and sorted(train.ids + test.ids) == IDS
    with pytest.raises(ValueError, match="split is 'val'; expected one of train, test, all"):
        PennFudan(tmp_path / "train", split="val")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="lessons data fetch penn-fudan"):
        PennFudan(tmp_path)


def test_broken_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tree(tmp_path / "penn_fudan")
    assert lessons_data("check", "penn-fudan", "--root", tmp_path) == 0
    said = capsys.readouterr().out
    assert "12 pictures" in said and "no problems" in said
    masks = folder / "PedMasks"
    cut(masks / f"{IDS[0]}_mask.png")
    save(masks / f"{IDS[1]}_mask.png", people(IDS[1])[:-1])
    save(masks / f"{IDS[2]}_mask.png", np.zeros(SIZE, np.uint8))
    (folder / "PNGImages" / f"{IDS[4]}.png").write_bytes(b"no picture")
    for number, message in [(0, "mask.png"), (1, "is 30×39, but its picture"), (4, "00005.png")]:
        with pytest.raises(DataError, match=message):
            PennFudan(folder, split="all")[number]
    assert PennFudan(folder, split="all")[2]["masks"].shape == (0, *SIZE)
    (masks / f"{IDS[3]}_mask.png").unlink()
    with pytest.raises(DataError, match=r"00004_mask.png are missing"):
        PennFudan(folder)
    assert lessons_data("check", "penn-fudan", "--root", tmp_path) == 1
    *problems, summary = capsys.readouterr().out.splitlines()
    assert "5 problems" in summary and len(problems) == 5
    assert any("has nobody in it" in problem for problem in problems)


def test_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a server on this machine, in the archive's true layout."""
    source = tree(tmp_path / "made" / "PennFudanPed")
    archive = tmp_path / "PennFudanPed.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in source.rglob("*"):
            packed.write(path, path.relative_to(source.parent))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *arguments: None)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/{archive.name}"
        known = dataclasses.replace(download.SOURCES["penn-fudan"], url=address)
        monkeypatch.setitem(download.SOURCES, "penn-fudan", known)
        pictures = PennFudan(tmp_path / "data", split="all", download=True)
        server.shutdown()
    assert pictures.ids == IDS
