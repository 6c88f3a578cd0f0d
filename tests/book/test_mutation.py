"""nbval must notice a wrong output: every checked one is spoiled, exactly those cells must fail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

# What nbval compares, the kind that readers see first.
COMPARED = ("text/html", "image/svg+xml", "text/latex", "text/plain")


def spoil(notebook: NotebookNode) -> set[int]:
    """Changes one character of the last output of each checked cell; returns their numbers."""
    spoiled = set()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code):
        if not cell.outputs or "nbval-ignore-output" in cell.metadata.get("tags", []):
            continue
        output = cell.outputs[-1]
        if output.output_type == "stream":
            output.text = re.sub(r"\S(?=\s*\Z)", "~", output.text, count=1)
        elif output.output_type == "error":
            output.evalue += "~"
        else:
            kind = next(kind for kind in COMPARED if kind in output.data)
            output.data[kind] += "~"
        spoiled.add(number)
    return spoiled


def test_spoiled_outputs_fail(
    path: Path,
    notebook: NotebookNode,
    root: Path,
    tmp_path: Path,
    data_root: Callable[[str], Path],
) -> None:
    for name in notebook.metadata.get("lessons", {}).get("data", []):
        data_root(name)
    spoiled = spoil(notebook)
    copy = tmp_path / path.name
    nbformat.write(notebook, copy)
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-q", "-rf"]
    command += ["--nbval-cell-timeout", "300", "--color=no", "-p", "no:cacheprovider"]
    command += ["--nbval-sanitize-with", str(root / "tests/book/nbval_sanitize.cfg")]
    command += ["--rootdir", str(tmp_path), str(copy)]
    # A pytest inside a pytest worker must not take itself for one.
    environment = {key: value for key, value in os.environ.items() if "PYTEST" not in key}
    run = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    failed = {int(cell) for cell in re.findall(r"^FAILED .*::Cell (\d+)", run.stdout, re.M)}
    assert failed == spoiled, run.stdout[-3000:] + run.stderr[-1000:]
