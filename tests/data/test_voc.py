"""Pascal VOC: the kit's layout, palette and gray label files, lists, the colour map."""

import dataclasses
import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lessons_lib.data import VOC, DataError, DownloadError, download, fetch, voc_palette
from lessons_lib.data.tar_archives import unpack_tar

from .labelled_trees import cut, lessons_data, noise, save

LISTS = {"train": ["2007_000032", "2008_000001"], "val": ["2007_000033"], "trainaug": ["2009_9"]}
STORED = np.array([*range(21), 255], np.uint8)


def labels(seed: int) -> np.ndarray:
    return STORED[np.random.default_rng(seed).integers(0, 22, (40, 50))]


def kit(folder: Path, year: str = "2012") -> Path:
    """The development kit; one label file is palette, as VOC's are, SegmentationClassAug gray."""
    base = folder / "VOCdevkit" / f"VOC{year}"
    lists = base / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    for split, names in {**LISTS, "trainval": LISTS["train"] + LISTS["val"]}.items():
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")
    for seed, name in enumerate(name for names in LISTS.values() for name in names):
        save(base / "JPEGImages" / f"{name}.jpg", noise(seed, (40, 50)))
        if name not in LISTS["trainaug"]:
            path = base / "SegmentationClass" / f"{name}.png"
            save(path, labels(seed), voc_palette())
        save(base / "SegmentationClassAug" / f"{name}.png", labels(seed))
    return folder


@pytest.mark.parametrize("where", ["", "VOCdevkit"])
def test_samples(tmp_path: Path, where: str) -> None:
    kit(tmp_path)
    for split, names in LISTS.items():
        voc = VOC(tmp_path / where, split=split)
        assert voc.ids == names
        for name, sample in zip(names, voc, strict=True):
            seed = [n for names in LISTS.values() for n in names].index(name)
            assert np.array_equal(sample["semantic"].numpy(), labels(seed))
            assert sample["image"].shape == (3, 40, 50)
            assert (
                np.abs(
                    sample["image"].permute(1, 2, 0).numpy() * 255 - noise(seed, (40, 50))
                ).mean()
                < 20
            )
    assert len(VOC(tmp_path, split="trainval")) == 3
    with Image.open(tmp_path / "VOCdevkit/VOC2012/SegmentationClass/2007_000033.png") as picture:
        assert picture.mode == "P", "the test reads what VOC has"
    assert len(VOC.CLASSES) == len(VOC.PALETTE) == 21
    assert VOC.CLASSES[15] == "person"


def test_other_years(tmp_path: Path) -> None:
    kit(tmp_path, "2007")
    assert VOC(tmp_path, year="2007").year == "2007"
    with pytest.raises(FileNotFoundError, match=r"no VOC2012/JPEGImages"):
        VOC(tmp_path)


