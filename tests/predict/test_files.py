"""The files of a prediction: what they hold, and that all of a picture's appear or none."""

from __future__ import annotations

import csv
import errno
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from pycocotools.coco import COCO
from scipy.ndimage import gaussian_filter
from skimage.measure import label
from torch import Tensor

from lessons_lib.__main__ import main
from lessons_lib.data import open_picture, read_labels
from lessons_lib.data.errors import DataError
from lessons_lib.predict import list_pictures, overlays, predict_file
from lessons_lib.predict.overlays import draw_overlay
from lessons_lib.predict.result_files import ResultFiles, check_folder
from lessons_lib.predict.writers import _write_labels
from lessons_lib.recipes import RECIPES
from lessons_lib.training.state import save_weights
from tests.test_predict import Bright, Threshold, check_files, gray, scene

Predict = Callable[..., int]
ALL = [".coco.json", ".csv", ".labels.png", ".overlay.png"]


class BrightParts(Bright):
    """Bright regions, also of a part of a picture."""

    def prepare(self, image: Tensor, options: Mapping[str, Any], statistics: Any = None) -> Tensor:
        return super().prepare(image, options)


class Scored(BrightParts):
    """Bright regions with a class and a score: the mean brightness."""

    classes = ("background", "dim", "bright")

    def predict(self, outputs: dict[str, Tensor], options: Any) -> list[dict[str, Tensor]]:
        (found,) = super().predict(outputs, options)
        score = outputs["score"][0, 0]
        count = int(found["instances"].max())
        values = [float(score[found["instances"] == k].mean()) + 0.5 for k in range(1, count + 1)]
        scores = torch.tensor(values)
        return [{**found, "scores": scores, "labels": 1 + (scores > 0.75).long()}]


@pytest.fixture
def predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predict:
    """predict(PATHS…, "--option", …) is `lessons predict bright …`; its exit code."""
    monkeypatch.setitem(RECIPES, "bright", BrightParts())
    save_weights(Threshold(), tmp_path / "w.safetensors", {"recipe": "bright", "options": {}})

    def run(*arguments: object, out: Path = tmp_path / "out") -> int:
        chosen = ["--weights", tmp_path / "w.safetensors", "--out", out]
        return main(["predict", "bright", *map(str, [*arguments, *chosen])])

    return run


def draw(path: Path, pixels: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), gray(scene()) if pixels is None else pixels)
    return path


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_tiles_from_the_shell(predict: Predict, tmp_path: Path) -> None:
    """In tiles the files are those of the whole picture; the objects are joined over the borders."""
    noise = gaussian_filter(np.random.default_rng(0).standard_normal((210, 330)), 4)
    truth = label(noise > np.quantile(noise, 0.7), connectivity=1)
    path = draw(tmp_path / "large.png", np.where(truth > 0, 220, 30).astype(np.uint8))
    assert predict(path, "--tile", 96, "--overlap", 32) == 0
    rgb = np.dstack([np.where(truth > 0, 220, 30)] * 3)
    check_files(tmp_path / "out" / "large", truth, rgb, "large.png")  # numbers too: reading order
    assert predict(path, "--tile", 100) == 1  # 128 px of overlap
    assert predict(path, "--tile", 96, "--overlap", 40) == 1  # no multiple of 32


