"""Average precision against pycocotools, on random and on awkward input."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lessons_lib.data import DataError
from lessons_lib.detection.average_precision import (
    average_precision,
    average_precision_by_class,
    coco_form,
    precision_recall,
)

# pycocotools' own arrays and NumPy 2
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NAMES = (
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl",
)  # fmt: skip


def reference(truth: dict, found: list, kind: str = "boxes") -> COCOeval:
    """pycocotools' evaluation; it wants at least one detection and writes into what it is given."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        if found:
            found = copy.deepcopy(found)
            if kind == "masks":
                for row in found:
                    row.pop("bbox", None)
            results = coco.loadRes(found)
        else:
            results = COCO()
            results.dataset = {**copy.deepcopy(truth), "annotations": []}
            results.createIndex()
        evaluation = COCOeval(coco, results, {"boxes": "bbox", "masks": "segm"}[kind])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def agree(truth: dict, found: list, kind: str = "boxes") -> dict[str, float]:
    mine = average_precision(truth, found, kind)  # type: ignore[arg-type]
    assert tuple(mine) == NAMES
    theirs = reference(truth, found, kind).stats
    np.testing.assert_allclose(list(mine.values()), theirs, rtol=0, atol=1e-9)
    return mine


def scene(
    seed: int,
    *,
    images: int = 12,
    classes: int = 4,
    most: int = 8,
    false: float = 1.0,
    crowds: float = 0.1,
    ties: bool = False,
    whole: bool = False,
    size: int = 200,
) -> tuple[dict, list]:
    """Random boxes of all three areas, and detections near some of them, in shuffled order."""
    rng = np.random.default_rng(seed)
    truth: dict[str, Any] = {
        "images": [
            {"id": int(i), "height": size, "width": size} for i in rng.permutation(images) + 7
        ],
        "categories": [
            {"id": int(c) * 3 + 2, "name": f"class {c}"} for c in rng.permutation(classes)
        ],
        "annotations": [],
    }
    found: list[dict[str, Any]] = []

    def box() -> np.ndarray:
        side = rng.choice([12, 40, 90, 150]) * rng.uniform(0.5, 1.3, 2)
        return np.concatenate((rng.uniform(0, size - 1, 2), side))

    def category() -> int:
        return truth["categories"][int(rng.integers(classes))]["id"]

    def detection(image: int, of: int, at: np.ndarray) -> None:
        score = rng.uniform() if not ties else rng.integers(0, 4) / 4
        found.append({"image_id": image, "category_id": of, "bbox": at, "score": float(score)})

    for image in truth["images"]:
        for _ in range(int(rng.integers(0, most + 1))):
            at, of = box(), category()
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "image_id": image["id"],
                    "category_id": of,
                    "bbox": at,
                    "area": float(at[2] * at[3] * rng.uniform(0.5, 1)),
                    "iscrowd": int(rng.uniform() < crowds),
                }
            )
            for _ in range(int(rng.integers(0, 3))):
                moved = at + rng.normal(0, 0.08, 4) * np.tile(at[2:], 2)
                detection(image["id"], of if rng.uniform() < 0.9 else category(), abs(moved))
        for _ in range(int(rng.poisson(false))):
            detection(image["id"], category(), box())
    rng.shuffle(found)
    for row in (*truth["annotations"], *found):
        row["bbox"] = np.round(row["bbox"], 0 if whole else 6).tolist()
    return truth, found


@pytest.mark.parametrize("seed", range(12))
def test_random_boxes(seed: int) -> None:
    truth, found = scene(seed, ties=seed % 3 == 0, whole=seed % 2 == 0)
    numbers = agree(truth, found)
    assert 0.2 < numbers["AP50"] < 0.99


@pytest.mark.parametrize("seed", range(6))
def test_ties_in_score_and_overlap(seed: int) -> None:
    """Whole coordinates on a coarse grid, so that many IoUs are equal too."""
    truth, found = scene(seed, images=4, classes=2, most=12, ties=True, whole=True, crowds=0.3)
    for row in (*truth["annotations"], *found):
        row["bbox"] = [20 * round(v / 20) for v in row["bbox"]]
        if "area" in row:
            row["area"] = row["bbox"][2] * row["bbox"][3]
    agree(truth, found)


def test_many_detections_a_picture() -> None:
    truth, found = scene(3, images=2, classes=1, most=60, false=150)
    assert len(found) > 250
    agree(truth, found)


