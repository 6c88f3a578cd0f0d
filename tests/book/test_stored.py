"""What nbval does not look at: holes through which a stale or careless notebook would pass."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
IMAGES = {"image/png", "image/jpeg", "image/svg+xml"}
FENCE = re.compile(r"^ *(```|~~~).*?^ *\1", re.M | re.S)
# An absolute path: a slash that begins a word, and a second one. No URL, no closing tag, no 1/2/3.
PATH = re.compile(r"(?<![\w./:<~])(?:~|/[\w.+-]+)/[\w.+-]+|\b[A-Za-z]:\\\w")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def markdown(notebook: NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def text(output: NotebookNode) -> str:
    """Everything an output says in words."""
    if output.output_type == "stream":
        return str(output.text)
    if output.output_type == "error":
        return "\n".join([output.evalue, *output.traceback])
    return "\n".join(str(output.data.get(kind, "")) for kind in ("text/plain", "text/html"))


def tags(cell: NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def test_contents_list_every_notebook(root: Path, notebooks: list[Path]) -> None:
    listed = re.findall(r"file: *(\S+)", (root / "_toc.yml").read_text("utf-8"))
    assert yaml.safe_load((root / "_toc.yml").read_text("utf-8"))["format"] == "jb-book"
    found = {path.relative_to(root).with_suffix("").as_posix() for path in notebooks}
    assert found <= set(listed)
    assert [name for name in listed if not list(root.glob(f"{name}.*"))] == []


def test_valid_and_run_in_order(notebook: NotebookNode) -> None:
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    # nbval passes a cell that was never run: null count, no outputs
    assert counts == list(range(1, len(counts) + 1))


def test_canonical(path: Path, notebook: NotebookNode) -> None:
    ids = [cell["id"] for cell in notebook.cells]
    assert ids == [f"c{number:02d}" for number in range(len(ids))], "run tools/write_notebooks.py"
    assert notebook.metadata["language_info"] == {"name": "python"}
    assert not any("execution" in cell.metadata for cell in notebook.cells)
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    assert sorted(state) == [f"{path.stem}-w{number:03d}" for number in range(len(state))]


def test_source(notebook: NotebookNode) -> None:
    for cell in code_cells(notebook):
        assert not cell.source.rstrip().endswith(";"), f"{cell.id}: write `_ = …`, not `…;`"
        long = [line for line in cell.source.splitlines() if len(line) >= 80]
        # the setup cell holds the public address, however long that is
        assert not long or "setup" in tags(cell), f"{cell.id}: 80 characters or more: {long}"
        assert "nbval-skip" not in tags(cell), cell.id
        assert not re.search(r"#\s*(NBVAL|PYTEST_VALIDATE)_", cell.source), f"{cell.id}: use tags"


def test_outputs(notebook: NotebookNode) -> None:
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    for cell in code_cells(notebook):
        for output in cell.outputs:
            stderr = output.output_type == "stream" and output.name == "stderr"
            assert not stderr, f"{cell.id}: {output.text}"
            if output.output_type == "error":
                assert "raises-exception" in tags(cell), f"{cell.id}: {output.evalue}"
            said = text(output)
            assert not re.search(r"\w*Warning\b", said), f"{cell.id}: {said}"
            assert not PATH.search(said), f"{cell.id}: a local path: {PATH.search(said)}"
            if VIEW in output.get("data", {}):
                model = output.data[VIEW]["model_id"]
                assert model in state, f"{cell.id}: the page would show nothing"


def test_pictures_have_alt_text(notebook: NotebookNode) -> None:
    for cell in code_cells(notebook):
        kinds = {
            kind
            for output in cell.outputs
            if VIEW not in output.get("data", {})  # a figure with its own alternative text
            for kind in output.get("data", {})
        }
        if kinds & IMAGES:
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 3, f'{cell.id}: {{"mystnb": {{"image": {{"alt": "…"}}}}}}'
    for source in markdown(notebook):
        assert not re.search(r"!\[\s*\]\(", source), source
        for image in re.findall(r"<img[^>]*>", source):
            assert re.search(r'alt="[^"]+', image), image


def test_mostly_checked(notebook: NotebookNode) -> None:
    shown = [cell for cell in code_cells(notebook) if cell.outputs]
    ignored = [cell.id for cell in shown if "nbval-ignore-output" in tags(cell)]
    assert len(ignored) <= len(shown) / 3, f"{len(ignored)} of {len(shown)}: {ignored}"


def test_size(path: Path) -> None:
    assert path.stat().st_size <= 400_000


def test_lab_names_its_data(path: Path, notebook: NotebookNode) -> None:
    if path.parent.name == "labs":
        assert notebook.metadata.get("lessons", {}).get("data"), "see book/labs/conftest.py"


def test_length(path: Path, notebook: NotebookNode, is_chapter: Callable[[Path], bool]) -> None:
    if not is_chapter(path):
        return  # a lab is as long as its pictures need
    prose = " ".join(FENCE.sub(" ", source) for source in markdown(notebook))
    words = [word for word in re.sub(r"<[^>]+>", " ", prose).split() if re.search(r"\w", word)]
    assert 2000 <= len(words) <= 4000
    assert 25 <= len(notebook.cells) <= 45
