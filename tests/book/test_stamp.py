"""Badges and setup cells carry the address that stands in _config.yml."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import nbformat

Tool = Callable[..., "subprocess.CompletedProcess[str]"]
CONFIG = "repository: {{url: https://example.org/{owner}/book, branch: {branch}}}\n"


def test_notebooks_agree_with_the_configuration(tool: Tool) -> None:
    run = tool("stamp", "--check")
    assert run.returncode == 0, run.stdout + run.stderr


def write(path: Path, first: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    code = nbformat.v4.new_code_cell("1 + 1")
    nbformat.write(
        nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(first), code]), path
    )


def test_stamps_follow_the_address(tool: Tool, tmp_path: Path) -> None:
    chapter, lab = tmp_path / "book/01_one.ipynb", tmp_path / "book/labs/two.ipynb"
    write(chapter, "# One\n\nWords.")
    write(lab, "# Two")
    for owner, branch in [("somebody", "main"), ("another", "v2")]:
        (tmp_path / "_config.yml").write_text(CONFIG.format(owner=owner, branch=branch))
        assert tool("stamp", "--root", tmp_path, "--check").returncode == 1
        assert tool("stamp", "--root", tmp_path).returncode == 0
        assert tool("stamp", "--root", tmp_path, "--check").returncode == 0
    first, setup, code = nbformat.read(chapter, as_version=4).cells
    colab = "https://colab.research.google.com/github/another/book/blob/v2/book"
    badge = f"[![Open in Colab](assets/open-in-colab.svg)]({colab}/01_one.ipynb)"
    assert first.source == f"# One\n\n{badge}\n\nWords."
    assert setup.source.endswith("git+https://example.org/another/book@v2")
    assert setup.metadata["tags"] == ["setup", "hide-input"]
    assert code.source == "1 + 1"
    first = nbformat.read(lab, as_version=4).cells[0]
    badge = f"[![Open in Colab](../assets/open-in-colab.svg)]({colab}/labs/two.ipynb)"
    assert first.source == f"# Two\n\n{badge}"


def test_a_notebook_without_title_is_named(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "_config.yml").write_text(CONFIG.format(owner="a", branch="b"))
    write(tmp_path / "book/01_one.ipynb", "No title")
    run = tool("stamp", "--root", tmp_path)
    assert run.returncode == 1
    assert "01_one.ipynb" in run.stderr
