"""Folders of a reader's own pictures: what is read, how it is split, crops, and what the check finds."""

import shutil
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from lessons_lib.data import (
    DataError,
    DataWarning,
    InstanceCrops,
    InstanceFolder,
    Nuclei,
    NucleiCrops,
    read_image,
    renumber,
)
from lessons_lib.data.folder import split_pictures
from lessons_lib.data.folder_check import FolderReport, check_folder, describe_folder
from lessons_lib.data.folder_files import FolderPicture
from lessons_lib.data.object_sizes import (
    object_sizes,
    suggest_crop,
    suggest_margin,
    suggest_unit,
)
from tests.data.folder_trees import change_coco, coco_tree, empty, example, label_tree
from tests.data.nuclei_trees import blobs, merged_tree, save
from tests.data.nuclei_trees import example as nuclei_example

# --- reading ------------------------------------------------------------------------------------


@pytest.mark.parametrize("tree", [label_tree, coco_tree])
def test_samples(tree: Any, tmp_path: Path) -> None:
    pictures = {**example(), "nothing": empty()}
    folder = InstanceFolder(tree(tmp_path, pictures))
    assert folder.ids == sorted(pictures) and len(folder) == 7
    assert folder.sizes == [pictures[name][1].shape for name in folder.ids]
    for index, name in enumerate(folder.ids):
        sample = folder[index]
        assert sample["id"] == name
        assert torch.equal(sample["image"], read_image(tmp_path / "images" / f"{name}.png"))
        assert sample["instances"].dtype == torch.int64
        assert np.array_equal(sample["instances"].numpy(), renumber(pictures[name][1]))
    assert "7 pictures" in repr(folder)


@pytest.mark.parametrize(
    ("suffix", "dtype"),
    [
        (".png", np.uint8),
        (".PNG", np.uint16),
        *(
            (suffix, t)
            for t in (np.uint8, np.uint16, np.int32, np.uint32)
            for suffix in (".tif", ".TIFF")
        ),
    ],
)
def test_label_files(suffix: str, dtype: type, tmp_path: Path) -> None:
    """Ids of any size and with gaps, in every type that a file can have."""
    pixels, labels = blobs(0)
    ids = np.array([0, 3, 1, 200, 7, 90], np.int64)
    if np.dtype(dtype).itemsize == 4:
        ids[5] = 2_000_000_000
    stored = ids[labels].astype(dtype)
    save(tmp_path / "images" / "a.png", pixels)
    (tmp_path / "labels").mkdir()
    path = tmp_path / "labels" / f"a{suffix}"
    if suffix.lower() == ".png":
        Image.fromarray(stored).save(path)
    else:
        tifffile.imwrite(path, stored)
    found = InstanceFolder(tmp_path)[0]["instances"].numpy()
    assert np.array_equal(found, np.searchsorted(np.unique(stored), stored))


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".tif", ".PNG"])
def test_picture_files(suffix: str, tmp_path: Path) -> None:
    label_tree(tmp_path, {"a": blobs(0)})
    with Image.open(tmp_path / "images" / "a.png") as picture:
        picture.load()
    (tmp_path / "images" / "a.png").unlink()
    picture.save(tmp_path / "images" / f"a{suffix}")
    assert InstanceFolder(tmp_path)[0]["image"].shape == (3, 60, 80)


def test_hidden_files_are_none(tmp_path: Path) -> None:
    label_tree(tmp_path, example())
    for name in (".DS_Store", "._plate0.png"):
        (tmp_path / "images" / name).write_bytes(b"x")
        (tmp_path / "labels" / name).write_bytes(b"x")
    assert len(InstanceFolder(tmp_path)) == 6 and not check_folder(tmp_path, False).problems