def test_palette_is_vocs() -> None:
    """The well-known colours, and those of a palette PNG's file."""
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128)}
    known |= {8: (64, 0, 0), 9: (192, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    known |= {255: (224, 224, 192)}
    palette = voc_palette()
    assert {k: tuple(palette[k].tolist()) for k in known} == known
    assert len(np.unique(palette, axis=0)) == 256, "no two classes share a colour"
    for count in (0, 257):
        with pytest.raises(ValueError, match=f"count is {count}"):
            voc_palette(count)


def test_problems_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = kit(tmp_path / "voc") / "VOCdevkit" / "VOC2012"
    assert lessons_data("check", "voc", "--root", tmp_path) == 0
    assert "4 pictures (2 train, 1 trainaug, 1 val), no problems" in capsys.readouterr().out
    wrong = labels(0)
    wrong[0, :3] = 21
    save(base / "SegmentationClass" / "2007_000032.png", wrong)
    with pytest.raises(
        DataError, match=r"000032\.png: has the label \d+ in \d+ pixels; expected 0"
    ):
        VOC(tmp_path / "voc")[0]
    save(base / "SegmentationClass" / "2008_000001.png", voc_palette()[labels(1)])
    with pytest.raises(DataError, match="has the colour mode RGB"):
        VOC(tmp_path / "voc")[1]
    (base / "JPEGImages" / "2007_000033.jpg").unlink()
    with pytest.raises(DataError, match=r"000033\.jpg: is missing, but is in the list of val"):
        VOC(tmp_path / "voc", split="val")
    cut(base / "JPEGImages" / "2009_9.jpg", 200)
    with pytest.raises(DataError, match=r"2009_9\.jpg"):
        VOC(tmp_path / "voc", split="trainaug")[0]
    assert lessons_data("check", "voc", "--root", tmp_path) == 1
    assert "4 problems" in capsys.readouterr().out
    (base / "ImageSets" / "Segmentation" / "train.txt").unlink()
    with pytest.raises(DataError, match=r"train\.txt: the list cannot be read"):
        VOC(tmp_path / "voc")


def test_arguments_are_named(tmp_path: Path) -> None:
    for arguments in ({"split": "dev"}, {"year": "2013"}, {"task": "boxes"}):
        with pytest.raises(ValueError, match=f"{next(iter(arguments))} is"):
            VOC(tmp_path, **arguments)
    with pytest.raises(ValueError, match="only 2007 has its test labels"):
        VOC(tmp_path, split="test")
    with pytest.raises(ValueError, match="only 2012 can be downloaded"):
        VOC(tmp_path, year="2007", download=True)


def tarred(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add(folder / "VOCdevkit", "VOCdevkit")
    return buffer.getvalue()


def test_archive_put_there_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Checked by its MD5, unpacked, read."""
    data = tarred(kit(tmp_path / "tree"))
    source = download.SOURCES["voc"]
    (tmp_path / "voc").mkdir()
    (tmp_path / "voc" / source.archive).write_bytes(data)
    with pytest.raises(DownloadError, match=rf"its MD5 is .*; expected {source.md5}"):
        fetch("voc", tmp_path)
    known = dataclasses.replace(source, md5=hashlib.md5(data).hexdigest())
    monkeypatch.setitem(download.SOURCES, "voc", known)
    fetch("voc", tmp_path)
    assert VOC(tmp_path / "voc").ids == LISTS["train"]


def member(name: str, kind: bytes = tarfile.REGTYPE, content: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(_info("good.txt", tarfile.REGTYPE, content), io.BytesIO(content))
        archive.addfile(_info(name, kind, content), io.BytesIO(content))
    return buffer.getvalue()


def _info(name: str, kind: bytes, content: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("../out.txt", tarfile.REGTYPE, "leaves the folder"),
        ("a/../../out.txt", tarfile.REGTYPE, "leaves the folder"),
        ("/out.txt", tarfile.REGTYPE, "absolute path"),
        ("C:\\out.txt", tarfile.REGTYPE, "absolute path"),
        ("link", tarfile.SYMTYPE, "is a link"),
        ("hard", tarfile.LNKTYPE, "is a link"),
        ("pipe", tarfile.FIFOTYPE, "is a link or a device"),
        ("GOOD.txt", tarfile.REGTYPE, "comes twice"),
    ],
    ids=lambda value: value.hex() if isinstance(value, bytes) else None,
)
def test_hostile_archives(tmp_path: Path, name: str, kind: bytes, reason: str) -> None:
    (tmp_path / "a.tar").write_bytes(member(name, kind))
    with pytest.raises(DataError, match=rf"{reason}.*; nothing was unpacked"):
        unpack_tar(tmp_path / "a.tar", tmp_path / "new", 1000)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar"]


def test_large_and_broken_archives(tmp_path: Path) -> None:
    data = member("b.txt", content=b"y" * 5000)
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(DataError, match=r"unpacks to 10,000 bytes; at most 9,999"):
        unpack_tar(tmp_path / "a.tar", tmp_path / "new", 9999)
    unpack_tar(tmp_path / "a.tar", tmp_path / "new", 10000)
    assert (tmp_path / "new" / "b.txt").read_bytes() == b"y" * 5000
    with pytest.raises(FileExistsError):
        unpack_tar(tmp_path / "a.tar", tmp_path / "new", 10000)
    for broken in (data[:7000], b"no tar at all", b""):
        (tmp_path / "a.tar").write_bytes(broken)
        with pytest.raises(DataError, match="not a whole tar archive"):
            unpack_tar(tmp_path / "a.tar", tmp_path / "other", 10000)
        assert not (tmp_path / "other").exists()
