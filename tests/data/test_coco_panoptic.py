"""Panoptic COCO: ids and colours, the two layouts, samples, what is broken, facts, known answers."""

import json
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from pycocotools import mask as coco_mask

from lessons_lib.data import CocoPanoptic, DataError
from lessons_lib.data.panoptic import decode_panoptic, encode_panoptic, read_panoptic

from .labelled_trees import lessons_data, noise, save

CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1, "supercategory": "person"},
    {"id": 18, "name": "dog", "isthing": 1, "supercategory": "animal"},
    {"id": 187, "name": "sky-other-merged", "isthing": 0, "supercategory": "sky"},
]
IDS = [f"{number:012d}" for number in (9, 25, 30, 34, 36, 42)]


@settings(max_examples=100, deadline=None)
@given(
    ids=hnp.arrays(
        np.int64, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 2**24 - 1)
    )
)
def test_ids_and_colours(ids: np.ndarray) -> None:
    colours = encode_panoptic(ids)
    red, green, blue = (colours[..., k].astype(int) for k in range(3))
    assert np.array_equal(red + 256 * green + 65536 * blue, ids)
    assert np.array_equal(decode_panoptic(colours), ids)
    assert np.array_equal(encode_panoptic(torch.from_numpy(ids)), colours)


def test_ids_and_colours_refused(tmp_path: Path) -> None:
    for wrong in (2**24, -1):
        with pytest.raises(DataError, match=rf"ids run from .*{wrong}"):
            encode_panoptic(np.array([[0, wrong]]))
    for wrong in (
        np.zeros((2, 2, 4), np.uint8),
        np.zeros((2, 2, 3), np.uint16),
        np.zeros(3, np.uint8),
    ):
        with pytest.raises(DataError, match="expected uint8"):
            decode_panoptic(wrong)
    save(tmp_path / "deep.png", np.zeros((3, 4), np.uint16))
    with pytest.raises(DataError, match=r"deep\.png: pixels are uint16"):
        read_panoptic(tmp_path / "deep.png")
    save(tmp_path / "gray.png", np.full((3, 4), 7, np.uint8))
    assert (read_panoptic(tmp_path / "gray.png") == 7 * (1 + 256 + 65536)).all()


