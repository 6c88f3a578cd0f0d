"""What pyproject.toml promises: all that the library imports, and nothing newer than Colab has."""

from __future__ import annotations

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
TOML: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
REQUIREMENTS = [Requirement(line) for line in TOML["project"]["dependencies"]]


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_colab_has_what_the_library_needs(requirement: Requirement) -> None:
    """The book's setup cell installs with --no-deps: right while Colab's own versions satisfy us."""
    text = (ROOT / "tools" / "colab-pins.txt").read_text("utf-8")
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", text, re.M))
    assert requirement.name in pins, "tools/colab-pins.txt should say which version Colab has"
    (bound,) = requirement.specifier
    assert bound.operator == ">=", (
        "lower bounds only: the library never holds a reader's packages back"
    )
    assert Version(bound.version) <= Version(pins[requirement.name])


def test_every_import_is_a_dependency() -> None:
    imported = set()
    for path in (ROOT / "lessons_lib").rglob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):  # what only type checkers read is not imported
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                imported.add(node.module.split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"lessons_lib"}
    declared = {canonicalize_name(requirement.name) for requirement in REQUIREMENTS}
    owners = packages_distributions()
    for name in sorted(foreign):
        assert declared & {canonicalize_name(owner) for owner in owners[name]}, name


def test_one_python_everywhere() -> None:
    """The oldest Python is the one that ruff and mypy check for."""
    oldest = TOML["project"]["requires-python"].removeprefix(">=")
    assert TOML["tool"]["mypy"]["python_version"] == oldest
    assert TOML["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