def test_polygons_crowds_and_overlaps(tmp_path: Path) -> None:
    coco_tree(tmp_path, {"a": empty()}, "mine.json")
    (tmp_path / "mine.json").rename(tmp_path / "annotations.json")

    def change(content: dict[str, Any]) -> None:
        squares = [(10, 10, 20, 0), (15, 10, 25, 0), (40, 10, 50, 1)]
        content["annotations"] = [
            {
                "id": n,
                "image_id": 1,
                "category_id": 1,
                "bbox": [x1, y1, 10, 10],
                "iscrowd": crowd,
                "segmentation": [[x1, y1, x2, y1, x2, 20, x1, 20]],
            }
            for n, (x1, y1, x2, crowd) in enumerate(squares, 1)
        ]
        content["categories"].append({"id": 2, "name": "other"})

    change_coco(tmp_path, change)
    instances = InstanceFolder(tmp_path)[0]["instances"].numpy()
    expected = np.zeros((60, 80), int)
    expected[10:20, 10:20] = 1
    expected[10:20, 15:25] = 2  # the later one has the pixels
    assert np.array_equal(instances, expected)
    report = check_folder(tmp_path, progress=False)
    assert not report.problems and report.instances == 2
    notes = "\n".join(report.notes)
    assert "a.png: 1 objects are crowds" in notes and "its 2 classes are taken as one" in notes
    assert "masks overlap in 50 pixels" in notes


# --- the split ----------------------------------------------------------------------------------


def pictures_of(names: list[str]) -> list[FolderPicture]:
    return [FolderPicture(name, Path(name), Path(name)) for name in names]


def test_split_by_name() -> None:
    names = [f"picture-{n}" for n in range(500)]
    train, val = ([p.id for p in half] for half in split_pictures(pictures_of(names)))
    assert train + val != names and sorted(train + val) == sorted(names)
    assert val == [name for name in names if zlib.crc32(name.encode()) % 5 == 4]
    assert 70 < len(val) < 130
    # a picture stays in its half, whatever others are there
    fewer = [p.id for p in split_pictures(pictures_of(names[100:]))[1]]
    assert fewer == [name for name in val if name in names[100:]]


@pytest.mark.parametrize("count", range(2, 9))
def test_no_half_is_empty(count: int) -> None:
    for start in range(40):
        names = [f"{start}-{n}" for n in range(count)]
        train, val = split_pictures(pictures_of(names))
        assert train and val and len(train) + len(val) == count
    held_out = [n for n in map(str, range(200)) if zlib.crc32(n.encode()) % 5 == 4][:count]
    train, val = split_pictures(pictures_of(held_out))
    assert len(train) == 1 and len(val) == count - 1


