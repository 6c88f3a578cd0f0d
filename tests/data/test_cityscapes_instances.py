"""Cityscapes' things: ids to instances and classes, groups and void, crops around objects."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import Cityscapes as Theirs

from lessons_lib.data import Augmented, CityscapesInstances, DataError, object_crop
from lessons_lib.data.cityscapes_instances import decode_instance_ids

from .labelled_trees import cut, lessons_data, noise, save

IDS = {"train": ["aachen_000000_000019", "bochum_000001_000019"], "val": ["ulm_000003_000019"]}


def street(seed: int = 0, size: tuple[int, int] = (40, 80)) -> np.ndarray:
    """Stored ids: road, sky, three cars, a group of cars, a person, a trailer, the ego vehicle."""
    stored = np.full(size, 7, np.uint16)
    stored[:10] = 23
    stored[12:20, 5:15] = 26000 + seed
    stored[12:20, 15:25] = 26004
    stored[22:30, 60:70] = 26017
    stored[12:18, 30:40] = 26
    stored[20:30, 30:34] = 24000
    stored[12:18, 44:50] = 30000
    stored[-3:] = 1
    return stored


def tree(folder: Path) -> Path:
    for split, names in IDS.items():
        for number, name in enumerate(names):
            city = name.split("_")[0]
            save(folder / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", noise(1, (40, 80)))
            save(folder / f"gtFine/{split}/{city}/{name}_gtFine_instanceIds.png", street(number))
    return folder


def test_classes_and_ignored_labels_are_those_of_torchvision():
    """Every label id alone and with a number, against the table that torchvision has."""
    theirs = [c for c in Theirs.classes if c.id >= 0]
    things = [c for c in theirs if c.has_instances and not c.ignore_in_eval]
    assert ("background", *(c.name for c in things)) == CityscapesInstances.CLASSES
    assert CityscapesInstances.PALETTE[1:].tolist() == [list(c.color) for c in things]
    for c in theirs:
        alone = decode_instance_ids(np.full((1, 1), c.id, np.uint16))
        thing = c.has_instances
        assert [int(x[0, 0]) for x in alone] == [0, 255 if thing else 0, thing or c.ignore_in_eval]
        if thing:
            instances, semantic, void = decode_instance_ids(np.full((1, 1), 1000 * c.id + 7))
            counted = c in things
            assert instances.item() == counted and void.item() == c.ignore_in_eval
            assert semantic.item() == (1 + things.index(c) if counted else 255)


def test_sample(tmp_path: Path):
    sample = CityscapesInstances(tree(tmp_path))[0]
    stored = torch.from_numpy(street().astype(np.int64))
    expected = {24000: 1, 26000: 2, 26004: 3, 26017: 4}
    for value, number in expected.items():
        assert (sample["instances"] == number).eq(stored == value).all()
        assert (sample["semantic"][stored == value] == (1 if value < 26000 else 3)).all()
    assert sample["instances"].max() == 4 and sample["instances"].dtype == torch.int64
    assert (sample["semantic"] == 255).eq((stored == 26) | (stored == 30000)).all()
    assert sample["void"].eq((stored == 26) | (stored == 30000) | (stored == 1)).all()
    assert sample["image"].shape == (3, 40, 80) and sample["id"] == IDS["train"][0]


def test_parts_and_registration(tmp_path: Path):
    tree(tmp_path)
    for split, names in IDS.items():
        assert CityscapesInstances(tmp_path, split=split).ids == names
    with pytest.raises(FileNotFoundError, match=r"test.*should be folders\. Register at https"):
        CityscapesInstances(tmp_path, split="test")
    with pytest.raises(ValueError, match="split is 'all'"):
        CityscapesInstances(tmp_path, split="all")


def test_problems_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = tree(tmp_path / "cityscapes")
    assert lessons_data("check", "cityscapes-instances", "--root", tmp_path) == 0
    assert "3 pictures (2 train, 1 val), 12 instances, no problems" in capsys.readouterr().out
    ids = folder / "gtFine/train/aachen/aachen_000000_000019_gtFine_instanceIds.png"
    for value in (34, 7001, 34000):
        save(ids, np.full((40, 80), value, np.uint16))
        with pytest.raises(DataError, match=f"has the id {value} in 3200 pixels; expected a label"):
            CityscapesInstances(folder)[0]
    cut(next(folder.glob("leftImg8bit/val/*/*.png")))
    (folder / "gtFine/train/bochum/bochum_000001_000019_gtFine_instanceIds.png").unlink()
    with pytest.raises(DataError, match=r"bochum.*_leftImg8bit\.png: its labels .*are missing"):
        CityscapesInstances(folder)
    assert lessons_data("check", "cityscapes-instances", "--root", tmp_path) == 1
    assert "3 problems" in capsys.readouterr().out


def test_crops_are_around_objects(tmp_path: Path):
    """By hand: the crop's corner is the mean of an object's pixels less half of the crop, inside."""
    whole = CityscapesInstances(tree(tmp_path))
    crops = Augmented(whole, object_crop(24, flip=False), length=60, seed=3)
    corners = set()
    for index in range(60):
        crop, full = crops[index], whole[crops.picture(index)]
        assert crop["instances"].shape == crop["semantic"].shape == (24, 24)
        matches = []
        for number in full["instances"].unique()[1:]:
            y, x = (full["instances"] == number).nonzero().double().mean(0).tolist()
            top = int(np.clip(y - 12, 0, 40 - 24))
            left = int(np.clip(x - 12, 0, 80 - 24))
            window = (slice(top, top + 24), slice(left, left + 24))
            same = all(
                crop[name].eq(full[name][(..., *window)]).all()
                for name in ("image", "instances", "semantic")
            )
            matches += [(top, left)] if same else []
        assert matches
        corners.add(matches[0])
    assert len(corners) == 4  # every object is drawn
    assert torch.equal(crops[5]["image"], crops[5]["image"])
    other = Augmented(whole, object_crop(24), length=60, seed=4)
    assert any(not torch.equal(crops[k]["image"], other[k]["image"]) for k in range(5))


def test_crops_of_empty_and_of_small_pictures():
    empty = {"image": torch.rand(3, 30, 50), "instances": torch.zeros(30, 50, dtype=torch.int64)}
    empty["semantic"] = torch.zeros(30, 50, dtype=torch.int64)
    crop = Augmented([empty], object_crop(20), length=1)[0]
    assert crop["image"].shape == (3, 20, 20) and crop["semantic"].eq(0).all()
    small = Augmented([empty], object_crop(40), length=1)[0]
    assert small["image"].shape == (3, 40, 40)
    assert int((small["semantic"] == 255).sum()) == 40 * 40 - 30 * 40
    with pytest.raises(ValueError, match="size is 0; it must be at least 1"):
        object_crop(0)