def panoptic(name: str) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Ids with a dog under two persons, a crowd, sky, and pixels that nobody named."""
    ids = np.zeros((30, 40), np.int64)
    ids[:8] = 65536 * 7 + 1  # sky
    ids[10:25, 5:20] = 300
    ids[12:20, 15:30] = 70000 + int(name) % 7
    ids[3:28, 35:38] = 12
    ids[26:29, 1:9] = 5
    rows = [
        (300, 18, 0),
        (65536 * 7 + 1, 187, 0),
        (5, 1, 1),
        (70000 + int(name) % 7, 1, 0),
        (12, 1, 0),
    ]
    segments = []
    for segment, category, crowd in rows:
        y, x = np.nonzero(ids == segment)
        box = [x.min(), y.min(), x.max() + 1 - x.min(), y.max() + 1 - y.min()]
        segments.append(
            {"id": segment, "category_id": category, "iscrowd": crowd, "area": len(x), "bbox": box}
        )
    return ids, json.loads(json.dumps(segments, default=int))


def write_list(path: Path, panoptic_folder: Path, images: Path, names: list[str]) -> None:
    annotations, facts = [], []
    for name in names:
        ids, segments = panoptic(name)
        save(images / f"{name}.jpg", noise(int(name), ids.shape))
        save(panoptic_folder / f"{name}.png", encode_panoptic(ids))
        fact = {
            "id": int(name),
            "file_name": f"{name}.jpg",
            "height": 30,
            "width": 40,
            "license": 4,
        }
        facts.append({**fact, "flickr_url": f"http://farm/{name}"})
        row = {"image_id": int(name), "file_name": f"{name}.png", "segments_info": segments}
        annotations.append(row)
    licences = [{"id": 4, "name": "Attribution License", "url": "http://by"}]
    content = {"images": facts, "annotations": annotations[::-1], "categories": CATEGORIES}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, "licenses": licences}))


def small_tree(folder: Path) -> Path:
    write_list(folder / "panoptic.json", folder / "panoptic", folder / "images", IDS)
    return folder


def original_tree(folder: Path) -> Path:
    for split, names in (("train", IDS[:4]), ("val", IDS[4:])):
        lists = folder / "annotations"
        name = f"panoptic_{split}2017"
        write_list(lists / f"{name}.json", lists / name, folder / f"{split}2017", names)
    return folder


@pytest.mark.parametrize("tree", [small_tree, original_tree])
def test_samples(tmp_path: Path, tree: Callable[[Path], Path]) -> None:
    coco = CocoPanoptic(tree(tmp_path))
    assert coco.ids == IDS and coco.sizes == [(30, 40)] * 6
    assert coco.classes == ("background", "person", "dog", "sky-other-merged")
    assert coco.category_ids == (0, 1, 18, 187) and coco.is_thing == (False, True, True, False)
    for name, sample in zip(IDS, coco, strict=True):
        ids, segments = panoptic(name)
        semantic = np.full(ids.shape, 255)
        things = [s for s in segments if s["category_id"] != 187]
        for segment in segments:
            semantic[ids == segment["id"]] = coco.category_ids.index(segment["category_id"])
        assert np.array_equal(sample["semantic"].numpy(), semantic)
        assert sample["labels"].tolist() == [2, 1, 1, 1]
        assert sample["crowd"].tolist() == [False, True, False, False]
        for row, thing in enumerate(things):
            mask = ids == thing["id"]
            assert np.array_equal(sample["masks"][row].numpy(), mask)
            assert np.array_equal(sample["instances"].numpy() == row + 1, mask)
            x, y, width, height = thing["bbox"]
            assert sample["boxes"][row].tolist() == [x, y, x + width, y + height]
        assert int(sample["instances"].max()) == len(things) == len(sample["masks"])
        kinds = {"semantic": torch.int64, "instances": torch.int64, "boxes": torch.float32}
        kinds |= {"labels": torch.int64, "masks": torch.bool, "crowd": torch.bool}
        assert {key: sample[key].dtype for key in kinds} == kinds
        assert sample["id"] == name and sample["image"].shape == (3, 30, 40)
    assert coco.credit(1) == (
        "000000000025.jpg: http://farm/000000000025, Attribution License, http://by"
    )
    parts = [CocoPanoptic(tmp_path, split=split).ids for split in ("train", "val")]
    test = [name for name in IDS if zlib.crc32(name.encode()) % 5 == 4]
    assert parts[1] == (test if tree is small_tree else IDS[4:])
    assert sorted(parts[0] + parts[1]) == IDS


def test_a_picture_without_things(tmp_path: Path) -> None:
    folder = small_tree(tmp_path)
    content = json.loads((folder / "panoptic.json").read_text())
    save(folder / "panoptic" / f"{IDS[0]}.png", np.zeros((30, 40, 3), np.uint8))
    content["annotations"][-1]["segments_info"] = []
    (folder / "panoptic.json").write_text(json.dumps(content))
    sample = CocoPanoptic(folder)[0]
    assert sample["boxes"].shape == (0, 4) and sample["masks"].shape == (0, 30, 40)
    assert (sample["semantic"] == 255).all() and (sample["instances"] == 0).all()


def test_problems_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = small_tree(tmp_path / "coco_cc")
    assert lessons_data("check", "coco-panoptic", "--root", tmp_path) == 0
    assert "6 pictures (6 panoptic), 30 instances, no problems" in capsys.readouterr().out
    content = json.loads((folder / "panoptic.json").read_text())
    rows = {row["file_name"][:-4]: row["segments_info"] for row in content["annotations"]}
    rows[IDS[0]].pop()
    rows[IDS[1]].append({**rows[IDS[1]][0], "id": 999})
    rows[IDS[2]][1]["id"] = rows[IDS[2]][0]["id"]
    save(folder / "panoptic" / f"{IDS[3]}.png", np.zeros((30, 41, 3), np.uint8))
    rows[IDS[4]][0]["area"] += 1
    rows[IDS[4]][2]["bbox"][3] += 1
    (folder / "panoptic.json").write_text(json.dumps(content))
    coco = CocoPanoptic(folder)
    messages = {
        0: r"0009\.png: has the id 12, which its segments",
        1: r"0025\.png: no pixel has the id 999",
        2: r"0030\.png: its segments' ids in the JSON are not unique",
        3: r"0034\.png: is 41×30, but its picture",
    }
    for index, message in messages.items():
        with pytest.raises(DataError, match=message):
            coco[index]
    assert lessons_data("check", "coco-panoptic", "--root", tmp_path) == 1
    printed = capsys.readouterr().out
    assert "6 problems" in printed
    assert "0036.png: segment 300 has area 186 in the JSON, but 185 in the picture" in printed
    (folder / "images" / f"{IDS[5]}.jpg").unlink()
    rows[IDS[5]][0]["category_id"] = 19
    (folder / "panoptic.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"0042\.jpg: is missing \(and 1 more"):
        CocoPanoptic(folder)
    for broken, message in (
        ("{", "cannot be read as JSON"),
        ("[]", "has no list 'images' at its top"),
        (json.dumps({**content, "categories": 3}), "has no list 'categories'"),
        (json.dumps({**content, "images": [{}]}), "is no panoptic annotation of COCO's form"),
    ):
        (folder / "panoptic.json").write_text(broken)
        with pytest.raises(DataError, match=message):
            CocoPanoptic(folder)


def test_arguments_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="split is 'test'; expected one of all, train, val"):
        CocoPanoptic(tmp_path, split="test")
    with pytest.raises(FileNotFoundError, match="no panoptic COCO here"):
        CocoPanoptic(tmp_path)
    assert lessons_data("fetch", "coco-panoptic", "--root", tmp_path) == 1
    assert "images.cocodataset.org" in capsys.readouterr().err


def test_facts_of_the_real_pictures(data_root: Callable[[str], Path]) -> None:
    folder = data_root("coco_cc")
    facts = json.loads((folder / "dev" / "facts.json").read_text())
    coco = CocoPanoptic(folder)
    assert len(coco) == facts["images"] == 26
    things, stuff, per_image, crowds = Counter[str](), Counter[str](), [], 0
    for sample, picture in zip(coco, coco.pictures, strict=True):
        names = [coco.classes[k] for k in sample["labels"]]
        things.update(names)
        stuff.update(
            coco.classes[k]
            for k in sample["semantic"].unique().tolist()
            if k != 255 and not coco.is_thing[k]
        )
        per_image.append(len(names))
        crowds += int(sample["crowd"].sum())
        listed = [s for s in picture.segments if s["category_id"] in coco.category_ids[1:81]]
        assert sample["masks"].sum((1, 2)).tolist() == [s["area"] for s in listed]
        boxes = sample["boxes"].clone()
        boxes[:, 2:] -= boxes[:, :2]
        assert boxes.tolist() == [s["bbox"] for s in listed]
    assert things == facts["thing_counts"] and stuff == facts["stuff_counts"]
    assert sum(per_image) == facts["things_per_image"]["sum"] and crowds == facts["crowd"]
    attribution = (folder / "dev" / "ATTRIBUTION.csv").read_text()
    for index, picture in enumerate(coco.pictures):
        assert picture.facts["flickr_url"] in coco.credit(index)
        assert picture.facts["flickr_url"] in attribution


def test_known_answers(data_root: Callable[[str], Path]) -> None:
    """The same annotation as panoptic PNG, as PNG of category and number, and as run lengths."""
    folder = data_root("oracle_panoptic") / "sample_data"
    listed = json.loads((folder / "panoptic_examples.json").read_text())
    runs = json.loads((folder / "panoptic_coco_detection_format.json").read_text())["annotations"]
    seen = 0
    for annotation in listed["annotations"]:
        ids = read_panoptic(folder / "panoptic_examples" / annotation["file_name"])
        two = np.asarray(
            Image.open(folder / "panoptic_examples_2ch_format" / annotation["file_name"])
        )
        category = {s["id"]: s["category_id"] for s in annotation["segments_info"]}
        assert set(np.unique(ids)) - {0} == set(category)
        for segment, number in category.items():
            (kinds, numbers) = (np.unique(two[..., k][ids == segment]) for k in (0, 1))
            assert kinds.tolist() == [number] and len(numbers) == 1
        mine = [row for row in runs if row["image_id"] == annotation["image_id"]]
        assert len(mine) == len(category)
        for row in mine:
            mask = coco_mask.decode(row["segmentation"]).astype(bool)
            inside = np.unique(ids[mask])
            assert len(inside) == 1 and category[int(inside[0])] == row["category_id"]
            assert np.array_equal(ids == inside[0], mask)
            seen += 1
    assert seen == len(runs) > 10
