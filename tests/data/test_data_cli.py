"""``lessons data``: list, fetch, check, convert."""

import argparse
import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from lessons_lib.data import Nuclei, read_labels
from lessons_lib.data.cli import add_arguments, run
from lessons_lib.data.voc_xml import read_voc_xml

from .nuclei_trees import Picture, example, merged_tree, original_tree, save
from .test_blood_cells import tree


def lessons_data(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    merged_tree(tmp_path / "root" / "dsb2018", example())
    return tmp_path / "root"


def test_list(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lessons_data("list", "--root", root) == 0
    printed = capsys.readouterr().out
    assert "nuclei" in printed and " here" in printed and str(root / "dsb2018") in printed
    assert lessons_data("list", "--root", tmp_path / "empty") == 0
    assert "not here" in capsys.readouterr().out


def test_fetch_of_what_is_there(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lessons_data("fetch", "nuclei", "--root", root) == 0
    assert "already in" in capsys.readouterr().out


def test_check_of_good_data(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lessons_data("check", "nuclei", "--root", root) == 0
    instances = sum(int(labels.max()) for _, labels in example().values())
    assert capsys.readouterr().out == (
        f"nuclei in {root / 'dsb2018'}: 16 pictures (4 fluorescence-large, 8 fluorescence-small, "
        f"4 stained), {instances} instances, no problems\n"
    )


def test_check_without_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lessons_data("check", "nuclei", "--root", tmp_path) == 1
    assert "no nuclei here" in capsys.readouterr().err


def test_check_lists_all_problems_of_merged_data(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, labels = root / "dsb2018" / "images", root / "dsb2018" / "labels"
    (images / "small0.png").write_bytes((images / "small0.png").read_bytes()[:-30])
    (labels / "small1.png").write_text("no picture")
    save(labels / "small2.png", np.zeros((4, 4), np.uint8))
    (labels / "small3.png").unlink()
    (images / "small4.png").unlink()
    save(labels / "small5.png", np.zeros((60, 80), np.uint8))
    save(labels / "small6.png", example()["small6"][1].astype(np.uint16) * 2)
    save(labels / "small7.png", np.zeros((60, 80, 3), np.uint8))
    assert lessons_data("check", "nuclei", "--root", root) == 1
    *problems, summary = capsys.readouterr().out.splitlines()
    assert "14 pictures" in summary and "8 problems" in summary
    expected = {
        "small0.png: truncated PNG": images,
        "small1.png: neither PNG, JPEG nor TIFF": labels,
        "small2.png: is 4×4, but its picture": labels,
        "small3.png: its labels": images,
        "small4.png: its picture": labels,
        "small5.png: no nucleus": labels,
        "small6.png: ids have gaps": labels,
        "small7.png: has the colour mode RGB": labels,
    }
    assert len(problems) == len(expected)
    for text, folder in expected.items():
        assert sum(problem.startswith(f"{folder}/{text}") for problem in problems) == 1, text


def test_check_lists_all_problems_of_original_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[:5], labels[8:10], labels[12:] = 1, 2, 3
    dark = np.full((20, 20), 12, np.uint8)
    pictures: dict[str, Picture] = {name: (dark, labels) for name in "abcd"}
    folder = original_tree(tmp_path / "dsb2018", pictures)
    overlapping = np.zeros((20, 20), np.uint8)
    overlapping[4:9] = 255
    save(folder / "a" / "masks" / "002.png", overlapping)
    save(folder / "a" / "masks" / "003.png", np.zeros((20, 20), np.uint8))
    save(folder / "b" / "masks" / "001.png", np.zeros((20, 21), np.uint8))
    cut = folder / "b" / "masks" / "002.png"
    cut.write_bytes(cut.read_bytes()[:40])
    for path in (folder / "c" / "masks").iterdir():
        path.unlink()
    (folder / "d" / "images" / "d.png").unlink()
    assert lessons_data("check", "nuclei", "--root", tmp_path) == 1
    printed = capsys.readouterr().out
    for problem in (
        "a/masks/002.png: overlaps 001.png in 20 pixels",
        "a/masks/003.png: a mask without a pixel",
        "b/masks/001.png: is 21×20, but its picture",
        "b/masks/002.png: truncated PNG",
        "c/masks: no mask in it",
        "d/images/d.png: the picture is missing",
        "3 pictures (3 fluorescence-small), 3 instances, 6 problems",
    ):
        assert printed.count(problem) == 1, problem
    assert len(printed.splitlines()) == 7


def test_check_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pictures = {name: picture for name, picture in example().items() if name[:5] == "small"}
    folder = merged_tree(tmp_path / "mine", pictures)
    assert lessons_data("check", folder) == 0
    *rest, objects, suits = capsys.readouterr().out.splitlines()
    instances = sum(int(labels.max()) for _, labels in pictures.values())
    assert f"{folder}: 8 pictures, {instances} instances, no problems, no notes" in rest
    assert objects.startswith("objects: ") and "--set size=" in suits
    save(folder / "labels" / "small1.png", np.zeros((4, 4), np.uint8))
    (folder / "labels" / "small2.png").unlink()
    save(folder / "labels" / "small3.png", np.zeros((60, 80), np.uint8))
    assert lessons_data("check", folder) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(": ")[0] for line in lines[:3]] == ["problem", "problem", "note"]
    assert sum("small1.png: is 4×4, but its picture" in line for line in lines) == 1
    assert sum("small2.png: has no labels" in line for line in lines) == 1
    assert sum("small3.png: no object in it" in line for line in lines) == 1
    assert "7 pictures" in lines[3] and "2 problems, 1 notes" in lines[3]


def test_check_of_no_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, told in (
        (tmp_path / "absent", "there is no such folder, and no data set of that name; those are"),
        (tmp_path, "has no folder images; expected images/ with pictures"),
    ):
        assert lessons_data("check", name) == 1
        captured = capsys.readouterr()
        assert told in captured.err and captured.out == ""


def test_convert_there_and_back(root: Path, tmp_path: Path) -> None:
    assert (
        lessons_data("convert", "nuclei", tmp_path / "o", "--to", "original", "--root", root) == 0
    )
    assert lessons_data("convert", tmp_path / "o", tmp_path / "m", "--to", "merged") == 0
    trees = [
        Nuclei(path, split="all") for path in (root / "dsb2018", tmp_path / "o", tmp_path / "m")
    ]
    for index in range(len(trees[0])):
        samples = [tree[index] for tree in trees]
        for other in samples[1:]:
            assert other["id"] == samples[0]["id"]
            assert torch.equal(other["image"], samples[0]["image"])
            assert torch.equal(other["instances"], samples[0]["instances"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "o", "root"]


@pytest.mark.parametrize("source", ["nuclei", "labels"])
def test_convert_to_coco_and_csv(root: Path, tmp_path: Path, source: str) -> None:
    given = root / "dsb2018" / "labels" if source == "labels" else source
    assert lessons_data("convert", given, tmp_path / "c.json", "--to", "coco", "--root", root) == 0
    assert lessons_data("convert", given, tmp_path / "c.csv", "--to", "csv", "--root", root) == 0
    coco = COCO(tmp_path / "c.json")
    rows = list(csv.DictReader((tmp_path / "c.csv").read_text().splitlines()))
    assert len(rows) == len(coco.anns) == sum(labels.max() for _, labels in example().values())
    for image in coco.dataset["images"]:
        name = Path(image["file_name"]).stem
        labels = example()[name][1]
        assert labels.shape == (image["height"], image["width"])
        rebuilt = np.zeros_like(labels)
        for number, annotation in enumerate(coco.imgToAnns[image["id"]], start=1):
            rebuilt[coco.annToMask(annotation) > 0] = number
        assert np.array_equal(rebuilt, labels)
        areas = [int(row["area"]) for row in rows if row["picture"] == name]
        assert areas == np.bincount(labels.ravel())[1:].tolist()
    assert len({annotation["id"] for annotation in coco.dataset["annotations"]}) == len(rows)
    assert json.loads((tmp_path / "c.json").read_text())["categories"]


def test_convert_refuses(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = root / "dsb2018" / "labels"
    assert lessons_data("convert", labels, tmp_path / "x", "--to", "merged") == 1
    assert "has labels only" in capsys.readouterr().err
    (tmp_path / "x").mkdir()
    assert lessons_data("convert", root / "dsb2018", tmp_path / "x", "--to", "original") == 1
    assert "exists already" in capsys.readouterr().err
    assert lessons_data("convert", tmp_path / "none", tmp_path / "c.csv", "--to", "csv") == 1
    assert not (tmp_path / "c.csv").exists()
    (labels / "small0.png").unlink()
    assert lessons_data("convert", root / "dsb2018", tmp_path / "y", "--to", "merged") == 1
    assert "small0.png" in capsys.readouterr().err
    assert not (tmp_path / "y").exists()


def test_convert_boxes_all_the_way_round(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """VOC XML, COCO, CSV, CVAT, YOLO and back to the same XML files, byte for byte."""
    cells = tree(tmp_path / "root" / "bccd")
    first = tmp_path / "voc"
    assert (
        lessons_data("convert", "blood-cells", first, "--to", "voc", "--root", tmp_path / "root")
        == 0
    )
    steps = [
        ("coco", "a.json"),
        ("boxes", "a.csv"),
        ("cvat", "a.xml"),
        ("yolo", "yolo"),
        ("voc", "end"),
    ]
    source = first
    for form, name in steps:
        arguments = ["--images", cells / "JPEGImages"] if source.name == "yolo" else []
        assert lessons_data("convert", source, tmp_path / name, "--to", form, *arguments) == 0
        source = tmp_path / name
    assert "12 pictures written" in capsys.readouterr().out
    assert len(list(first.iterdir())) == 12
    for path in first.iterdir():
        back = read_voc_xml(tmp_path / "end" / path.name)
        given = read_voc_xml(path)
        assert (back.file_name, back.size) == (given.file_name, given.size)
        assert [o.label for o in back.objects] == [o.label for o in given.objects]
        assert np.allclose([o.box for o in back.objects], [o.box for o in given.objects], atol=1e-9)
    as_found = read_voc_xml(cells / "Annotations" / "BloodImage_00000.xml", "corners")
    assert read_voc_xml(first / "BloodImage_00000.xml", "corners") == as_found


def test_convert_masks_all_the_way_round(root: Path, tmp_path: Path) -> None:
    """Labels, COCO in three forms, CVAT, panoptic, both contests, and back to the same labels."""
    labels = root / "dsb2018" / "labels"
    source = labels
    steps: list[tuple[object, ...]] = [
        ("coco", "a.json", "--masks", "polygons"),
        ("coco", "b.json", "--masks", "compressed"),
        ("cvat", "c.xml"),
        ("panoptic", "d"),
        ("siim", "e.csv"),
        ("dsb", "f.csv", "--from", "siim", "--images", labels),
        ("labels", "g", "--from", "dsb", "--images", labels),
    ]
    for form, name, *arguments in steps:
        assert lessons_data("convert", source, tmp_path / str(name), "--to", form, *arguments) == 0
        source = tmp_path / str(name)
    for path in labels.iterdir():
        assert torch.equal(read_labels(source / path.name), read_labels(path)), path.name
    for end in ("a.json", "d"):
        assert lessons_data("convert", tmp_path / end, tmp_path / "t.csv", "--to", "csv") == 0
        given = (tmp_path / "t.csv").read_text()
        assert lessons_data("convert", labels, tmp_path / "t.csv", "--to", "csv") == 0
        assert given == (tmp_path / "t.csv").read_text()


def test_convert_says_what_is_lost_and_what_cannot_be(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = root / "dsb2018" / "labels"
    assert lessons_data("convert", labels, tmp_path / "a.csv", "--to", "boxes") == 0
    count = sum(int(labels.max()) for _, labels in example().values())
    assert f"lost, for boxes cannot hold it: masks of {count} objects" in capsys.readouterr().out
    assert lessons_data("convert", tmp_path / "a.csv", tmp_path / "p", "--to", "panoptic") == 1
    error = capsys.readouterr().err
    assert "object 1 (object) has a box only; this form needs masks" in error
    assert not (tmp_path / "p").exists() and len(list(tmp_path.iterdir())) == 2
    two = {
        "images": [{"id": 1, "file_name": "a/x.png", "height": 4, "width": 4}],
        "categories": [{"id": 1, "name": "c"}],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2],
             "segmentation": {"size": [4, 4], "counts": [0, 3, 13]}}
            for k in (1, 2)
        ],
    }  # fmt: skip
    (tmp_path / "two.json").write_text(json.dumps(two))
    assert lessons_data("convert", tmp_path / "two.json", tmp_path / "l", "--to", "labels") == 1
    assert "a/x.png: object 2 (c) overlaps object 1 in 3 pixels" in capsys.readouterr().err
    two["images"] *= 2
    two["images"][1] = {**two["images"][0], "id": 2, "file_name": "b/x.png"}
    (tmp_path / "two.json").write_text(json.dumps(two))
    assert lessons_data("convert", tmp_path / "two.json", tmp_path / "v", "--to", "voc") == 1
    assert "two pictures are called x" in capsys.readouterr().err
    assert lessons_data("convert", tmp_path / "a.csv", tmp_path / "y", "--to", "yolo") == 0
    assert lessons_data("convert", tmp_path / "y", tmp_path / "z", "--to", "voc") == 1
    assert "give the pictures' folder (--images)" in capsys.readouterr().err


def test_the_real_pictures_have_no_problem(
    data_root: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data_root("dsb2018")
    assert lessons_data("check", "nuclei", "--root", folder.parent) == 0
    assert "337 pictures" in (printed := capsys.readouterr().out)
    assert "11700 instances, no problems" in printed
