"""The setup cell: silent outside Colab, and there it installs the library and nothing else.

That Colab's own packages suffice for it is checked in tests/test_metadata.py.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import yaml
from nbformat import NotebookNode


def setup_source(notebook: NotebookNode) -> str:
    (cell,) = [cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", [])]
    assert cell.outputs == []
    return str(cell.source)


def pip_lines(source: str, colab: bool, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs the cell in IPython with a %pip that only listens."""
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    if colab:
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    lines: list[str] = []
    shell = InteractiveShell.instance()
    shell.register_magic_function(lines.append, "line", "pip")
    shell.run_cell(source).raise_error()
    return lines


def test_silent_elsewhere(notebook: NotebookNode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert pip_lines(setup_source(notebook), colab=False, monkeypatch=monkeypatch) == []


def test_colab_installs_the_library_alone(
    notebook: NotebookNode, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line,) = pip_lines(setup_source(notebook), colab=True, monkeypatch=monkeypatch)
    repository = yaml.safe_load((root / "_config.yml").read_text("utf-8"))["repository"]
    options = ["install", "--quiet", "--no-deps"]
    assert line.split() == [*options, f"git+{repository['url']}@{repository['branch']}"]
