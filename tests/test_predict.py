"""From picture files to files: all that is written about a picture agrees."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from skimage.measure import label
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.__main__ import main
from lessons_lib.predict import predict_file, predict_image
from lessons_lib.recipes import RECIPES
from lessons_lib.training import Recipe
from lessons_lib.training.state import save_weights

Predict = Callable[..., int]


class Threshold(nn.Module):
    """Foreground is what is brighter than its one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.5))

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"score": image - self.threshold}


class Bright(Recipe):
    """Connected bright regions: what they are is known without a training."""

    name = "bright"
    summary = "bright regions"
    score = "none"
    presets = {}  # noqa: RUF012

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return Threshold()

    def prepare(self, image: Tensor, options: Mapping[str, Any]) -> Tensor:
        assert image.dtype == torch.float32 and image.shape[0] == 3
        assert float(image.min()) >= 0 and float(image.max()) <= 1
        return image.amax(0, keepdim=True)

    def predict(
        self, outputs: dict[str, Tensor], options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        found = [label(score[0].numpy() > 0, connectivity=1) for score in outputs["score"]]
        return [{"instances": torch.from_numpy(labels.astype(np.int64))} for labels in found]

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        raise NotImplementedError

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        raise NotImplementedError

    def loss(self, outputs: Any, batch: Any, options: Mapping[str, Any]) -> dict[str, Tensor]:
        raise NotImplementedError

    def measure(self, prediction: Any, sample: Any, options: Any) -> dict[str, float]:
        raise NotImplementedError


def scene() -> np.ndarray:
    """Labels of a picture of odd size: some touch the border, one has a hole, one is a pixel."""
    labels = np.zeros((37, 53), np.int64)
    labels[0:5, 0:9] = 1
    labels[3:20, 30:41] = 2
    labels[8:12, 34:37] = 0
    labels[10, 50:53] = 3
    labels[15:30, 2:8] = 4
    labels[36, 52] = 5
    return labels


def gray(labels: np.ndarray, dtype: type = np.uint8) -> np.ndarray:
    bright = np.iinfo(dtype).max // 5 * 4
    return np.where(labels > 0, bright - labels, bright // 8 + labels).astype(dtype)


def colour(labels: np.ndarray) -> np.ndarray:
    """BGR, as OpenCV writes it: each instance bright in another channel."""
    picture = np.full((*labels.shape, 3), 30, np.uint8)
    y, x = labels.nonzero()
    picture[y, x, labels[y, x] % 3] = 220
    return picture


@pytest.fixture
def predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predict:
    """predict(PATHS…) is `lessons predict bright PATHS… --out OUT`; its exit code."""
    monkeypatch.setitem(RECIPES, "bright", Bright())
    weights = tmp_path / "bright.safetensors"
    save_weights(Threshold(), weights, {"recipe": "bright", "options": {}})

    def run(*paths: Path, recipe: str = "bright") -> int:
        chosen = ["--weights", str(weights), "--out", str(tmp_path / "out")]
        return main(["predict", recipe, *map(str, paths), *chosen])

    return run


def check_files(stem: Path, labels: np.ndarray, picture: np.ndarray, name: str) -> None:
    """All four files against the labels; ``picture`` is the RGB that was put in, uint8."""
    with Image.open(f"{stem}.labels.png") as stored:
        assert np.array_equal(np.asarray(stored), labels)

    with Path(f"{stem}.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["id"]) for row in rows] == list(range(1, labels.max() + 1))
    coco = COCO(f"{stem}.coco.json")
    (image,) = coco.dataset["images"]
    assert (image["file_name"], image["height"], image["width"]) == (name, *labels.shape)
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
    assert len(annotations) == len(coco.dataset["annotations"]) == len(rows)
    for number, (row, annotation) in enumerate(zip(rows, annotations, strict=True), start=1):
        y, x = (labels == number).nonzero()
        assert np.array_equal(coco.annToMask(annotation), labels == number)
        assert int(row["area"]) == annotation["area"] == len(x)
        assert float(row["centroid_x"]) == pytest.approx(x.mean())
        assert float(row["centroid_y"]) == pytest.approx(y.mean())
        box = [int(row[column]) for column in ("x1", "y1", "x2", "y2")]
        assert box == [x.min(), y.min(), x.max() + 1, y.max() + 1]
        assert annotation["bbox"] == [box[0], box[1], box[2] - box[0], box[3] - box[1]]
        assert coco.loadCats(annotation["category_id"])[0]["name"] == "bright"

    with Image.open(f"{stem}.overlay.png") as stored:
        assert stored.mode == "RGB"
        painted = (np.asarray(stored) != picture).any(2)
    assert not (painted & (labels == 0)).any(), "the overlay paints beside the instances"
    assert set(labels[painted]) >= {
        k for k in range(1, labels.max() + 1) if (labels == k).sum() > 1
    }


KINDS = ["gray.png", "gray.jpg", "gray16.png", "gray16.tif"]
KINDS += ["colour.png", "colour.tiff", "colour with alpha.png"]


@pytest.mark.parametrize("kind", KINDS)
def test_all_files_agree(
    kind: str, predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = scene()
    if "jpg" in kind:  # its blocks blur one pixel
        labels[36, 52] = 0
    pixels = gray(labels, np.uint16 if "16" in kind else np.uint8)
    if "colour" in kind:
        pixels = colour(labels)
    if "alpha" in kind:
        pixels = np.dstack([pixels, np.full(labels.shape, 7, np.uint8)])
    path = tmp_path / kind
    assert cv2.imwrite(str(path), pixels)
    assert predict(path) == 0
    assert capsys.readouterr().out == f"{path}: {labels.max()} instances\n"
    stem = tmp_path / "out" / path.stem
    assert sorted(file.name.removeprefix(path.stem) for file in stem.parent.iterdir()) == [
        ".coco.json",
        ".csv",
        ".labels.png",
        ".overlay.png",
    ]
    read = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)  # a JPEG's pixels are not those put in
    shown = np.round(read / np.iinfo(read.dtype).max * 255).astype(np.uint8)
    rgb = shown[:, :, 2::-1] if shown.ndim == 3 else np.dstack([shown] * 3)
    check_files(stem, labels, rgb, kind)


def test_more_instances_than_eight_bits_hold(predict: Predict, tmp_path: Path) -> None:
    labels = np.zeros((64, 64), np.int64)
    labels[::3, ::3] = np.arange(1, 22 * 22 + 1).reshape(22, 22)
    pixels = np.where(labels > 0, 255, 0).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "many.png"), pixels)
    assert predict(tmp_path / "many.png") == 0
    check_files(tmp_path / "out" / "many", labels, np.dstack([pixels] * 3), "many.png")


def test_nothing_found(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dark = np.zeros((9, 12), np.uint8)
    cv2.imwrite(str(tmp_path / "dark.png"), dark)
    assert predict(tmp_path / "dark.png") == 0
    assert "0 instances" in capsys.readouterr().out
    out = tmp_path / "out"
    assert json.loads((out / "dark.coco.json").read_text("utf-8"))["annotations"] == []
    assert (out / "dark.csv").read_text("utf-8").split() == [
        "id,area,centroid_x,centroid_y,x1,y1,x2,y2"
    ]
    with Image.open(out / "dark.labels.png") as stored:
        assert np.array_equal(np.asarray(stored), dark)


def test_several_pictures_and_a_second_time(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / f"{name}.png"), gray(scene()))
    for _ in range(2):  # old results are replaced
        assert predict(tmp_path / "a.png", tmp_path / "b.png") == 0
        assert capsys.readouterr().out.count(": 5 instances") == 2
    assert len(list((tmp_path / "out").iterdir())) == 8


def test_pictures_of_the_same_name_are_refused(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cells.png", "cells.tif", "other.png"):
        cv2.imwrite(str(tmp_path / name), gray(scene()))
    assert predict(*sorted(tmp_path.glob("*.[pt]*"))) == 1
    complaint = capsys.readouterr().err
    assert "cells.png" in complaint and "cells.tif" in complaint and "other" not in complaint
    assert {path.name.split(".")[0] for path in (tmp_path / "out").iterdir()} == {"other"}


@pytest.mark.parametrize("broken", ["missing", "truncated", "text"])
def test_a_broken_file_is_named(
    broken: str, predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"{broken}.png"
    if broken == "truncated":
        cv2.imwrite(str(path), gray(scene()))
        path.write_bytes(path.read_bytes()[:-30])
    elif broken == "text":
        path.write_text("no picture", "utf-8")
    assert predict(path) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"lessons: {path}: ") and "Traceback" not in complaint
    assert not (tmp_path / "out").exists()


def test_out_is_a_file(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), gray(scene()))
    (tmp_path / "out").write_text("in the way", "utf-8")
    assert predict(tmp_path / "a.png") == 1
    assert str(tmp_path / "out") in capsys.readouterr().err


def test_from_python(tmp_path: Path) -> None:
    labels = scene()
    image = torch.from_numpy(gray(labels) / 255).float().expand(3, -1, -1)
    found = predict_image(Bright(), Threshold(), {}, image)["instances"]
    assert found.dtype == torch.int64 and np.array_equal(found.numpy(), labels)
    cv2.imwrite(str(tmp_path / "a.png"), gray(labels))
    out = tmp_path / "new" / "folder"
    assert predict_file(Bright(), Threshold(), {}, tmp_path / "a.png", out) == "5 instances"
    assert (out / "a.csv").is_file()


class Corner(Bright):
    """One box of each class in the picture's corners, found at half the picture's size."""

    classes = ("background", "one", "two")

    def prepare(self, image: Tensor, options: Mapping[str, Any]) -> Tensor:
        return image[:, ::2, ::2]

    def infer(self, model: nn.Module, batch: Any, options: Any) -> list[dict[str, Tensor]]:
        height, width = batch["image"].shape[-2:]
        boxes = [[0, 0, 6, 5], [width - 4, height - 3, width, height], [3, 3, 4, 4]]
        return [
            {
                "boxes": torch.tensor(boxes, dtype=torch.float32),
                "labels": torch.tensor([2, 1, 1]),
                "scores": torch.tensor([0.9, 0.8, 0.1]),
            }
        ]


def test_boxes_in_the_pixels_of_the_file(tmp_path: Path) -> None:
    pixels = np.full((40, 60), 100, np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    told = predict_file(Corner(), Threshold(), {}, tmp_path / "a.png", tmp_path)
    assert told == "3 boxes, 2 with a score of 0.5 or more"
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["two", "one", "one"]
    assert [float(rows[0][k]) for k in ("x1", "y1", "x2", "y2")] == [0, 0, 12, 10]
    coco = COCO(str(tmp_path / "a.coco.json"))
    assert [a["bbox"] for a in coco.dataset["annotations"]][1] == [52, 34, 8, 6]
    assert {c["id"]: c["name"] for c in coco.dataset["categories"]} == {1: "one", 2: "two"}
    with Image.open(tmp_path / "a.overlay.png") as stored:
        painted = (np.asarray(stored) != 100).any(2)
    assert painted[0, :12].all() and painted[:10, 11].all() and not painted[2:8, 2:10].any()
    assert painted[34:, 52].all() and not painted[6:8, 6:8].any()
    assert not (tmp_path / "a.labels.png").exists()


class Drawn(Corner):
    """The same boxes, and for masks two that overlap and one of a low score; at half the picture's size."""

    def infer(self, model: nn.Module, batch: Any, options: Any) -> list[dict[str, Tensor]]:
        (found,) = super().infer(model, batch, options)
        masks = torch.zeros(3, *batch["image"].shape[-2:], dtype=torch.bool)
        masks[0, :5, :6] = True
        masks[1, 3:8, 2:9] = True
        masks[2, 3, 3] = masks[2, 15, 20] = True
        # a label map of its own must not matter
        return [{**found, "masks": masks, "instances": torch.zeros_like(masks[0]).long()}]


def test_masks_in_the_pixels_of_the_file(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((40, 60), 100, np.uint8))
    told = predict_file(Drawn(), Threshold(), {}, tmp_path / "a.png", tmp_path)
    assert told == "3 masks, 2 with a score of 0.5 or more"
    expected = np.zeros((3, 40, 60), bool)
    expected[0, :10, :12], expected[1, 6:16, 4:18] = True, True
    expected[2, 6:8, 6:8], expected[2, 30:32, 40:42] = True, True
    with Image.open(tmp_path / "a.labels.png") as stored:
        shown = np.asarray(stored)
    assert np.array_equal(shown, np.where(expected[0], 1, np.where(expected[1], 2, 0)))
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["label"]) for row in rows] == [("1", "two"), ("2", "one"), ("3", "one")]
    coco = COCO(str(tmp_path / "a.coco.json"))
    annotations = coco.dataset["annotations"]
    for mask, row, annotation in zip(expected, rows, annotations, strict=True):
        assert np.array_equal(coco.annToMask(annotation), mask)
        assert int(row["area"]) == annotation["area"] == mask.sum()
        y, x = mask.nonzero()
        assert float(row["centroid_x"]) == pytest.approx(x.mean())
        assert float(row["centroid_y"]) == pytest.approx(y.mean())
    assert [a["bbox"] for a in annotations] == [[0, 0, 12, 10], [52, 34, 8, 6], [6, 6, 2, 2]]
    assert [round(a["score"], 4) for a in annotations] == [0.9, 0.8, 0.1]
    with Image.open(tmp_path / "a.overlay.png") as stored:
        painted = (np.asarray(stored) != 100).any(2)
    assert not painted[shown == 0].any() and painted[shown == 1].any() and painted[shown == 2].any()