def test_awkward_input() -> None:
    truth, found = scene(5)
    empty = {**truth, "annotations": []}
    agree(truth, [])
    agree(empty, found)
    agree(empty, [])
    agree(
        {**truth, "images": truth["images"][:1]},
        [f for f in found if f["image_id"] == truth["images"][0]["id"]],
    )
    crowds = copy.deepcopy(truth)
    for row in crowds["annotations"]:
        row["iscrowd"] = 1
    assert set(agree(crowds, found).values()) == {-1.0}
    zero = copy.deepcopy(found)
    for row in zero[::2]:
        row["bbox"][2] = 0.0
    agree(truth, zero)
    flat = copy.deepcopy(truth)
    for row in flat["annotations"][::3]:
        row["bbox"][3], row["area"] = 0.0, 0.0
    agree(flat, [*zero, *({**f, "category_id": 999} for f in found)])
    one = {**truth, "annotations": [r for r in truth["annotations"] if r["category_id"] == 2]}
    agree(one, found)  # categories without truth


def test_area_on_the_limit() -> None:
    """32 x 32 is small and medium, 96 x 96 medium and large."""
    truth = {
        "images": [{"id": 1}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {"id": n + 1, "image_id": 1, "category_id": 1, "bbox": [300.0 * n, 0, side, side],
             "area": side * side, "iscrowd": 0}
            for n, side in enumerate([32.0, 96.0, 10.0])
        ],
    }  # fmt: skip
    found = [
        {"image_id": 1, "category_id": 1, "bbox": a["bbox"], "score": 0.5}  # type: ignore[index]
        for a in truth["annotations"][:2]
    ]
    numbers = agree(truth, found)
    assert (numbers["APs"], numbers["APm"], numbers["APl"]) == pytest.approx((51 / 101, 1, 1))


def polygon(rng: np.random.Generator, box: list[float]) -> list[float]:
    turn = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 12)))
    middle, half = np.array(box[:2]) + np.array(box[2:]) / 2, np.array(box[2:]) / 2
    return (middle + np.stack([np.cos(turn), np.sin(turn)], 1) * half).ravel().tolist()


def with_masks(seed: int, truth: dict, found: list, size: int = 200) -> tuple[dict, list]:
    """Truths as polygons of one or two parts or as run lengths; detections as compressed ones."""
    rng = np.random.default_rng(seed)
    truth, found = copy.deepcopy(truth), copy.deepcopy(found)
    shapes: dict[tuple, list[float]] = {}
    for row in (*truth["annotations"], *found):
        box = row["bbox"]
        near = tuple(round(v / 60) for v in box)
        start = shapes.setdefault(near, polygon(rng, box))
        parts = [(np.array(start) + rng.normal(0, 1, len(start))).tolist()]
        if rng.uniform() < 0.3:
            parts.append(polygon(rng, [box[0] + 5, box[1], box[2], box[3] / 2]))
        rle = coco_mask.merge(coco_mask.frPyObjects(parts, size, size))
        rle["counts"] = rle["counts"].decode()
        if "score" in row:
            row["segmentation"] = rle
            continue
        row["area"] = float(coco_mask.area(rle))
        if row["iscrowd"]:
            flat = coco_mask.decode(rle).ravel(order="F")
            changes = np.flatnonzero(np.diff(flat, prepend=0))
            counts = np.diff(np.concatenate(([0], changes, [flat.size]))).tolist()
            row["segmentation"] = {"size": [size, size], "counts": counts}
        elif rng.uniform() < 0.3:
            row["segmentation"] = rle
        else:
            row["segmentation"] = parts
    return truth, found


@pytest.mark.parametrize("seed", range(8))
def test_random_masks(seed: int) -> None:
    truth, found = with_masks(seed, *scene(seed, crowds=0.2, ties=seed % 2 == 0))
    assert agree(truth, found, "masks")["AP50"] > 0.05
    agree(truth, [], "masks")
    agree({**truth, "annotations": []}, found, "masks")


def test_masks_beside_boxes() -> None:
    """A result that has both gets the mask's area, and boxes come from masks where there are none."""
    truth, found = with_masks(2, *scene(2))
    only = [{k: v for k, v in row.items() if k != "bbox"} for row in found]
    assert average_precision(truth, found, "masks") == average_precision(truth, only, "masks")
    agree(truth, only, "boxes")


def test_oracle(tmp_path: Path) -> None:
    folder = data_folder() / "oracle_detection"
    expected = json.loads((folder / "expected.json").read_text())
    for kind, key in [("boxes", "bbox"), ("masks", "segm")]:
        numbers = average_precision(
            folder / "detectron2_mini_gt.json",
            str(folder / "detectron2_mini_dt.json"),
            kind,  # type: ignore[arg-type]
        )
        assert list(numbers) == expected["order"]
        np.testing.assert_allclose(
            list(numbers.values()), expected["detectron2_mini"][key], rtol=0, atol=1e-9
        )


def data_folder() -> Path:
    from lessons_lib.data import root

    folder = Path(root())
    if not (folder / "oracle_detection").is_dir():
        pytest.skip(f"{folder / 'oracle_detection'} is absent")
    return folder


