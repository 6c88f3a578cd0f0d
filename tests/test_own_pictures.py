"""A new user's afternoon, from the shell: a few pictures of their own, checked, trained on, measured, predicted."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from pycocotools.coco import COCO

from lessons_lib.data import read_labels
from lessons_lib.embedding import match_instances


def scene(rng: np.random.Generator, height: int, width: int) -> NDArray[np.integer]:
    """Ellipses, some of which touch; ids 1..K."""
    y, x = np.mgrid[:height, :width]
    labels = np.zeros((height, width), np.int64)
    for _ in range(height * width // 700):
        cy, cx, turn = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0, np.pi)
        a, b = rng.uniform(8, 11), rng.uniform(6, 8)
        u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        v = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        inside = (u / a) ** 2 + (v / b) ** 2 < 1
        if not (labels[inside] > 0).any() and inside.sum() > 40:
            labels[inside] = labels.max() + 1
    return labels


def light(rng: np.random.Generator, labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """A picture of them, values in [0, 1]: each as bright as it likes, with noise."""
    bright = np.append(0.1, rng.uniform(0.35, 0.8, int(labels.max())))
    return np.clip(bright[labels] + rng.normal(0, 0.03, labels.shape), 0, 1)


def draw_folder(folder: Path) -> None:
    """Five pictures: PNG, JPEG, colour, and 12 bits in a TIFF of 16; labels of 8 and 16 bits."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    names = ["plate_a.png", "plate_b.jpg", "plate_c.tif", "plate_d.png", "plate_e.tif"]
    for k, name in enumerate(names):
        labels = scene(rng, 128 + 16 * k, 150)
        values = light(rng, labels)
        image = str(folder / "images" / name)
        if name.endswith(".tif"):
            tifffile.imwrite(image, np.round(values * 4095).astype(np.uint16))
        elif k == 3:
            assert cv2.imwrite(image, np.round(values[..., None] * [60, 255, 120]).astype(np.uint8))
        else:
            assert cv2.imwrite(image, np.round(values * 255).astype(np.uint8))
        stored = labels.astype(np.uint8 if k % 2 else np.uint16)
        assert cv2.imwrite(str(folder / "labels" / f"{Path(name).stem}.png"), stored)


def lessons(*arguments: object, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs `lessons …` as a shell would."""
    done = subprocess.run(
        [sys.executable, "-m", "lessons_lib", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.slow
def test_from_a_folder_of_pictures_to_tables(tmp_path: Path) -> None:
    mine, run, out = tmp_path / "mine", tmp_path / "run", tmp_path / "out"
    draw_folder(mine)

    checked = lessons("data", "check", mine, cwd=tmp_path)
    assert "problem:" not in checked.stdout
    (mine / "labels" / "plate_b.png").rename(mine / "labels" / "plate_bb.png")
    problems = lessons("data", "check", mine, cwd=tmp_path, code=1).stdout
    assert (
        problems.count("problem:") == 2 and "plate_b.jpg" in problems and "plate_bb.png" in problems
    )
    (mine / "labels" / "plate_bb.png").rename(mine / "labels" / "plate_b.png")

    chosen = ["--data", mine, "--preset", "live", "--out", run]
    trained = lessons("train", "spatial-folder", *chosen, cwd=tmp_path)
    weights = run / "last.safetensors"
    assert weights.is_file()
    measured = lessons(
        "evaluate", "spatial-folder", "--data", mine, "--weights", weights, cwd=tmp_path
    )
    scores = dict(re.findall(r"^(\w+) +(-?\d+\.\d+)$", measured.stdout, re.M))
    assert scores == dict(re.findall(r"^(\w+) +(-?\d+\.\d+)$", trained.stdout, re.M))
    assert float(scores["dsb_50"]) > 0.7  # a picture that was not trained on

    (mine / "images" / "broken.png").write_bytes(b"no picture")
    told = lessons(
        "predict", "spatial-folder", "--weights", weights, mine / "images",
        *["--out", out, "--tile", 128, "--overlap", 64],
        cwd=tmp_path, code=1,
    )  # fmt: skip
    assert told.stdout.count(" instances\n") == 5
    assert "broken.png" in told.stderr and "1 of 6 pictures failed" in told.stderr
    endings = ("coco.json", "csv", "labels.png", "overlay.png")
    names = [f"plate_{k}.{ending}" for k in "abcde" for ending in endings]
    assert sorted(path.name for path in out.iterdir()) == names
    for stem in ("plate_a", "plate_e"):  # the second is cut into tiles, and a TIFF of 12 bits
        labels = read_labels(out / f"{stem}.labels.png")
        truth = read_labels(mine / "labels" / f"{stem}.png")
        assert match_instances(labels, truth).dsb_score > 0.7
        with (out / f"{stem}.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert set(rows[0]) == {
            *("id", "score", "area", "centroid_x", "centroid_y", "x1", "y1", "x2", "y2")
        }
        assert len(rows) == int(labels.max()) and all(0 < float(row["score"]) <= 1 for row in rows)
        coco = COCO(str(out / f"{stem}.coco.json"))
        assert [a["area"] for a in coco.dataset["annotations"]] == [int(r["area"]) for r in rows]
