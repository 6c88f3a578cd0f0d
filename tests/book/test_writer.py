"""The canonical writer: same bytes twice, nothing stored that should not be."""

from __future__ import annotations

import base64
import io
import subprocess
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from PIL import Image

Tool = Callable[..., "subprocess.CompletedProcess[str]"]
STATE = "application/vnd.jupyter.widget-state+json"
FIGURE = """\
import matplotlib.pyplot as plt
fig, ax = plt.subplots(figsize=(3, 2), dpi=72)
_ = ax.plot([1, 3, 2])"""
WIDGETS = """\
import ipywidgets
for _ in range(3):
    ipywidgets.IntSlider()  # created, never shown
a, b = ipywidgets.IntSlider(3), ipywidgets.IntText(3)
link = ipywidgets.jslink((a, "value"), (b, "value"))
ipywidgets.VBox([a, ipywidgets.HBox([b])])"""
TIMED = "import time\nprint(time.time())"


def write(path: Path, *cells: str, ignored: tuple[str, ...] = ()) -> Path:
    notebook = nbformat.v4.new_notebook()
    for source in cells:
        tags = {"tags": ["nbval-ignore-output"]} if source in ignored else {}
        notebook.cells.append(nbformat.v4.new_code_cell(source, metadata=tags))
    nbformat.write(notebook, path)
    return path


@pytest.fixture(scope="module")
def written(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("writer") / "small.ipynb"
    loop = 'import sys\nfor i in range(3):\n    print(i)\n    sys.stdout.flush()\n"end"'
    write(path, loop, FIGURE, WIDGETS)
    run = tool("write_notebooks", path)
    assert run.returncode == 0, run.stderr
    return path


def test_same_bytes_twice(tool: Tool, written: Path) -> None:
    before = written.read_bytes()
    assert tool("write_notebooks", "--check", written).returncode == 0
    assert tool("write_notebooks", written).returncode == 0
    assert written.read_bytes() == before
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_canonical_form(written: Path) -> None:
    notebook = nbformat.read(written, as_version=4)
    assert [cell["id"] for cell in notebook.cells] == ["c00", "c01", "c02"]
    assert [cell.execution_count for cell in notebook.cells] == [1, 2, 3]
    assert all(cell.metadata == {} for cell in notebook.cells)
    stream, result = notebook.cells[0].outputs
    assert (stream.text, result.data["text/plain"]) == ("0\n1\n2\n", "'end'")
    assert notebook.metadata["language_info"] == {"name": "python"}


def test_figures_have_a_palette_and_no_metadata(written: Path) -> None:
    notebook = nbformat.read(written, as_version=4)
    png = base64.b64decode(notebook.cells[1].outputs[0].data["image/png"])
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        assert image.mode == "P"
        assert not {"dpi", "Software"} & set(image.info)


def test_widget_models(written: Path) -> None:
    """Numbered in order of creation, the unseen ones dropped, all references renamed."""
    notebook = nbformat.read(written, as_version=4)
    state = notebook.metadata["widgets"][STATE]["state"]
    names = [model["model_name"] for model in state.values()]
    assert names.count("IntSliderModel") == 1
    assert {"IntTextModel", "VBoxModel", "HBoxModel", "LinkModel"} <= set(names)
    assert sorted(state) == [f"small-w{number:03d}" for number in range(len(state))]
    (output,) = notebook.cells[2].outputs
    shown = output.data["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert state[shown]["model_name"] == "VBoxModel"
    for model in state.values():
        for value in str(model["state"]).split("IPY_MODEL_")[1:]:
            assert value[: len("small-w000")] in state


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import sys\nprint('hm', file=sys.stderr)", "wrote to stderr"),
        ("import warnings\nwarnings.warn('old')", "wrote to stderr"),
        ("1 / 0", "ZeroDivisionError"),
    ],
    ids=["stderr", "warning", "error"],
)
def test_refuses(tool: Tool, tmp_path: Path, source: str, said: str) -> None:
    path = write(tmp_path / "bad.ipynb", "1", source)
    before = path.read_bytes()
    run = tool("write_notebooks", path)
    assert run.returncode == 1
    assert said in run.stderr
    assert path.read_bytes() == before


def test_expected_errors_are_stored_without_paths(tool: Tool, tmp_path: Path) -> None:
    path = write(tmp_path / "error.ipynb", "import json\njson.loads('{')")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].metadata["tags"] = ["raises-exception"]
    nbformat.write(notebook, path)
    assert tool("write_notebooks", path).returncode == 0
    (output,) = nbformat.read(path, as_version=4).cells[0].outputs
    assert output.ename == "JSONDecodeError"
    assert "json.loads" in "".join(output.traceback)
    assert "decoder.py" not in "".join(output.traceback)


def test_check_names_the_cell(tool: Tool, tmp_path: Path) -> None:
    path = write(tmp_path / "timed.ipynb", "print(1)", TIMED)
    assert tool("write_notebooks", path).returncode == 0
    run = tool("write_notebooks", "--check", path)
    assert run.returncode == 1
    assert "differs in c01" in run.stdout
    write(path, "print(1)", TIMED, ignored=(TIMED,))
    assert tool("write_notebooks", path).returncode == 0
    assert tool("write_notebooks", "--check", path).returncode == 0