def test_by_class_and_curve() -> None:
    truth, found = scene(1)
    evaluation = reference(truth, found)
    names = {c["id"]: c["name"] for c in truth["categories"]}
    for threshold, index in [(0.5, 0), (0.75, 5)]:
        by_class = average_precision_by_class(truth, found, iou_threshold=threshold)
        for k, category in enumerate(evaluation.params.catIds):
            precision = evaluation.eval["precision"][index, :, k, 0, -1]
            assert by_class[names[category]] == pytest.approx(precision.mean(), abs=1e-9)
            curve = precision_recall(truth, found, category, iou_threshold=threshold)
            np.testing.assert_allclose(curve.sampled, precision, atol=1e-9)
            assert curve.average_precision == pytest.approx(precision.mean(), abs=1e-9)
            assert (np.diff(curve.score) <= 0).all() and (np.diff(curve.recall) >= 0).all()
            same = precision_recall(truth, found, names[category], iou_threshold=threshold)
            assert np.array_equal(same.hit, curve.hit)
    everything = average_precision_by_class(truth, found, iou_threshold=None)
    assert np.mean(list(everything.values())) == pytest.approx(evaluation.stats[0], abs=1e-9)


def test_ids_of_annotations_do_not_matter() -> None:
    """pycocotools takes a match with id 0 for none."""
    truth, found = scene(4, images=3)
    numbers = average_precision(truth, found)
    for n, row in enumerate(truth["annotations"]):
        row["id"] = n
    assert average_precision(truth, found) == numbers


def test_tensors_to_coco() -> None:
    rng = np.random.default_rng(0)
    truths, found = [], []
    for n in (3, 0, 2):
        masks = torch.from_numpy(rng.uniform(size=(n, 20, 30)) < 0.5)
        corner = torch.from_numpy(rng.uniform(0, 50, (n, 2))).float()
        boxes = torch.cat([corner, corner + 10], 1)
        labels = torch.from_numpy(rng.integers(1, 4, n))
        truths.append({"boxes": boxes, "labels": labels, "masks": masks})
        found.append({**truths[-1], "boxes": boxes + 1, "scores": torch.rand(n)})
    names = ["background", "a", "b", "c"]
    truth, results = coco_form(truths, found, names)
    assert json.loads(json.dumps(truth)) == truth and json.loads(json.dumps(results)) == results
    assert [c["name"] for c in truth["categories"]] == names[1:]
    assert [a["id"] for a in truth["annotations"]] == [1, 2, 3, 4, 5]
    assert agree(truth, results)["AP50"] == 1.0
    assert average_precision(truth, results, "masks")["AP"] == 1.0
    with pytest.raises(ValueError, match="as many"):
        coco_form(truths, found[:1])
    with pytest.raises(ValueError, match="names has 2"):
        coco_form(truths, found, names[:2])
    with pytest.raises(ValueError, match="labels and"):
        coco_form([{**truths[0], "labels": truths[0]["labels"][:1]}], found[:1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t, f: f[0].update(image_id=-5), "no picture"),
        (lambda t, f: f[0].pop("score"), "has no score"),
        (lambda t, f: f[0].update(score=float("nan")), "finite"),
        (lambda t, f: f[0].update(bbox=[0, 0, -1, 5]), "width and height 0 or more"),
        (lambda t, f: f[0].update(bbox=[0, 0, 1]), "four numbers"),
        (lambda t, f: t["annotations"][0].pop("area"), "has no area"),
        (lambda t, f: t.pop("categories"), "images, annotations and categories"),
        (lambda t, f: t["annotations"].__setitem__(0, 7), "must be a dict"),
        (lambda t, f: t["annotations"][0].update(iscrowd="0"), "iscrowd is '0'; it must be 0 or 1"),
        (lambda t, f: t["annotations"][0].update(area=-4), "area is -4.0; it must be 0 or more"),
        (lambda t, f: f[0].update(bbox=None), "segmentation"),
    ],
    ids=["image", "score", "nan", "negative", "three", "area", "categories", "row", "crowd",
         "below", "none"],
)  # fmt: skip
def test_errors_name_the_rule(change: Any, words: str) -> None:
    truth, found = scene(0)
    change(truth, found)
    with pytest.raises(DataError, match=words):
        average_precision(truth, found)


def test_errors_of_arguments(tmp_path: Path) -> None:
    truth, found = scene(0)
    with pytest.raises(ValueError, match="'boxes' or 'masks'"):
        average_precision(truth, found, "circles")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="segmentation"):
        average_precision(truth, found, "masks")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(DataError, match="no JSON"):
        average_precision(tmp_path / "bad.json", found)
    with pytest.raises(ValueError, match="iou_threshold is 0"):
        average_precision_by_class(truth, found, iou_threshold=0)
    with pytest.raises(ValueError, match="category is 'cow'"):
        precision_recall(truth, found, "cow")
