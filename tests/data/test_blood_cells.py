"""Blood cells: layouts, split, empty boxes, broken files, the facts of the real pictures."""

import dataclasses
import functools
import json
import threading
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from lessons_lib.data import BloodCells, DataError, download

from .labelled_trees import cut, lessons_data, noise, save

IDS = [f"BloodImage_{number:05d}" for number in range(12)]
SIZE = (48, 64)
Box = tuple[str, tuple[int, int, int, int]]


def boxes(name: str) -> list[Box]:
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    found: list[Box] = []
    for _ in range(int(rng.integers(1, 6))):
        x, y = sorted(rng.choice(64, 2, replace=False)), sorted(rng.choice(48, 2, replace=False))
        corners = (int(x[0]) + 1, int(y[0]) + 1, int(x[1]) + 1, int(y[1]) + 1)
        found.append((str(rng.choice(["RBC", "WBC", "Platelets"])), corners))
    return found


def xml(name: str, things: list[Box], size: tuple[int, int] = SIZE) -> str:
    objects = "".join(
        f"<object><name>{label}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>"
        for label, (a, b, c, d) in things
    )
    return (
        f"<annotation><folder>JPEGImages</folder><filename>{name}.jpg</filename>"
        f"<size><width>{size[1]}</width><height>{size[0]}</height><depth>3</depth></size>{objects}"
        "</annotation>"
    )


def tree(folder: Path) -> Path:
    (folder / "Annotations").mkdir(parents=True)
    for number, name in enumerate(IDS):
        save(folder / "JPEGImages" / f"{name}.jpg", noise(number, SIZE))
        (folder / "Annotations" / f"{name}.xml").write_text(xml(name, boxes(name)))
    return folder


@pytest.mark.parametrize("where", ["", "dev", "BCCD", "BCCD_Dataset/BCCD_Dataset-d272/BCCD"])
def test_samples_in_every_layout(tmp_path: Path, where: str) -> None:
    tree(tmp_path / where)
    cells = BloodCells(tmp_path, split="all")
    assert cells.ids == IDS and cells.sizes == [SIZE] * 12
    for name, sample in zip(IDS, cells, strict=True):
        assert set(sample) == {"image", "boxes", "labels", "id"} and sample["id"] == name
        assert sample["image"].shape == (3, *SIZE) and sample["image"].dtype == torch.float32
        assert sample["boxes"].dtype == torch.float32 and sample["labels"].dtype == torch.int64
        assert sample["boxes"].tolist() == [list(box) for _, box in boxes(name)]
        assert [BloodCells.CLASSES[k] for k in sample["labels"]] == [k for k, _ in boxes(name)]
    assert len(BloodCells.PALETTE) == len(BloodCells.CLASSES) == 4


def test_split_is_by_id_alone(tmp_path: Path) -> None:
    train, test = (BloodCells(tree(tmp_path / s), split=s) for s in ("train", "test"))
    assert test.ids == [name for name in IDS if zlib.crc32(name.encode()) % 5 == 4]
    assert test.ids and sorted(train.ids + test.ids) == IDS


def test_empty_boxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tree(tmp_path / "bccd") / "Annotations"
    assert lessons_data("check", "blood-cells", "--root", tmp_path) == 0
    assert "no problems" in capsys.readouterr().out
    things: list[Box] = [
        ("WBC", (9, 9, 9, 9)),  # a click
        ("RBC", (5, 5, 5, 12)),
        ("RBC", (8, 12, 20, 9)),  # wrong order
        ("RBC", (1, 1, 64, 48)),
        ("RBC", (30, 30, 65, 40)),
    ]
    (folder / f"{IDS[0]}.xml").write_text(xml(IDS[0], things))
    (folder / f"{IDS[1]}.xml").write_text(xml(IDS[1], things[:1]))
    (folder / f"{IDS[2]}.xml").write_text(xml(IDS[2], []))
    dropped = BloodCells(tmp_path / "bccd", split="all")
    kept = BloodCells(tmp_path / "bccd", split="all", keep_empty=True)
    assert dropped[0]["boxes"].tolist() == [[1, 1, 64, 48], [30, 30, 65, 40]]
    assert dropped[0]["labels"].tolist() == [1, 1]
    assert kept[0]["boxes"].tolist() == [list(box) for _, box in things]
    assert kept[0]["labels"].tolist() == [2, 1, 1, 1, 1]
    for sample in (dropped[1], dropped[2], kept[2]):
        assert sample["boxes"].shape == (0, 4) and sample["boxes"].dtype == torch.float32
        assert sample["labels"].shape == (0,) and sample["labels"].dtype == torch.int64
    assert lessons_data("check", "blood-cells", "--root", tmp_path) == 1
    *problems, summary = capsys.readouterr().out.splitlines()
    assert "6 problems" in summary and len(problems) == 6
    for text in (
        "00000.xml: object 1 (WBC): its box (9, 9, 9, 9) has no pixel",
        "00000.xml: object 2 (RBC): its box (5, 5, 5, 12) has no pixel",
        "00000.xml: object 3 (RBC): its box (8, 12, 20, 9) has no pixel",
        "00000.xml: object 5 (RBC): its box (30, 30, 65, 40) reaches beyond the picture of 64×48",
        "00001.xml: object 1 (WBC): its box (9, 9, 9, 9) has no pixel",
        "00002.xml: has no object",
    ):
        assert sum(text in problem for problem in problems) == 1, text


