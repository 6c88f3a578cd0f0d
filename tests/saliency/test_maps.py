"""`lessons evaluate-maps` on small folders, against pysodmetrics on the same files."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import py_sod_metrics as pysod
import pytest
from PIL import Image

from lessons_lib.__main__ import main
from lessons_lib.data.errors import DataError
from lessons_lib.saliency.maps import score_maps

pytestmark = pytest.mark.filterwarnings("ignore:This class will be removed")
Lessons = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lessons(capsys: pytest.CaptureFixture[str]) -> Lessons:
    def run(*arguments: object) -> tuple[int, str, str]:
        code = main(["evaluate-maps", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Five maps and their truths, in several forms."""
    predictions, truths = tmp_path / "predictions", tmp_path / "truths"
    predictions.mkdir()
    truths.mkdir()
    rng = np.random.default_rng(0)
    for number, suffix in enumerate(["png", "png", "bmp", "tif", "PNG"]):
        height, width = 20 + number, 30 - number
        truth = np.zeros((height, width), np.uint8)
        truth[5:15, 6:20] = 255
        noisy = 0.6 * truth + rng.integers(0, 90, truth.shape)
        Image.fromarray(noisy.astype(np.uint8)).save(predictions / f"{number}.{suffix}")
        Image.fromarray(truth).save(truths / f"{number}.png")
    return predictions, truths


def expected(predictions: Path, truths: Path) -> dict[str, float]:
    """What pysodmetrics says, the maps resized as its users do."""
    mae, f, s, e = pysod.MAE(), pysod.Fmeasure(), pysod.Smeasure(), pysod.Emeasure()
    weighted = pysod.WeightedFmeasure()
    for path in sorted(predictions.iterdir()):
        prediction = np.array(Image.open(path).convert("L"))
        truth = np.array(Image.open(truths / f"{path.stem}.png").convert("L"))
        for measure in (mae, f, s, e, weighted):
            measure.step(prediction, truth)
    curves = f.get_results()["fm"], e.get_results()["em"]
    return {
        "MAE": mae.get_results()["mae"],
        "S": s.get_results()["sm"],
        "F_max": curves[0]["curve"].max(),
        "F_mean": curves[0]["curve"].mean(),
        "F_adaptive": curves[0]["adp"],
        "E_max": curves[1]["curve"].max(),
        "E_mean": curves[1]["curve"].mean(),
        "E_adaptive": curves[1]["adp"],
        "F_weighted": weighted.get_results()["wfm"],
    }


def read_table(printed: str) -> dict[str, float]:
    return {name: float(value) for name, value in map(str.split, printed.splitlines()[1:])}


