"""Cityscapes: the two trees, label ids to train ids, what is missing."""

from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import Cityscapes as Theirs

from lessons_lib.data import Cityscapes, DataError, DownloadError, fetch

from .labelled_trees import cut, lessons_data, noise, save

IDS = {"train": ["aachen_000000_000019", "bochum_000001_000019"], "val": ["ulm_000003_000019"]}


def tree(folder: Path) -> Path:
    for split, names in IDS.items():
        for name in names:
            city = name.split("_")[0]
            save(folder / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", noise(1, (34, 68)))
            labels = np.arange(34 * 68, dtype=np.int64).reshape(34, 68) % 34
            for kind in ("labelIds", "instanceIds"):
                path = folder / f"gtFine/{split}/{city}/{name}_gtFine_{kind}.png"
                save(path, labels.astype(np.uint8))
    return folder


def test_train_ids_are_those_of_torchvision(tmp_path: Path) -> None:
    """Classes, colours and the mapping of all 34 ids, as torchvision has them."""
    theirs = [c for c in Theirs.classes if c.id >= 0]
    counted = sorted((c for c in theirs if c.train_id < 255), key=lambda c: c.train_id)
    assert tuple(c.name for c in counted) == Cityscapes.CLASSES
    assert Cityscapes.PALETTE.tolist() == [list(c.color) for c in counted]
    sample = Cityscapes(tree(tmp_path))[0]
    assert sample["semantic"].flatten()[:34].tolist() == [c.train_id for c in theirs]
    assert sample["image"].shape == (3, 34, 68)


def test_parts(tmp_path: Path) -> None:
    tree(tmp_path)
    for split, names in IDS.items():
        assert Cityscapes(tmp_path, split=split).ids == names
    with pytest.raises(ValueError, match="split is 'all'"):
        Cityscapes(tmp_path, split="all")
    with pytest.raises(FileNotFoundError, match=r"test.*should be folders\. Register at https"):
        Cityscapes(tmp_path, split="test")


def test_no_download(tmp_path: Path) -> None:
    for call in (
        lambda: fetch("cityscapes", tmp_path),
        lambda: Cityscapes(tmp_path, download=True),
    ):
        with pytest.raises(DownloadError, match=r"By hand: register at https://www\.cityscapes"):
            call()


def test_problems_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tree(tmp_path / "cityscapes")
    assert lessons_data("check", "cityscapes", "--root", tmp_path) == 0
    assert "3 pictures (2 train, 1 val), no problems" in capsys.readouterr().out
    labels = folder / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    save(labels, np.full((34, 68), 34, np.uint8))
    with pytest.raises(DataError, match="has the label 34 in 2312 pixels; expected the label ids"):
        Cityscapes(folder)[0]
    cut(next(folder.glob("leftImg8bit/val/*/*.png")))
    (folder / "gtFine/train/bochum/bochum_000001_000019_gtFine_labelIds.png").unlink()
    with pytest.raises(DataError, match=r"bochum.*_leftImg8bit\.png: its labels .*are missing"):
        Cityscapes(folder)
    assert lessons_data("check", "cityscapes", "--root", tmp_path) == 1
    assert "3 problems" in capsys.readouterr().out
