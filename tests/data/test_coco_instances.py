"""COCO's things in the true layout: boxes, masks, crowds, numbers with gaps; against pycocotools."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from lessons_lib.data import CocoInstances, DataError
from lessons_lib.data.rle import encode_rle

from .labelled_trees import lessons_data, noise, save

SIZES = {139: (30, 40), 285: (20, 25), 632: (24, 24), 724: (16, 18)}
CATEGORIES = [
    {"id": 1, "name": "person"},
    {"id": 13, "name": "stop sign"},
    {"id": 90, "name": "brush"},
]


def annotations() -> list[dict[str, Any]]:
    crowd = np.zeros(SIZES[285], bool)
    crowd[3:9, 2:20] = True
    rows = [
        (139, 13, [[2, 3, 20.5, 3, 20.5, 15.2, 2, 15.2]], [2, 3, 18.5, 12.2]),
        (139, 90, [[10, 10, 35, 12, 22, 28]], [10, 10, 25, 18]),
        (139, 1, [[1, 20, 6, 20, 6, 26, 1, 26], [8, 20, 12, 20, 12, 29, 8, 29]], [1, 20, 11, 9]),
        (285, 1, [[4, 4, 10, 4, 10, 15, 4, 15]], [4, 4, 6, 11]),
        (632, 1, [[5, 5, 5.4, 5, 5.4, 9, 5, 9]], [5, 5, 0.4, 4]),
    ]
    listed = [
        {"id": n, "image_id": i, "category_id": c, "segmentation": s, "bbox": b, "iscrowd": 0}
        for n, (i, c, s, b) in enumerate(rows, start=1)
    ]
    listed.append(
        {"id": 9, "image_id": 285, "category_id": 1, "iscrowd": 1, "bbox": [2, 3, 18, 6]}
        | {"segmentation": encode_rle(crowd)}
    )
    return [{**row, "area": 1.0} for row in listed]


def tree(folder: Path, split: str = "val") -> Path:
    names = {number: f"{number:012d}.jpg" for number in SIZES}
    for number, size in SIZES.items():
        save(folder / f"{split}2017" / names[number], noise(number, size))
    images = [
        {"id": n, "file_name": names[n], "height": size[0], "width": size[1]}
        for n, size in reversed(SIZES.items())
    ]
    content = {"images": images, "annotations": annotations(), "categories": CATEGORIES}
    (folder / "annotations").mkdir(exist_ok=True)
    path = folder / "annotations" / f"instances_{split}2017.json"
    path.write_text(json.dumps(content))
    return path


def test_samples_are_those_of_cocos_own_tools(tmp_path: Path) -> None:
    theirs = COCO(str(tree(tmp_path)))
    pictures = CocoInstances(tmp_path)
    assert pictures.ids == [f"{n:012d}" for n in SIZES] and pictures.sizes == list(SIZES.values())
    assert len(pictures.classes) == 91 and pictures.classes[:3] == (
        "background",
        "person",
        "unused 2",
    )
    assert pictures.classes[13] == "stop sign" and pictures.classes[90] == "brush"
    for number, sample in zip(SIZES, pictures, strict=True):
        rows = theirs.loadAnns(theirs.getAnnIds(imgIds=number))
        assert sample["labels"].tolist() == [row["category_id"] for row in rows]
        assert sample["crowd"].tolist() == [bool(row["iscrowd"]) for row in rows]
        assert sample["masks"].shape == (len(rows), *SIZES[number])
        assert sample["masks"].dtype == torch.bool
        for row, mask, box in zip(rows, sample["masks"], sample["boxes"].tolist(), strict=True):
            assert np.array_equal(theirs.annToMask(row), mask)
            x, y, width, height = row["bbox"]
            assert box == pytest.approx([x, y, x + width, y + height])
    assert pictures[0]["labels"].tolist() == [13, 90, 1] and pictures[3]["boxes"].shape == (0, 4)
    assert bool(pictures[1]["crowd"][1]) and int(pictures[1]["masks"][1].sum()) == 6 * 18


def test_pictures_to_learn_from(tmp_path: Path) -> None:
    """Not the one without things, nor the one whose only thing is narrower than a pixel."""
    tree(tmp_path, "train")
    assert len(CocoInstances(tmp_path, split="train")) == 4
    kept = CocoInstances(tmp_path, split="train", with_objects=True)
    assert kept.ids == ["000000000139", "000000000285"]


def test_what_is_missing_or_broken_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(FileNotFoundError, match="lessons data fetch coco"):
        CocoInstances(tmp_path)
    with pytest.raises(ValueError, match="split is 'test'; expected one of train, val"):
        CocoInstances(tmp_path, split="test")
    path = tree(tmp_path / "coco")
    assert lessons_data("check", "coco", "--root", tmp_path) == 0
    assert "no problems" in capsys.readouterr().out
    save(tmp_path / "coco" / "val2017" / f"{285:012d}.jpg", noise(0, (20, 26)))
    (tmp_path / "coco" / "val2017" / f"{724:012d}.jpg").unlink()
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = [[1, 2, 3, 4]]
    path.write_text(json.dumps(content))
    pictures = CocoInstances(tmp_path / "coco")
    for number in (0, 1, 3):
        with pytest.raises(DataError):
            pictures[number]
    assert lessons_data("check", "coco", "--root", tmp_path) == 1
    *problems, summary = capsys.readouterr().out.splitlines()
    assert "3 problems" in summary and len(problems) == 3
    content["categories"][0]["id"] = 0
    content["annotations"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="a category has the number 0; 0 is nothing"):
        CocoInstances(tmp_path / "coco")
    content["categories"] = []
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="there are no categories"):
        CocoInstances(tmp_path / "coco")
    assert lessons_data("fetch", "coco", "--root", tmp_path / "none") == 1
    assert "annotations_trainval2017.zip" in capsys.readouterr().err
