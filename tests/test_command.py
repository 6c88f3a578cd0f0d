"""The `lessons` command, in this process: what it prints, writes and refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest

from lessons_lib import __version__
from lessons_lib.__main__ import main
from lessons_lib.recipes import RECIPES
from lessons_lib.training import read_ledger

SETTINGS = {
    "steps": "3",
    "batch_size": "2",
    "warmup": "1",
    "size": "32",
    "count": "2",
    "width": "5",
    "stick_length": "[14, 18]",
    "min_visible": "20",
    "margin": "4",
    "depth": "2",
    "validation": "2",
}
TINY = [part for name, value in SETTINGS.items() for part in ("--set", f"{name}={value}")]
LEDGER = import_module("lessons_lib.training.ledger")
WEIGHTS = import_module("lessons_lib.training.evaluate")  # in the package a function of that name
Lessons = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lessons(capsys: pytest.CaptureFixture[str]) -> Lessons:
    """lessons("list") runs the command: its exit code, what it printed, what it complained."""

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny run."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    assert main(["train", "sticks-discriminative", *tiny(folder)]) == 0
    return folder


def tiny(folder: Path) -> list[str]:
    return ["--preset", "live", *TINY, "--out", str(folder)]


def metrics_of(printed: str) -> dict[str, float]:
    return {
        name: float(value) for name, value in re.findall(r"^(\w+) +(-?\d+\.\d+)$", printed, re.M)
    }


def test_list_of_an_empty_ledger(
    lessons: Lessons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LEDGER, "PACKAGED", tmp_path)
    code, printed, _ = lessons("list")
    assert code == 0
    for recipe in RECIPES.values():
        assert f"{recipe.name}: {recipe.summary}\n" in printed
        for name, preset in recipe.presets.items():
            assert re.search(rf"^  {name} +{re.escape(preset.summary)}\n +not run$", printed, re.M)


def test_list_of_runs(lessons: Lessons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LEDGER, "PACKAGED", tmp_path)
    run = {
        "recipe": "sticks-discriminative",
        "preset": "quick",
        "seed": 3,
        "metrics": {"sbd": 0.91234},
        "seconds": 12.3,
        "device": "an abacus",
    }
    (tmp_path / "ledger").mkdir()
    for name, entry in [("a", run), ("b", {**run, "seed": 4, "variant": "no-coordinates"})]:
        (tmp_path / "ledger" / f"{name}.json").write_text(json.dumps(entry), "utf-8")
    _, printed, _ = lessons("list")
    quick = RECIPES["sticks-discriminative"].presets["quick"].summary
    assert (
        f"  quick  {quick}\n"
        "         seed 3: sbd 0.912 in 12 s, an abacus\n"
        "         seed 4, no-coordinates: sbd 0.912 in 12 s, an abacus\n"
    ) in printed
    presets = sum(len(recipe.presets) for recipe in RECIPES.values())
    assert printed.count("not run") == presets - 1


def test_list_of_the_packages_own_ledger(lessons: Lessons) -> None:
    code, printed, _ = lessons("list")
    assert code == 0
    runs = len(read_ledger())
    assert len(re.findall(r"seed \d+.* in \d+ s, ", printed)) == runs


def test_train_evaluate_predict(lessons: Lessons, trained: Path, tmp_path: Path) -> None:
    """What one command writes, the next one reads."""
    ledger = json.loads((trained / "ledger.json").read_text("utf-8"))
    assert ledger["settings"]["steps"] == 3
    assert ledger["settings"]["options"]["stick_length"] == [14, 18]

    weights = trained / "last.safetensors"
    code, printed, _ = lessons("evaluate", "sticks-discriminative", "--weights", weights)
    assert code == 0
    assert metrics_of(printed) == pytest.approx(ledger["metrics"], abs=1e-4)

    picture = tmp_path / "odd.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8))
    chosen = ["--weights", weights, "--out", tmp_path / "out"]
    code, printed, _ = lessons("predict", "sticks-discriminative", picture, *chosen)
    assert code == 0
    labels = cv2.imread(str(tmp_path / "out" / "odd.labels.png"), cv2.IMREAD_UNCHANGED)
    assert labels.shape == (37, 53)
    assert printed == f"{picture}: {labels.max()} instances\n"


def test_resume(lessons: Lessons, trained: Path) -> None:
    stored = (trained / "last.safetensors").read_bytes()
    arguments = ["train", "sticks-discriminative", *tiny(trained)]
    code, _, complaint = lessons(*arguments)
    assert code == 1 and f"out is {trained}, which holds a run" in complaint
    code, printed, _ = lessons(*arguments, "--resume")
    assert code == 0
    ledger = json.loads((trained / "ledger.json").read_text("utf-8"))
    assert metrics_of(printed) == pytest.approx(ledger["metrics"], abs=1e-4)
    assert (trained / "last.safetensors").read_bytes() == stored
    code, _, complaint = lessons(*arguments, "--resume", "--set", "steps=4")
    assert code == 1 and "steps was 3, is 4" in complaint


def test_default_folder(lessons: Lessons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, printed, _ = lessons(
        "train", "sticks-discriminative", "--preset", "live", "--seed", 2, *TINY
    )
    assert code == 0 and "runs/sticks-discriminative-live-seed2" in printed
    ledger = tmp_path / "runs" / "sticks-discriminative-live-seed2" / "ledger.json"
    assert json.loads(ledger.read_text("utf-8"))["seed"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "stics"], r"recipe 'stics' is unknown; .*sticks-discriminative"),
        (["evaluate", "stics"], r"recipe 'stics' is unknown"),
        (["predict", "stics", "a.png", "--out", "o"], r"recipe 'stics' is unknown"),
        (["train", "sticks-discriminative", "--preset", "fast"], r"preset 'fast' .*live, quick"),
        (["train", "sticks-discriminative", "--set", "stepps=3"], r"setting 'stepps' is unknown"),
        (["train", "sticks-discriminative", "--set", "steps"], r"--set steps lacks an equals"),
        (["train", "sticks-discriminative", "--set", "steps=few"], r"steps is 'few'.*an? int"),
        (["train", "sticks-discriminative", "--set", "steps=0"], r"steps is 0"),
        (["train", "sticks-discriminative", "--set", "count=-1"], r"count is -1"),
        (["train", "nuclei-discriminative", "--root", "nowhere"], r"nowhere.*lessons data fetch"),
        (["evaluate", "sticks-discriminative", "--weights", "w"], r"weights file w does not exist"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_named(
    arguments: list[str],
    message: str,
    lessons: Lessons,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LESSONS_DATA", "elsewhere")  # and put back: --root replaces it
    code, printed, complaint = lessons(*arguments)
    assert code == 1 and printed == ""
    assert complaint.startswith("lessons: ") and "Traceback" not in complaint
    assert re.search(message, complaint, re.S), complaint


def test_weights_of_another_recipe(lessons: Lessons, trained: Path) -> None:
    weights = trained / "last.safetensors"
    code, _, complaint = lessons("evaluate", "nuclei-discriminative", "--weights", weights)
    assert code == 1
    assert f"{weights} holds weights of recipe sticks-discriminative" in complaint


def test_a_recipe_without_packaged_weights(
    lessons: Lessons, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WEIGHTS, "PACKAGED", tmp_path)
    code, _, complaint = lessons("evaluate", "sticks-discriminative")
    assert code == 1
    assert (
        "no weights of recipe sticks-discriminative" in complaint and "lessons train" in complaint
    )


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["trian"],
        ["train"],
        ["predict", "sticks-discriminative", "a.png"],
        ["data", "fetch", "x"],
    ],
    ids=" ".join,
)
def test_misuse(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2 and "usage: lessons" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out == f"lessons_lib {__version__}\n"


def test_data(lessons: Lessons, tmp_path: Path) -> None:
    """The rest of `lessons data` is in data/test_data_cli.py."""
    code, printed, _ = lessons("data", "list", "--root", tmp_path)
    assert code == 0 and f"root: {tmp_path}\n" in printed and "nuclei" in printed
    code, _, complaint = lessons("data", "check", "nuclei", "--root", tmp_path)
    assert code == 1 and str(tmp_path) in complaint