def test_from_the_shell_as_pysodmetrics(folders: tuple[Path, Path], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    command = [sys.executable, "-m", "lessons_lib", "evaluate-maps", *folders, "--csv", table]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines()[0] == "5 maps, each stretched to 0..1"
    theirs = expected(*folders)
    assert read_table(result.stdout) == pytest.approx(theirs, abs=6e-5)
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["name"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert list(rows[0]) == ["name", *theirs]
    for name in ("MAE", "S", "F_mean", "E_adaptive", "F_weighted"):
        assert np.mean([float(row[name]) for row in rows]) == pytest.approx(theirs[name], abs=2e-6)


def test_choices(folders: tuple[Path, Path], lessons: Lessons) -> None:
    code, out, _ = lessons(*folders, "--no-normalize", "--no-weighted-f", "--boundary-f")
    assert code == 0 and out.startswith("5 maps, as they are\n")
    names = read_table(out)
    assert "F_weighted" not in names and 0 < names["F_boundary"] <= 1
    mae = pysod.MAE()
    for path in sorted(folders[0].iterdir()):
        truth = np.array(Image.open(folders[1] / f"{path.stem}.png")) > 128
        mae.step(np.array(Image.open(path)) / 255, truth, normalize=False)
    assert names["MAE"] == pytest.approx(mae.get_results()["mae"], abs=6e-5)


def test_what_cannot_be_scored_is_named_and_the_rest_is(
    folders: tuple[Path, Path], lessons: Lessons, tmp_path: Path
) -> None:
    predictions, truths = folders
    (predictions / "1.png").write_bytes((predictions / "1.png").read_bytes()[:-20])
    (predictions / "2.bmp").write_bytes(b"BM")
    (predictions / "3.tif").unlink()
    Image.new("L", (9, 9)).save(predictions / "0.jpg")
    Image.new("L", (9, 9)).save(predictions / "extra.png")
    (predictions / "readme.txt").write_text("no map")
    code, out, err = lessons(predictions, truths, "--csv", tmp_path / "t.csv")
    assert code == 1
    assert out.startswith("1 maps")
    lines = err.splitlines()
    assert any("0.jpg: so is 0.png called" in line for line in lines)
    assert any("1.png: truncated PNG" in line for line in lines)
    assert any("2.bmp: truncated BMP" in line for line in lines)
    assert any("no map 3" in line for line in lines)
    assert "lessons: note: without a truth, not scored: extra" in lines
    assert len(lines) == 5
    assert [row["name"] for row in csv.DictReader((tmp_path / "t.csv").open())] == ["4"]


def test_other_sizes_colours_and_sixteen_bits(folders: tuple[Path, Path], tmp_path: Path) -> None:
    plain = score_maps(*folders)
    maps = tmp_path / "other"
    maps.mkdir()
    for path in folders[0].iterdir():
        gray = Image.open(path)
        pixels = np.array(gray)
        if path.stem == "0":
            Image.fromarray(pixels.astype(np.uint16) * 257).save(maps / "0.png")
        elif path.stem == "1":
            Image.merge("RGB", [gray] * 3).save(maps / "1.png")
        elif path.stem == "2":
            gray.resize((60, 50), Image.Resampling.BILINEAR).save(maps / "2.png")
        elif path.stem == "3":
            red = np.stack([pixels, 0 * pixels, 0 * pixels], 2)
            Image.fromarray(red).save(maps / "3.png")
        else:
            gray.save(maps / "4.png")
    report = score_maps(maps, folders[1])
    assert report.problems == [] and len(report.rows) == 5
    assert report.notes == ["resized to the truth's size, bilinearly: 2"]
    for name in ("0", "1", "4"):
        assert report.rows[name] == pytest.approx(plain.rows[name], abs=1e-9)
    # a red map is as gray as its luminance; stretched, it is what it was, to rounding
    assert report.rows["3"]["MAE"] == pytest.approx(plain.rows["3"]["MAE"], abs=0.01)
    assert report.rows["2"]["S"] == pytest.approx(plain.rows["2"]["S"], abs=0.1)


def test_gray_truths_and_sixteen_bits_as_they_are(tmp_path: Path) -> None:
    for part in ("maps", "truths"):
        (tmp_path / part).mkdir()
    wide = np.array([[0, 20_000, 40_000, 65_535]] * 3, np.uint16)
    Image.fromarray(wide).save(tmp_path / "maps" / "a.png")
    Image.fromarray(np.array([[0, 128, 129, 255]] * 3, np.uint8)).save(tmp_path / "truths/a.png")
    report = score_maps(tmp_path / "maps", tmp_path / "truths", normalize=False)
    mistakes = np.array([0, 20_000, 65_535 - 40_000, 0]) / 65_535  # 128 is not salient, 129 is
    assert report.scores["MAE"] == pytest.approx(mistakes.mean(), abs=1e-12)


def test_many_names_are_cut_short(folders: tuple[Path, Path]) -> None:
    for number in range(8):
        Image.new("L", (9, 9)).save(folders[0] / f"more{number}.png")
    (note,) = score_maps(*folders).notes
    assert note.endswith("more0, more1, more2, more3, more4 and 3 more")


def test_nothing_to_score(folders: tuple[Path, Path], lessons: Lessons, tmp_path: Path) -> None:
    code, out, err = lessons(tmp_path / "nowhere", folders[1])
    assert (code, out) == (1, "") and "nowhere: there is no such folder" in err
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match=r"no map could be scored; .*empty: no map 0"):
        score_maps(empty, folders[1])
    with pytest.raises(DataError, match=r"no map could be scored; .*empty: no picture in this"):
        score_maps(folders[0], empty)


def test_a_table_is_written_whole_or_not_at_all(
    folders: tuple[Path, Path], lessons: Lessons, tmp_path: Path
) -> None:
    code, _, err = lessons(*folders, "--csv", tmp_path / "nowhere" / "t.csv")
    assert code == 1 and "there is no such folder" in err
    assert not (tmp_path / "nowhere").exists()


def test_truths_of_zero_and_one(folders: tuple[Path, Path], lessons: Lessons) -> None:
    plain = score_maps(*folders)
    for path in folders[1].iterdir():
        mask = (np.array(Image.open(path)) > 0).astype(np.uint8)
        if path.stem == "0":
            Image.fromarray(mask).save(path)
        elif path.stem == "1":
            Image.fromarray(mask.astype(np.uint16)).save(path)
        elif path.stem == "2":  # Pascal VOC's second colour is a dark red
            palette = Image.fromarray(mask, "P")
            palette.putpalette([0, 0, 0, 128, 0, 0])
            palette.save(path)
        elif path.stem == "3":
            Image.fromarray(np.stack([mask, 0 * mask, 0 * mask], 2)).save(path)
        else:  # the palette of a file that was turned round: the colours count
            palette = Image.fromarray(1 - mask, "P")
            palette.putpalette([255, 255, 255, 0, 0, 0])
            palette.save(path)
    report = score_maps(*folders)
    assert report.rows == plain.rows and report.notes == [] == report.problems


def test_empty_and_full_truths_are_named(folders: tuple[Path, Path], lessons: Lessons) -> None:
    truths = folders[1]
    shape = np.array(Image.open(truths / "0.png")).shape
    Image.fromarray(np.zeros(shape, np.uint8)).save(truths / "0.png")
    Image.fromarray(np.full((21, 29), 255, np.uint8)).save(truths / "1.png")
    blue = np.zeros((22, 28, 3), np.uint8)
    blue[5:15, 6:20, 2] = 255
    Image.fromarray(blue).save(truths / "2.png")
    turned = Image.fromarray(np.ones((23, 27), np.uint8), "P")  # black, by its second colour
    turned.putpalette([255, 255, 255, 9, 9, 9])
    turned.save(truths / "3.png")
    code, out, err = lessons(*folders)
    assert code == 0 and out.startswith("5 maps")
    assert err.splitlines() == [
        "lessons: note: nothing is salient in the truth: 0, 2, 3",
        "lessons: note: everything is salient in the truth: 1",
    ]
