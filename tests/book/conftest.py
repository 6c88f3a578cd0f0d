"""The stored notebooks: one test for each, and what the tests of the book share."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted([*ROOT.glob("book/*.ipynb"), *ROOT.glob("book/labs/*.ipynb")])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the argument `path` runs once for every notebook of the book."""
    if "path" in metafunc.fixturenames:
        metafunc.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture
def notebook(path: Path) -> NotebookNode:
    """The stored notebook at `path`."""
    return nbformat.read(path, as_version=4)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def notebooks() -> list[Path]:
    """All notebooks of the book."""
    return NOTEBOOKS


@pytest.fixture(scope="session")
def tool() -> Callable[..., subprocess.CompletedProcess[str]]:
    """tool("stamp", "--check") runs a script of tools/ as a reader would."""

    def run(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "tools" / f"{name}.py"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)

    return run


@pytest.fixture(scope="session")
def is_chapter() -> Callable[[Path], bool]:
    """True for book/NN_name.ipynb."""
    return lambda path: path.parent.name == "book" and bool(re.match(r"\d\d_", path.name))