@pytest.mark.parametrize("name", ["shapes-mask-rcnn", "nuclei-mask-rcnn"])
def test_mask_rcnn_writes_masks(name: str, tmp_path: Path) -> None:
    """With fresh weights, from a file of any size to files."""
    recipe = RECIPES[name]
    options = recipe.preset("quick").options
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = recipe.model(options).eval()
    rng = np.random.default_rng(0)
    cv2.imwrite(str(tmp_path / "a.png"), rng.integers(0, 255, (50, 70, 3)).astype(np.uint8))
    told = predict_file(recipe, model, options, tmp_path / "a.png", tmp_path)
    count = int(told.split()[0])
    assert count > 0 and told.startswith(f"{count} masks, ")
    coco = COCO(str(tmp_path / "a.coco.json"))
    annotations = coco.dataset["annotations"]
    assert len(annotations) == count and {a["category_id"] for a in annotations} <= set(
        range(1, len(recipe.classes))  # type: ignore[attr-defined]
    )
    assert all(coco.annToMask(a).sum() == a["area"] for a in annotations)
    assert len((tmp_path / "a.csv").read_text("utf-8").split()) == count + 1
    assert (tmp_path / "a.labels.png").exists() and (tmp_path / "a.overlay.png").exists()


class Halves(Bright):
    """The left half is of one class."""

    classes = ("background", "left")

    def predict(self, outputs: dict[str, Tensor], options: Any) -> list[dict[str, Tensor]]:
        semantic = torch.zeros(outputs["score"].shape[-2:], dtype=torch.int64)
        semantic[:, : semantic.shape[1] // 2] = 1
        return [{"semantic": semantic}]


def test_a_class_for_every_pixel(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((10, 8), 100, np.uint8))
    assert predict_file(Halves(), Threshold(), {}, tmp_path / "a.png", tmp_path) == "2 classes"
    with Image.open(tmp_path / "a.labels.png") as stored:
        assert np.asarray(stored)[:, 3:5].tolist() == [[1, 0]] * 10
    lines = (tmp_path / "a.csv").read_text("utf-8").split()
    assert lines == ["id,label,area", "0,background,40", "1,left,40"]
