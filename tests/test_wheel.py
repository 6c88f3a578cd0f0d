"""The library as a reader installs it: a wheel, in an environment that has never seen the checkout."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

import cv2
import numpy as np
import pytest

from lessons_lib.recipes import RECIPES
from lessons_lib.training import read_ledger

ROOT = Path(__file__).resolve().parents[1]
RECIPE = "sticks-discriminative"
Run = Callable[..., str]

pytestmark = pytest.mark.slow


def finish(command: list[str], folder: Path) -> str:
    """Runs a command without the variables that could lead it back to the checkout."""
    own = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LESSONS_DATA"}
    environment = {name: value for name, value in os.environ.items() if name not in own}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: the checkout gets no build/, and none of its old files get into the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    unwanted = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "lessons_lib", source / "lessons_lib", ignore=unwanted)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    finish([sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", "..", "."], source)
    shutil.rmtree(source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def run(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """run("lessons", "list") runs a program of a fresh environment in an empty folder."""
    folder = tmp_path_factory.mktemp("reader")
    environment = folder / "environment"
    finish([sys.executable, "-m", "venv", "--without-pip", str(environment)], folder)
    python = environment / "bin" / "python"
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(finish([str(python), "-c", where], folder).strip())
    # The other packages are those of the tests. Lines of .pth files are not followed from there on,
    # so that an editable installation of the checkout stays out of sight.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n", "utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    quiet = ["--no-deps", "--no-index", "--ignore-installed", "--disable-pip-version-check"]
    finish([*pip, *quiet, str(wheel)], folder)

    def start(program: str, *arguments: object) -> str:
        return finish([str(environment / "bin" / program), *map(str, arguments)], folder)

    return start


def test_what_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        facts = Parser().parsestr(archive.read(metadata).decode("utf-8"))
    inside = {name for name in names if ".dist-info/" not in name}
    source = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "lessons_lib").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert inside == source
    assert sum(name.endswith(".safetensors") for name in inside) >= 9
    assert any(name.startswith("lessons_lib/results/ledger/") for name in inside)
    assert facts["License-Expression"] == "BSD-3-Clause"
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_import_is_the_wheels(run: Run) -> None:
    code = "import lessons_lib, sys; print(lessons_lib.__file__, *sys.path, sep='\\n')"
    imported, *path = run("python", "-c", code).splitlines()
    assert "environment" in Path(imported).parts
    assert not Path(imported).is_relative_to(ROOT)
    assert str(ROOT) not in path


def test_version(run: Run, wheel: Path) -> None:
    assert run("lessons", "--version") == f"lessons_lib {wheel.name.split('-')[1]}\n"


def test_list(run: Run) -> None:
    printed = run("lessons", "list")
    assert all(f"{name}: " in printed for name in RECIPES)
    runs = read_ledger()
    assert runs and len(re.findall(r"seed \d+.* in \d+ s, ", printed)) == len(runs)


def test_predict(run: Run, tmp_path: Path) -> None:
    """A scene like those that the packaged weights were trained on: about as many sticks as it has."""
    recipe = RECIPES[RECIPE]
    scene = recipe.validation_data(recipe.preset("quick").options)[0]
    pixels = (scene["image"][0].numpy() * 255).round().astype(np.uint8)
    cv2.imwrite(str(tmp_path / "pic.png"), pixels)
    printed = run("lessons", "predict", RECIPE, tmp_path / "pic.png", "--out", tmp_path / "out")
    (found,) = map(int, re.findall(r"pic\.png: (\d+) instances", printed))
    assert abs(found - int(scene["instances"].max())) <= 2
    labels = cv2.imread(str(tmp_path / "out" / "pic.labels.png"), cv2.IMREAD_UNCHANGED)
    assert labels.shape == pixels.shape and labels.max() == found
    with (tmp_path / "out" / "pic.csv").open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == found


def test_evaluate(run: Run) -> None:
    """The packaged weights are as good as the ledger says."""
    printed = run("lessons", "evaluate", RECIPE)
    (score,) = map(float, re.findall(rf"^{RECIPES[RECIPE].score} +(\S+)$", printed, re.M))
    known = [entry["metrics"][RECIPES[RECIPE].score] for entry in read_ledger(RECIPE)]
    assert min(abs(score - value) for value in known) < 0.02