def test_scores_and_classes(tmp_path: Path) -> None:
    pixels = np.full((40, 90), 20, np.uint8)
    for k, (x, value) in enumerate([(5, 160), (25, 240), (60, 200)]):
        pixels[5 + k : 15, x : x + 8 + k] = value
    path = draw(tmp_path / "a.png", pixels)
    assert predict_file(Scored(), Threshold(), {}, path, tmp_path / "whole") == "3 instances"
    small = {"tile": 48, "overlap": 16}
    assert (
        predict_file(Scored(), Threshold(), {}, path, tmp_path / "tiled", **small) == "3 instances"
    )
    for folder, order in [("whole", [160, 240, 200]), ("tiled", [240, 200, 160])]:  # best first
        with (tmp_path / folder / "a.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        header = (tmp_path / folder / "a.csv").read_text("utf-8").split()[0]
        assert header == "id,label,score,area,centroid_x,centroid_y,x1,y1,x2,y2"
        assert [float(r["score"]) for r in rows] == pytest.approx(
            [v / 255 for v in order], abs=1e-4
        )
        assert [r["label"] for r in rows] == ["bright" if v > 0.75 * 255 else "dim" for v in order]
        coco = COCO(str(tmp_path / folder / "a.coco.json"))
        assert {c["id"]: c["name"] for c in coco.dataset["categories"]} == {1: "dim", 2: "bright"}
        stored = read_labels(tmp_path / folder / "a.labels.png").numpy()
        for row, value, annotation in zip(rows, order, coco.dataset["annotations"], strict=True):
            mask = stored == int(row["id"])
            assert (pixels[mask] == value).all() and mask.sum() == int(row["area"])
            assert np.array_equal(coco.annToMask(annotation), mask)
            assert annotation["score"] == float(row["score"])
            assert annotation["category_id"] == (2 if row["label"] == "bright" else 1)


def test_a_label_tiff(predict: Predict, tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png")
    assert predict(path) == 0 and predict(path, "--labels", "tiff") == 0
    assert written(tmp_path / "out") == ["a.coco.json", "a.csv", "a.labels.tif", "a.overlay.png"]
    stored = tifffile.imread(tmp_path / "out" / "a.labels.tif")
    assert stored.dtype == np.uint16 and np.array_equal(stored, scene())
    assert np.array_equal(read_labels(tmp_path / "out" / "a.labels.tif").numpy(), scene())
    assert predict(path) == 0  # and back: no old label picture stays beside the new one
    assert written(tmp_path / "out") == ["a.coco.json", "a.csv", "a.labels.png", "a.overlay.png"]


@pytest.mark.parametrize(("largest", "name"), [(65535, "a.labels.png"), (65536, "a.labels.tif")])
def test_more_instances_than_16_bits_hold(largest: int, name: str, tmp_path: Path) -> None:
    labels = np.arange(largest - 19_999, largest + 1, dtype=np.int32).reshape(100, 200)
    with ResultFiles(tmp_path, "a") as files:
        _write_labels(files, labels, "png")
    assert written(tmp_path) == [name]
    assert np.array_equal(read_labels(tmp_path / name).numpy(), labels)


def test_the_overlay_of_a_large_picture_is_reduced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.zeros((95, 130), np.int32)
    labels[20:60, 30:90] = 1
    pixels = np.where(labels > 0, 200, 60).astype(np.uint8)
    with open_picture(draw(tmp_path / "a.png", pixels)) as picture:
        whole = draw_overlay(picture, labels)
        monkeypatch.setattr(overlays, "LARGEST_SIDE", 50)
        reduced = draw_overlay(picture, labels)
    assert whole.shape == (95, 130, 3) and reduced.shape == (31, 43, 3)  # a third, whole factor
    ring = (reduced != reduced[..., :1]).any(2)
    assert ring.sum() == 2 * (13 + 20) - 4 and (reduced[ring] == (230, 159, 0)).all()
    assert (reduced[8:19, 12:28] == 200).all() and (reduced[0] == 60).all()


def test_the_overlay_of_dim_pictures_is_stretched(tmp_path: Path) -> None:
    """12 bits in a file of 16 would be black otherwise."""
    labels = np.zeros((50, 60), np.int32)
    ramp = np.tile(np.linspace(100, 4000, 60), (50, 1)).astype(np.uint16)
    with open_picture(draw(tmp_path / "dim.png", ramp)) as picture:
        dim = draw_overlay(picture, labels)[..., 0]
    assert dim[0, 0] == 0 and dim[0, -1] == 255 and (np.diff(dim[0].astype(int)) >= 0).all()
    with open_picture(draw(tmp_path / "bright.png", ramp * 5)) as picture:
        assert np.array_equal(
            draw_overlay(picture, labels)[..., 0], np.round(ramp * (5 * 255 / 65535))
        )
    with open_picture(draw(tmp_path / "black.png", ramp * 0)) as picture:
        assert not draw_overlay(picture, labels).any()


# Folders and lists -----------------------------------------------------------------------------


def test_a_folder_of_pictures(predict: Predict, tmp_path: Path) -> None:
    for name in ("b.png", "a.tif", "c.JPG"):
        draw(tmp_path / "in" / name)
    (tmp_path / "in" / "notes.txt").write_text("no picture", "utf-8")
    (tmp_path / "in" / ".hidden.png").write_text("no picture", "utf-8")
    draw(tmp_path / "in" / "deeper" / "d.png")
    names = [path.name for path in list_pictures([tmp_path / "in"])]
    assert names == ["a.tif", "b.png", "c.JPG"]
    assert predict(tmp_path / "in") == 0
    assert written(tmp_path / "out") == [f"{stem}{ending}" for stem in "abc" for ending in ALL]
    predict_file(BrightParts(), Threshold(), {}, tmp_path / "in" / "b.png", tmp_path / "in")
    assert [path.name for path in list_pictures([tmp_path / "in"])] == names  # no results


@pytest.mark.parametrize("form", ["folder", "file", "link to the folder", "link to the file"])
def test_results_beside_the_pictures_are_refused(
    form: str, predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A reader's own files could have the names of results."""
    data = tmp_path / "data"
    picture = draw(data / "cell.png")
    for ending in ALL:
        (data / f"cell{ending}").write_text("mine", "utf-8")
    (data / "cell.labels.tif").write_text("mine", "utf-8")
    elsewhere = draw(tmp_path / "elsewhere" / "other.png")
    (tmp_path / "link").symlink_to(data)
    (tmp_path / "cell.png").symlink_to(picture)
    before = {path: path.read_bytes() for path in data.iterdir()}
    given = {"folder": data, "link to the file": tmp_path / "cell.png"}.get(form, picture)
    out = tmp_path / "link" if form == "link to the folder" else data / ".." / "data"
    assert predict(elsewhere, given, out=out) == 1
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err == (
        f"lessons: --out is {out}, which holds pictures to predict; "
        "results go to a folder of their own\n"
    )
    assert {path: path.read_bytes() for path in data.iterdir()} == before
    assert predict(elsewhere, given, out=data / "results") == 0  # inside is a folder of its own


def test_from_python_no_label_picture_beside_the_picture_goes(tmp_path: Path) -> None:
    path = draw(tmp_path / "cell.png")
    for ending in ("labels.tif", "csv"):
        (tmp_path / f"cell.{ending}").write_text("old", "utf-8")
    predict_file(BrightParts(), Threshold(), {}, path, tmp_path)
    assert (tmp_path / "cell.labels.tif").read_text("utf-8") == "old"
    assert (tmp_path / "cell.csv").read_text("utf-8").startswith("id,area")  # as is said


def test_pictures_of_the_same_name(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files of one name are refused, each, and the others predicted; the same file twice is misuse."""
    a, b, c = (draw(tmp_path / "in" / name) for name in ("a.png", "a.tif", "c.png"))
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "c.png").symlink_to(c)
    rule = "results are named after the files"
    assert predict(a.parent) == 1
    printed = capsys.readouterr()
    assert printed.out == f"{c}: 5 instances\n"
    assert printed.err.splitlines() == [
        f"lessons: {a}: {rule}, and those of {b} have the same names",
        f"lessons: {b}: {rule}, and those of {a} have the same names",
        "lessons: 2 of 3 pictures failed",
    ]
    assert written(tmp_path / "out") == [f"c{ending}" for ending in ALL]
    for again in (c, tmp_path / "in" / ".." / "in" / "c.png", tmp_path / "deeper" / "c.png"):
        assert predict(a.parent, again) == 1
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err == f"lessons: images has ['c'] more than once; {rule}\n"


def test_a_folder_without_pictures(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    assert predict(tmp_path / "in") == 1
    assert f"{tmp_path / 'in'}: no picture in this folder" in capsys.readouterr().err


def test_the_rest_is_predicted(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.png", "d.png"):
        draw(tmp_path / "in" / name)
    (tmp_path / "in" / "b.png").write_text("no picture", "utf-8")
    tifffile.imwrite(tmp_path / "in" / "c.tif", np.zeros((20, 20), np.float32))
    whole = draw(tmp_path / "in" / "e.png").read_bytes()
    (tmp_path / "in" / "e.png").write_bytes(whole[: len(whole) // 2])
    assert predict(tmp_path / "in", tmp_path / "gone.png") == 1
    printed = capsys.readouterr()
    assert printed.out.count(": 5 instances\n") == 2
    complaints = printed.err.splitlines()
    for line, name in zip(complaints, ["b.png", "c.tif", "e.png", "gone.png"], strict=False):
        assert line.startswith("lessons: ") and name in line and "Traceback" not in line
    assert complaints[4:] == ["lessons: 4 of 6 pictures failed"]
    assert written(tmp_path / "out") == [f"a{ending}" for ending in ALL] + [
        f"d{ending}" for ending in ALL
    ]


def test_an_error_of_the_model_names_the_picture(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    class Weary(BrightParts):
        def predict(self, outputs: dict[str, Tensor], options: Any) -> list[dict[str, Tensor]]:
            raise MemoryError if outputs["score"].shape[-1] == 53 else RuntimeError("too tired")

    monkeypatch.setitem(RECIPES, "bright", Weary())
    a, b = draw(tmp_path / "a.png"), draw(tmp_path / "b.png", np.zeros((9, 9), np.uint8))
    assert predict(a, b) == 1
    first, second, _ = capsys.readouterr().err.splitlines()
    assert first == f"lessons: {a}: not enough memory; smaller tiles need less"
    assert second == f"lessons: {b}: too tired"


@pytest.mark.parametrize("kind", [ZeroDivisionError, AssertionError, cv2.error])
def test_no_error_stops_the_folder(
    kind: type[Exception],
    predict: Predict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    class Odd(BrightParts):
        def predict(self, outputs: dict[str, Tensor], options: Any) -> list[dict[str, Tensor]]:
            if outputs["score"].shape[-1] == 9:
                raise kind("two\nlines")
            return super().predict(outputs, options)

    monkeypatch.setitem(RECIPES, "bright", Odd())
    a, b = draw(tmp_path / "a.png", np.zeros((9, 9), np.uint8)), draw(tmp_path / "b.png")
    assert predict(a, b) == 1
    printed = capsys.readouterr()
    assert printed.out == f"{b}: 5 instances\n"
    assert printed.err.splitlines() == [
        f"lessons: {a}: unexpected {kind.__name__}: two lines",
        "lessons: 1 of 2 pictures failed",
    ]
    assert written(tmp_path / "out") == [f"b{ending}" for ending in ALL]


def test_an_interrupt_stops_everything(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(BrightParts):
        def predict(self, outputs: dict[str, Tensor], options: Any) -> list[dict[str, Tensor]]:
            raise KeyboardInterrupt

    monkeypatch.setitem(RECIPES, "bright", Stopped())
    with pytest.raises(KeyboardInterrupt):
        predict(draw(tmp_path / "a.png"))
    assert written(tmp_path / "out") == []


@pytest.mark.parametrize("shape", [(5000, 1), (1, 5000), (9000, 2), (3, 13000)])
def test_long_and_thin_pictures(shape: tuple[int, int], predict: Predict, tmp_path: Path) -> None:
    """Their overlay is shrunk by a factor that is larger than a side."""
    pixels = np.full(shape, 20, np.uint8)
    pixels.reshape(-1)[shape[1] * (shape[0] // 3) : shape[1] * (shape[0] // 3) + 700] = 200
    if shape[0] < shape[1]:
        pixels[:] = 20
        pixels[:, 900:2300] = 200  # over the border of two tiles
    truth = label(pixels > 100, connectivity=1)
    assert predict(draw(tmp_path / "thin.png", pixels)) == 0
    assert np.array_equal(read_labels(tmp_path / "out" / "thin.labels.png").numpy(), truth)
    factor = -(-max(shape) // 4096)
    with Image.open(tmp_path / "out" / "thin.overlay.png") as stored:
        drawn = np.asarray(stored)
    assert drawn.shape == (*(max(1, side // factor) for side in shape), 3)
    ring = (drawn != drawn[..., :1]).any(2)
    assert ring.any() and (drawn[ring] == (230, 159, 0)).all()
    assert (drawn[~ring] <= 200).all() and (drawn[~ring] == 20).any()


# Nothing half-written --------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ALL)
def test_disk_full(
    ending: str,
    predict: Predict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whichever file of a picture the disk has no room for: none of them, and the next picture's all."""
    out = tmp_path / "out"
    a, b = draw(tmp_path / "a.png"), draw(tmp_path / "b.png")
    assert predict(a) == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    write = ResultFiles.write

    def full(self: ResultFiles, kind: str, writer: Callable[[Path], object]) -> None:
        def half(path: Path) -> None:
            writer(path)
            if self.stem == "a" and f".{kind}" == ending:
                path.write_bytes(path.read_bytes()[:50])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        write(self, kind, half)

    monkeypatch.setattr(ResultFiles, "write", full)
    assert predict(a, b) == 1
    complaint = capsys.readouterr().err
    assert f"lessons: {out / 'a'}{ending}: cannot be written (No space left on device)" in complaint
    assert written(out) == [f"{stem}{e}" for stem in "ab" for e in ALL]
    assert all(
        path.read_bytes() == content for path, content in before.items()
    )  # the old ones stay


@pytest.mark.parametrize("ending", [*ALL, ".labels.tif"])
def test_a_folder_in_the_way(
    ending: str, predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A result cannot take the place of a folder: no other appears, and no old one is touched."""
    c, d = draw(tmp_path / "c.png"), draw(tmp_path / "d.png")
    out = tmp_path / "out"
    for other in {*ALL, ".labels.tif"} - {ending, ".labels.png"}:
        out.mkdir(exist_ok=True)
        (out / f"c{other}").write_text("old", "utf-8")
    (out / f"c{ending}").mkdir()
    before = written(out)
    assert predict(c, d) == 1
    assert capsys.readouterr().err.splitlines()[0] == (
        f"lessons: {out / 'c'}{ending}: cannot be written (Is a directory); "
        "no result of this picture was written"
    )
    assert written(out) == sorted([*before, *(f"d{e}" for e in ALL)])
    assert all((out / n).read_text("utf-8") == "old" for n in before if n != f"c{ending}")


@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", range(9))
def test_results_are_put_back(
    step: int,
    error: BaseException,
    predict: Predict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever of the moves fails: four old files aside and four new ones in, and the TIFF aside."""
    path, out = draw(tmp_path / "a.png"), tmp_path / "out"
    assert predict(path, "--labels", "tiff") == 0
    (out / "a.csv").unlink()
    (out / "a.labels.png").write_text("old", "utf-8")
    (out / "a.csv").symlink_to(tmp_path / "gone.csv")
    before = {p.name: p.read_bytes() for p in out.iterdir() if p.exists()}
    replace, count = Path.replace, iter(range(100))

    def fail(self: Path, target: Path) -> Path:
        if next(count) == step:
            raise error
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    picture = ResultFiles(out, "a")
    with pytest.raises((DataError, KeyboardInterrupt)), picture as files:
        for ending in ("labels.png", "overlay.png", "coco.json", "csv"):
            files.write(ending, lambda to: to.write_text("new", "utf-8"))
    assert {p.name: p.read_bytes() for p in out.iterdir() if p.exists()} == before
    assert (out / "a.csv").is_symlink() and len(written(out)) == len(before) + 1
    with ResultFiles(out, "a") as files:  # and the next time all goes well
        files.write("labels.png", lambda to: to.write_text("new", "utf-8"))
    assert "a.labels.tif" not in written(out) and "a.overlay.png" in written(out)


def test_old_results_that_cannot_be_put_back_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.labels.png").write_text("old", "utf-8")
    replace, left = Path.replace, iter([True])

    def fail(self: Path, target: Path) -> Path:
        if next(left, False):
            return replace(self, target)
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(DataError, match=r"a\.labels\.png: cannot be put back \(broken\); the old"):  # noqa: SIM117
        with ResultFiles(tmp_path, "a") as files:
            files.write("labels.png", lambda to: to.write_text("new", "utf-8"))
    (hidden,) = tmp_path.iterdir()
    assert (hidden / "old.labels.png").read_text("utf-8") == "old"


def test_a_file_that_the_system_cuts_off(
    predict: Predict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A real limit on the size of files: the write itself fails in the middle."""
    noise = np.random.default_rng(0).integers(0, 100, (400, 400)).astype(np.uint8)
    big = draw(tmp_path / "big.png", noise)
    small = draw(tmp_path / "small.png", np.zeros((9, 9), np.uint8))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, limits[1]))
    try:
        code = predict(big, small)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1
    complaint = capsys.readouterr().err
    assert (
        f"{tmp_path / 'out' / 'big.overlay.png'}: cannot be written (File too large)" in complaint
    )
    assert written(tmp_path / "out") == [f"small{ending}" for ending in ALL]


@pytest.mark.parametrize("obstacle", ["file", "below a file", "no system for files", "read-only"])
def test_a_folder_that_cannot_be_written(
    obstacle: str,
    predict: Predict,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is said before a picture is read, or the weights are."""
    (tmp_path / "file").write_text("in the way", "utf-8")
    (tmp_path / "locked").mkdir()
    out = {
        "file": tmp_path / "file",
        "below a file": tmp_path / "file" / "deeper",
        "no system for files": Path("/proc/lessons"),
        "read-only": tmp_path / "locked" / "out",
    }[obstacle]
    if obstacle == "read-only":
        if os.geteuid() == 0:
            pytest.skip("root may write everywhere")
        (tmp_path / "locked").chmod(0o500)
    if obstacle == "no system for files" and not Path("/proc").is_dir():
        pytest.skip("/proc is not there")
    monkeypatch.setattr("lessons_lib.training.load_weights", lambda *a: pytest.fail("it went on"))
    assert predict(draw(tmp_path / "a.png"), out=out) == 1
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"lessons: {out}: results cannot be written there (")
    assert len(complaint.splitlines()) == 1


def test_the_check_leaves_nothing_behind(tmp_path: Path) -> None:
    check_folder(tmp_path / "a" / "b")
    assert written(tmp_path) == []
    (tmp_path / "a").mkdir()
    check_folder(tmp_path / "a")
    assert written(tmp_path / "a") == []


# Memory ----------------------------------------------------------------------------------------

LARGE = """
import resource, sys
from pathlib import Path
import numpy as np, tifffile, torch
from lessons_lib.predict import predict_file
from tests.predict.test_files import BrightParts, Threshold

folder = Path(sys.argv[1])
y, x = np.ogrid[:40, :40]
disc = np.where(np.hypot(y - 19, x - 21) < 15, 200, 20).astype(np.uint8)
for side in (600, 3000):
    tifffile.imwrite(folder / f"{side}.tif", np.tile(disc, (side // 40, side // 40)))
    told = predict_file(
        BrightParts(), Threshold(), {}, folder / f"{side}.tif", folder, tile=256, overlap=64
    )
    print(told.split()[0], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_is_bounded(tmp_path: Path) -> None:
    """3000 x 3000 px: labels of 4 bytes, an overlay of 3, and what is made of them, but no float picture.

    One float32 picture of three channels would be 103 MB, the places of all pixels 137 MB.
    """
    run = [sys.executable, "-c", LARGE, str(tmp_path)]
    printed = subprocess.run(
        run, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    ).stdout.split()
    assert (printed[0], printed[2]) == ("225", "5625")
    grown = int(printed[3]) - int(printed[1])  # MB, from a picture of 600 x 600 px on
    assert grown < 200
    with Image.open(tmp_path / "3000.overlay.png") as overlay:
        assert overlay.size == (3000, 3000)
    rows = json.loads((tmp_path / "3000.coco.json").read_text("utf-8"))["annotations"]
    assert len(rows) == 5625 and len({row["area"] for row in rows}) == 1