def test_broken_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tree(tmp_path / "bccd")
    good = xml("x", [("RBC", (1, 2, 3, 4)), ("WBC", (1, 2, 3, 4))])
    broken = {
        0: (good[:-20], "00000.xml: cannot be read as XML"),
        1: (
            good.replace("WBC", "wbc"),
            r"00001.xml: object 2 is a 'wbc'; expected one of RBC, WBC",
        ),
        2: (good.replace("<xmax>3</xmax>", "", 1), "00002.xml: object 1 has no <bndbox/xmax>"),
        3: (good.replace("<ymin>2<", "<ymin>two<"), "00003.xml: object 1: <bndbox/ymin> is 'two'"),
        4: (good.replace("64", "640"), "00004.xml: is 640×48, but its picture .* is 64×48"),
        5: (good.replace("<width>64</width>", ""), "00005.xml: the annotation has no <size/width>"),
        6: (good.replace("<name>RBC</name>", "<name/>"), "00006.xml: object 1 has no <name>"),
        7: (good.replace("<xmin>1<", "<xmin>nan<"), "00007.xml: object 1: <bndbox/xmin> is 'nan'"),
        8: ("<html/>", "00008.xml: its root element is <html>; expected <annotation>"),
        9: (
            '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + good.replace("RBC", "&e;"),
            "00009.xml: has a document type",
        ),
        10: (
            good.replace("<difficult>0", "<difficult>2", 1),
            "00010.xml: object 1: <difficult> is 2",
        ),
    }
    for number, (text, _) in broken.items():
        (folder / "Annotations" / f"{IDS[number]}.xml").write_text(text)
    cut(folder / "JPEGImages" / f"{IDS[11]}.jpg", 100)
    cells = BloodCells(folder, split="all")
    for number, (_, message) in broken.items():
        with pytest.raises(DataError, match=message):
            cells[number]
    with pytest.raises(DataError, match=r"00011\.jpg: damaged JPEG"):
        cells[11]
    assert lessons_data("check", "blood-cells", "--root", tmp_path) == 1
    assert "12 problems" in capsys.readouterr().out
    (folder / "JPEGImages" / f"{IDS[0]}.jpg").unlink()
    (folder / "Annotations" / f"{IDS[1]}.xml").unlink()
    with pytest.raises(DataError, match=r"00001\.jpg: its labels .*00001\.xml are missing \(and 1"):
        BloodCells(folder)


def test_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split is 'val'; expected one of train, test, all"):
        BloodCells(tmp_path, split="val")
    with pytest.raises(FileNotFoundError, match="lessons data fetch blood-cells"):
        BloodCells(tmp_path)


def test_download_of_the_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As GitHub packs it: everything in a folder named after the commit."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    source = tree(tmp_path / "tree")
    (tmp_path / "served").mkdir()
    with zipfile.ZipFile(tmp_path / "served" / "a.zip", "w") as archive:
        for path in sorted(source.rglob("*.*")):
            archive.write(path, f"BCCD_Dataset-d272/BCCD/{path.relative_to(source)}")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/a.zip"
        known = dataclasses.replace(download.SOURCES["blood-cells"], url=address)
        monkeypatch.setitem(download.SOURCES, "blood-cells", known)
        cells = BloodCells(tmp_path / "new", split="all", download=True)
        server.shutdown()
    assert cells.ids == IDS


def test_facts_of_the_real_pictures(data_root: Callable[[str], Path]) -> None:
    folder = data_root("bccd")
    facts = json.loads((folder / "dev" / "facts.json").read_text())
    kept, dropped = (BloodCells(folder, split="all", keep_empty=keep) for keep in (True, False))
    assert len(kept) == facts["per_image"]["n"] == 292
    counts, per_image, empty = Counter[str](), [], []
    for picture, short in zip(kept.pictures, dropped.pictures, strict=True):
        _, marked = picture.read()
        counts.update(thing.label for thing in marked.objects)
        per_image.append(len(marked.objects))
        empty += [
            [picture.truth.name, thing.label, list(thing.box)]
            for thing in marked.objects
            if thing.empty
        ]
        assert all(thing.inside(marked.size) for thing in marked.objects)
        assert short.id == picture.id
    assert counts == facts["boxes"]
    assert empty == facts["degenerate_boxes"]
    assert (min(per_image), max(per_image)) == (
        facts["per_image"]["min"],
        facts["per_image"]["max"],
    )
    assert sum(per_image) == facts["per_image"]["sum"] == 3943
    index = kept.ids.index("BloodImage_00338")
    assert len(kept[index]["boxes"]) == len(dropped[index]["boxes"]) + 1
    assert len(BloodCells(folder)) == 228 and len(BloodCells(folder, split="test")) == 64


@pytest.mark.parametrize("up", [".", ".."])
def test_the_repositorys_test_list_is_left_out(tmp_path: Path, up: str) -> None:
    folder = tree(tmp_path / "dev")
    lists = folder / up / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "trainval.txt").write_text("\n".join(IDS[2:9]) + "\n")
    (lists / "test.txt").write_text("\n".join(IDS[9:]) + "\n")
    assert BloodCells(folder, split="all").ids == IDS[2:9]