def test_one_picture_is_in_both_halves_and_says_so(tmp_path: Path) -> None:
    label_tree(tmp_path, {"a": blobs(0)})
    for split in ("train", "val"):
        with pytest.warns(DataWarning, match="one picture, which is trained on and measured on"):
            assert InstanceFolder(tmp_path, split).ids == ["a"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert InstanceFolder(tmp_path).ids == ["a"]


def test_folders_train_and_val(tmp_path: Path) -> None:
    label_tree(tmp_path / "train", {"a": blobs(0), "b": blobs(1)})
    coco_tree(tmp_path / "val", {"b": blobs(2)})
    assert InstanceFolder(tmp_path, "train").ids == ["a", "b"]
    assert InstanceFolder(tmp_path, "val").ids == ["b"]
    assert InstanceFolder(tmp_path).ids == ["a", "b", "b"]
    report = check_folder(tmp_path, progress=False)
    assert report.halves == (2, 1) and any("in train and in val" in note for note in report.notes)
    shutil.rmtree(tmp_path / "val")
    with pytest.raises(DataError, match="has train/images but no val/images"):
        InstanceFolder(tmp_path)


# --- crops --------------------------------------------------------------------------------------


def test_crops_of_a_folder(tmp_path: Path) -> None:
    folder = InstanceFolder(label_tree(tmp_path, {**example(), "nothing": empty((20, 300))}))
    crops = InstanceCrops(folder, size=48, length=60, seed=3)
    seen = set()
    for index in range(len(crops)):
        crop = crops[index]
        assert crop["image"].shape == (3, 48, 48) and crop["image"].dtype == torch.float32
        assert 0 <= float(crop["image"].min()) <= float(crop["image"].max()) <= 1
        ids, areas = np.unique(crop["instances"].numpy(), return_counts=True)
        assert ids.tolist() == list(range(len(ids))) or ids.tolist() == list(range(1, len(ids) + 1))
        assert (areas[ids > 0] >= 8).all()
        name, _, number = crop["id"].partition("#")
        assert int(number) == index
        seen.add(name)
    assert seen == set(folder.ids)
    again = InstanceCrops(folder, size=48, length=60, seed=3)[7]
    assert torch.equal(again["image"], crops[7]["image"])


def test_weights_of_pictures(tmp_path: Path) -> None:
    folder = InstanceFolder(label_tree(tmp_path, {"a": blobs(0), "b": blobs(1)}))
    crops = InstanceCrops(folder, size=16, length=20, weights=[0, 2])
    assert {crops[k]["id"].partition("#")[0] for k in range(20)} == {"b"}
    for weights in ([1], [0, 0], [-1, 2], [float("nan"), 1]):
        with pytest.raises(ValueError, match="weights is"):
            InstanceCrops(folder, weights=weights)


# What NucleiCrops gave before InstanceCrops came to be: stored runs were trained on it.
NUCLEI_CROPS = {
    "plain": ({"size": 48, "seed": 5}, (2641930808, 0.282417, 14.49901)),
    "kinds alike": ({"size": 32, "seed": 1, "balance": 1.0}, (1282794009, 0.335832, 17.16399)),
    "unchanged": (
        {"size": 40, "seed": 2, "augment": False, "normalize": False},
        (50204322, 0.308930, 15.54179),
    ),
    "larger": (
        {"size": 90, "seed": 3, "scale": (0.5, 2.0), "min_area": 20},
        (4053108449, 0.320021, 16.33078),
    ),
}


@pytest.mark.parametrize("name", NUCLEI_CROPS)
def test_nuclei_crops_are_what_they_were(name: str, tmp_path: Path) -> None:
    arguments, expected = NUCLEI_CROPS[name]
    nuclei = Nuclei(merged_tree(tmp_path, nuclei_example()), split="all")
    checksum, *brightness = fingerprint(NucleiCrops(nuclei, length=30, **arguments))
    assert checksum == expected[0] and brightness == pytest.approx(expected[1:], rel=1e-5)


def fingerprint(crops: NucleiCrops) -> tuple[int, float, float]:
    """Checksum of labels and names, mean brightness, and one that knows places."""
    samples = [crops[k] for k in range(len(crops))]
    checksum = 0
    for sample in samples:
        checksum = zlib.crc32(sample["instances"].numpy().astype("<i8").tobytes(), checksum)
        checksum = zlib.crc32(f"{sample['id']} {sample['kind']}".encode(), checksum)
    images = [sample["image"].double() for sample in samples]
    brightness = np.mean([float(image.mean()) for image in images])
    weighted = np.mean([float((image[0] * ramp(image)).mean()) for image in images])
    return checksum, float(brightness), float(weighted)


def ramp(image: torch.Tensor) -> torch.Tensor:
    """Different at every place, so that a crop that is shifted or turned has another sum."""
    size = image.shape[-1]
    return torch.arange(size * size, dtype=torch.float64).view(size, size) % 97


# --- what is refused ----------------------------------------------------------------------------


def test_nothing_of_the_kind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no such folder"):
        InstanceFolder(tmp_path / "absent")
    with pytest.raises(FileNotFoundError, match="has no folder images; expected images/ with"):
        InstanceFolder(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match="has no labels; expected images/ with"):
        InstanceFolder(tmp_path)
    (tmp_path / "labels").mkdir()
    with pytest.raises(DataError, match="no picture in it"):
        InstanceFolder(tmp_path)
    with pytest.raises(ValueError, match="split is 'test'"):
        InstanceFolder(tmp_path, "test")


def test_which_labels_are_meant(tmp_path: Path) -> None:
    coco_tree(tmp_path, {"a": blobs(0)}, "one.json")
    assert len(InstanceFolder(tmp_path)) == 1
    (tmp_path / "two.json").write_text("{}")
    with pytest.raises(
        DataError, match=r"has one\.json, two\.json; call the COCO file annotations"
    ):
        InstanceFolder(tmp_path)
    (tmp_path / "one.json").rename(tmp_path / "annotations.json")
    assert len(InstanceFolder(tmp_path)) == 1
    (tmp_path / "labels").mkdir()
    with pytest.raises(DataError, match=r"has labels/ and annotations\.json; keep one"):
        InstanceFolder(tmp_path)


def test_other_json_files_beside_labels_are_a_note(tmp_path: Path) -> None:
    label_tree(tmp_path, {"a": blobs(0), "b": blobs(1)})
    for name in ("settings.json", "tool.json"):
        (tmp_path / name).write_text("{}")
    assert len(InstanceFolder(tmp_path)) == 2
    report = check_folder(tmp_path, progress=False)
    assert report.problems == []
    assert report.notes == [
        f"{tmp_path / name}: passed over, since there is labels/"
        for name in ("settings.json", "tool.json")
    ]


def test_coco_names_written_on_windows(tmp_path: Path) -> None:
    coco_tree(tmp_path, {"a": blobs(0), "b": blobs(1)})

    def change(content: dict[str, Any]) -> None:
        content["images"][0]["file_name"] = "images\\a.png"
        content["images"][1]["file_name"] = "C:\\mine/images\\b.png"

    change_coco(tmp_path, change)
    assert check_folder(tmp_path, progress=False).problems == []
    assert len(InstanceFolder(tmp_path)) == 2


def test_one_problem_is_not_plural(tmp_path: Path) -> None:
    label_tree(tmp_path, example())
    (tmp_path / "labels" / "plate1.png").unlink()
    first = describe_folder(tmp_path, check_folder(tmp_path, progress=False))[0]
    assert ", 1 problem, " in first


def test_the_first_problem_is_an_error(tmp_path: Path) -> None:
    label_tree(tmp_path, example())
    for name in ("plate1", "plate2"):
        (tmp_path / "labels" / f"{name}.png").unlink()
    with pytest.raises(DataError) as error:
        InstanceFolder(tmp_path)
    assert f"{tmp_path / 'images' / 'plate1.png'}: has no labels" in str(error.value)
    assert "(and 1 more); `lessons data check" in str(error.value)


# --- the check ----------------------------------------------------------------------------------


def spoil(folder: Path) -> dict[str, str]:
    """Everything that can be wrong with label pictures, and the line that tells it."""
    images, labels = folder / "images", folder / "labels"
    pictures = {f"p{n:02}": blobs(n) for n in range(14)}
    label_tree(folder, pictures)
    lines = {}

    def problem(path: Path, text: str) -> None:
        lines[f"{path}: {text}"] = text

    (images / "p00.png").write_bytes((images / "p00.png").read_bytes()[:-40])
    problem(images / "p00.png", "truncated PNG")
    (images / "p01.png").write_text("no picture")
    problem(images / "p01.png", "neither PNG, JPEG nor TIFF")
    (labels / "p02.png").unlink()
    problem(images / "p02.png", "has no labels; expected ")
    (images / "p03.png").unlink()
    problem(labels / "p03.png", "has no picture of that name")
    save(labels / "p04.png", np.zeros((60, 81), np.uint8))
    problem(labels / "p04.png", "is 81×60, but its picture")
    (labels / "p05.png").unlink()
    tifffile.imwrite(labels / "p05.tif", pictures["p05"][1].astype(np.float32))
    problem(labels / "p05.tif", "labels are float32; expected integers")
    save(labels / "p06.png", np.zeros((60, 80, 3), np.uint8))
    problem(labels / "p06.png", "has the colour mode RGB, 3 channels; a label picture has one")
    (labels / "p07.png").unlink()
    tifffile.imwrite(labels / "p07.tif", pictures["p07"][1] - 1)
    problem(labels / "p07.tif", "has the id -1")
    (images / "p08.tif").write_bytes(b"")
    problem(images / "p08.tif", "has the same name as p08.png")
    (images / "p09.png").unlink()
    tifffile.imwrite(images / "p09.tif", pictures["p09"][0].astype(np.float32))
    problem(images / "p09.tif", "pixels are float32; expected 8 or 16 bits")
    (images / "p10.png").unlink()
    stack = np.stack([pictures["p10"][0]] * 5)
    tifffile.imwrite(images / "p10.tif", stack, photometric="minisblack")
    problem(images / "p10.tif", "is a stack of 5 pages")
    (labels / "p11.png").unlink()
    Image.fromarray(pictures["p11"][1].astype(np.uint8)).save(labels / "p11.jpg")
    problem(labels / "p11.jpg", "JPEG changes the ids; expected .png, .tif, .tiff")
    problem(images / "p11.png", "has no labels")
    return lines


def test_check_lists_every_problem_and_goes_on(tmp_path: Path) -> None:
    expected = spoil(tmp_path)
    report = check_folder(tmp_path, progress=False)
    for start in expected:
        assert sum(line.startswith(start) for line in report.problems) == 1, start
    assert len(report.problems) == len(expected) == 13
    # p12 and p13 are well, p08 too; of 14 pictures p02, p03 and p11 are no pairs
    assert report.pictures == 11 and len(report.counts) == 3 and report.instances > 0
    assert report.kinds == {"8 bits gray": 7}


def test_check_lists_every_problem_of_a_coco_file(tmp_path: Path) -> None:
    coco_tree(tmp_path, {name: blobs(n) for n, name in enumerate("abcdef")})
    (tmp_path / "images" / "b.png").unlink()
    save(tmp_path / "images" / "new.png", blobs(9)[0])

    def change(content: dict[str, Any]) -> None:
        content["images"][2]["height"] = 61  # c
        content["images"].append({**content["images"][3], "id": 99})  # d twice
        for annotation in content["annotations"]:
            if annotation["image_id"] == 5:  # e has boxes only
                del annotation["segmentation"]
            if annotation["image_id"] == 6:  # f has run lengths that do not add up
                annotation["segmentation"]["counts"][0] += 1

    change_coco(tmp_path, change)
    report = check_folder(tmp_path, progress=False)
    path = tmp_path / "annotations.json"
    for start in (
        f"{path}: names images/b.png, which is not in",
        f"{path}: is 80×61, but its picture {tmp_path / 'images' / 'c.png'} is 80×60",
        f"{path}: names d.png more than once",
        f"{path}: 5 of the 5 objects of e.png have a box only",
        f"{path}: images/f.png: object 1",
        f"{tmp_path / 'images' / 'new.png'}: is not named in",
    ):
        assert sum(line.startswith(start) for line in report.problems) == 1, start
    assert len(report.problems) == 6 and len(report.counts) == 2


@pytest.mark.parametrize("text", ["", "[]", "{", '{"images": 1}'])
def test_a_broken_coco_file_is_named(text: str, tmp_path: Path) -> None:
    coco_tree(tmp_path, {"a": blobs(0)})
    (tmp_path / "annotations.json").write_text(text)
    for read in (InstanceFolder, check_folder):
        with pytest.raises(DataError, match=r"annotations\.json: "):
            read(tmp_path)


def test_notes_are_no_problems(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    dark = blobs(0)[0]
    label_tree(tmp_path, {"gray": blobs(0), "empty": empty(), "same": (dark * 0 + 7, blobs(3)[1])})
    save(images / "deep.png", dark.astype(np.uint16) * 100)
    pieces = np.zeros((60, 80), np.uint8)
    pieces[5:9, 5:9] = pieces[20:30, 20:30] = 4
    pieces[40:50, 40:50] = 200
    pieces[0, 79] = 9
    save(labels / "deep.png", pieces)
    save(images / "mask.png", dark)
    save(labels / "mask.png", ((pieces > 0) * 255).astype(np.uint8))
    (images / "notes.txt").write_text("x")
    (images / "old").mkdir()
    report = check_folder(tmp_path, progress=False)
    assert report.problems == []
    for start in (
        f"{images / 'notes.txt'}: no picture that is read here",
        f"{images / 'old'}: a folder, passed over",
        f"{labels / 'empty.png'}: no object in it",
        f"{images / 'same.png'}: all pixels are 7",
        f"{labels / 'deep.png'}: in several pieces: instance 4",
        f"{labels / 'deep.png'}: fewer than 10 pixels: instance 9",
        f"{labels / 'mask.png'}: one id, 255, in 4 pieces",
        f"{tmp_path}: pictures differ: 1 of 16 bits gray, 4 of 8 bits gray",
    ):
        assert sum(line.startswith(start) for line in report.notes) == 1, start
    assert len(report.notes) == 8


def test_a_folder_without_objects_is_a_problem(tmp_path: Path) -> None:
    label_tree(tmp_path, {"a": empty(), "b": empty()})
    report = check_folder(tmp_path, progress=False)
    assert report.problems == [f"{tmp_path}: no object in any picture; there is nothing to learn"]
    assert len(describe_folder(tmp_path, report)) == 4


def test_a_clean_folder_and_its_summary(tmp_path: Path) -> None:
    pictures = {name: (blobs(0)[0], np.zeros((60, 80), np.int32)) for name in "abc"}
    for name, (_, labels) in pictures.items():
        labels[10:22, 10:19] = 1  # 9 x 12, diagonal 15
        if name == "a":
            labels[30:34, 30:34] = 2
    report = check_folder(label_tree(tmp_path, pictures), progress=False)
    assert (report.problems, report.notes, report.instances) == ([], [], 4)
    assert report.sizes.longest == 15.0
    assert report.sizes.median == pytest.approx(np.sqrt(4 * 108 / np.pi))
    text = "\n".join(describe_folder(tmp_path, report))
    for part in (
        "3 pictures, 4 instances, no problems, no notes",
        "80×60 (3)",
        "8 bits gray (3)",
        "1 to 2 in a picture; diameter 12 px",
        "--set size=64",
        "--set unit=16",
    ):
        assert part in text, part
    assert isinstance(report, FolderReport)


def test_suggestions_follow_the_objects() -> None:
    y, x = np.mgrid[:200, :200]
    for radius in (4, 11, 40, 80):
        disc = ((y - 100) ** 2 + (x - 100) ** 2 <= radius**2).astype(np.uint8)
        sizes = object_sizes([disc])
        assert sizes.median == pytest.approx(2 * radius, rel=0.08)
        assert suggest_unit(sizes) >= 1.4 * radius / 0.7 or radius == 4
        assert suggest_unit(sizes) % 8 == 0 and suggest_crop(sizes) % 32 == 0
        assert 64 <= suggest_crop(sizes) <= 512 and suggest_crop(sizes) >= 4 * radius
        assert suggest_margin(sizes) == pytest.approx(0.75 * radius, rel=0.1)
    nothing = object_sizes([np.zeros((5, 5), int)])
    assert (nothing.median, nothing.longest, suggest_unit(nothing)) == (0.0, 0.0, 16.0)
