"""The book's solutions pass their checkers, and wrong answers are refused with a helpful message.

An exercise's solution is a Markdown cell with metadata {"exercise": NAME}: inside `<details>`, one
```python block that brings its own imports and defines a function NAME. Its checker is
`lessons_lib.exercises.check_NAME(function)`: it returns True, or raises NotYet with what to look
at. Wrong answers are files wrong_answers/NAME_what_is_wrong.py that define NAME too.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
WRONG = sorted((Path(__file__).parent / "wrong_answers").glob("*.py"))
CODE = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def cells(kind: str) -> list[tuple[Path, NotebookNode]]:
    """All cells of a kind in the book, with their notebooks."""
    paths = sorted([*ROOT.glob("book/*.ipynb"), *ROOT.glob("book/labs/*.ipynb")])
    notebooks = [(path, nbformat.read(path, as_version=4)) for path in paths]
    return [(path, cell) for path, nb in notebooks for cell in nb.cells if cell.cell_type == kind]


MARKDOWN = cells("markdown")
SOLUTIONS = [(c.metadata["exercise"], c.source) for _, c in MARKDOWN if "exercise" in c.metadata]
NAMES = [name for name, _ in SOLUTIONS]


def owner(path: Path) -> str | None:
    """The exercise that a wrong answer belongs to: the longest name that its file begins with."""
    fitting = [name for name in NAMES if path.stem.startswith(f"{name}_")]
    return max(fitting, key=len, default=None)


def exercises() -> ModuleType:
    return importlib.import_module("lessons_lib.exercises")


def define(code: str, name: str, where: str) -> Callable[..., object]:
    """Runs an answer in an empty namespace and returns its function."""
    namespace: dict[str, object] = {"__name__": "answer"}
    exec(compile(code, where, "exec"), namespace)
    function = namespace.get(name)
    assert callable(function), f"{where} defines no function {name}"
    return function


def test_every_solution_is_found() -> None:
    """Nothing escapes: no block of code in <details> without its exercise, no name twice."""
    for path, cell in MARKDOWN:
        if "<details>" in cell.source and CODE.search(cell.source):
            assert "exercise" in cell.metadata, f"{path.name} {cell.id}: metadata lack the exercise"
    assert len(set(NAMES)) == len(NAMES), NAMES
    chapters = {path.name for path, _ in MARKDOWN if re.match(r"\d\d_", path.name)}
    with_one = {path.name for path, cell in MARKDOWN if "exercise" in cell.metadata}
    assert chapters <= with_one, "a chapter without exercises, or their metadata were lost"


def test_every_checker_is_used() -> None:
    try:
        module = exercises()
    except ModuleNotFoundError:
        assert not NAMES, "exercises in the book, but no lessons_lib.exercises"
        pytest.skip("no exercises yet")
    checkers = {name.removeprefix("check_") for name in dir(module) if name.startswith("check_")}
    assert checkers == set(NAMES)


def test_every_wrong_answer_has_an_exercise() -> None:
    assert [path.name for path in WRONG if owner(path) is None] == []


@pytest.mark.parametrize("name", NAMES)
def test_two_wrong_answers_each(name: str) -> None:
    assert sum(owner(path) == name for path in WRONG) >= 2


@pytest.mark.parametrize(("name", "source"), SOLUTIONS, ids=NAMES)
def test_solution_passes(name: str, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = re.findall(r"<details>(.*?)</details>", source, re.S)
    blocks = [block for part in hidden for block in CODE.findall(part)]
    assert len(blocks) == 1, f"{name}: {len(blocks)} python blocks inside <details>"
    function = define(blocks[0], name, f"solution of {name}")
    assert getattr(exercises(), f"check_{name}")(function) is True
    assert capsys.readouterr().out.strip(), "a checker that is content says so"


@pytest.mark.parametrize("path_", WRONG, ids=lambda path: path.stem)
def test_wrong_answer_is_refused(path_: Path) -> None:
    name = owner(path_)
    assert name is not None
    function = define(path_.read_text("utf-8"), name, path_.name)
    module = exercises()
    with pytest.raises(module.NotYet) as refusal:
        getattr(module, f"check_{name}")(function)
    assert len(str(refusal.value).split()) >= 5, "the message should help"
