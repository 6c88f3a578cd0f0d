"""Runs notebooks from top to bottom and stores them in one canonical form.

    python tools/write_notebooks.py book/11_discriminative_loss.ipynb ...
    python tools/write_notebooks.py --check book/*.ipynb

A second run gives the same bytes wherever the outputs are the same. `--check` writes nothing: it
runs the notebooks and names every cell whose stored form would change, except cells tagged
`nbval-ignore-output`. A notebook that fails or writes to stderr is not stored.
"""

from __future__ import annotations

import argparse
import base64
import copy
import io
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before any numerical library starts in the kernel: sums in one order, on every machine.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
for variable in THREADS:
    os.environ[variable] = "1"

import nbformat  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import CellExecutionError  # noqa: E402
from nbformat import NotebookNode  # noqa: E402
from PIL import Image  # noqa: E402

VIEW = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
COLOURS = 128
LINKS = {"LinkModel", "DirectionalLinkModel"}
ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Refused(Exception):
    """A notebook that must not be stored; the message says why."""


def ignored(cell: NotebookNode) -> bool:
    """True for a cell whose outputs may differ from run to run."""
    return "nbval-ignore-output" in cell.metadata.get("tags", [])


def execute(notebook: NotebookNode, folder: Path, timeout: int) -> NotebookNode:
    """Runs a copy of the notebook in its folder and returns it with fresh outputs."""
    fresh = copy.deepcopy(notebook)
    fresh.metadata.pop("widgets", None)  # nbclient would leave an old state in place
    client = NotebookClient(
        fresh,
        timeout=timeout,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],  # the kernel's own advice on its connection
        resources={"metadata": {"path": str(folder)}},
    )
    try:
        client.execute()
    except CellExecutionError as error:
        raise Refused(f"a cell failed:\n{ANSI.sub('', str(error))}") from error
    return fresh


def canonical(notebook: NotebookNode, prefix: str) -> NotebookNode:
    """Gives an executed notebook its stored form."""
    notebook = rename_models(prune_models(notebook), prefix)
    count = 0
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"c{number:02d}"
        for key in ("execution", "collapsed", "scrolled", "ExecuteTime"):
            cell.metadata.pop(key, None)
        if cell.cell_type != "code":
            continue
        count += 1
        cell.execution_count = count
        cell.outputs = merge_streams(cell.outputs)
        for output in cell.outputs:
            clean_output(output, f"cell {number} (c{number:02d})")
            if output.output_type == "execute_result":
                output.execution_count = count
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    nbformat.validate(notebook)
    return notebook


def merge_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Joins stream outputs that follow each other: how a kernel cuts them is chance."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if (
            last is not None
            and output.output_type == last.output_type == "stream"
            and output.name == last.name
        ):
            last.text += output.text
        else:
            merged.append(output)
    return merged


def clean_output(output: NotebookNode, where: str) -> None:
    """Refuses stderr; makes figures small and tracebacks free of local files."""
    if output.output_type == "stream":
        if output.name == "stderr":
            raise Refused(f"{where} wrote to stderr:\n{output.text[:500]}")
        return
    if output.output_type == "error":
        frames = [ANSI.sub("", frame) for frame in output.traceback]
        output.traceback = [frame for frame in frames if not frame.startswith("File ")]
        return
    if "image/png" in output.data:
        output.data["image/png"] = small_png(output.data["image/png"])


def small_png(encoded: str) -> str:
    """Reduces a base64 PNG to a palette, without metadata; exact when it has few colours."""
    raw = base64.b64decode(encoded)
    with Image.open(io.BytesIO(raw)) as opened:
        image = opened.convert("RGBA")
    opaque = image.getextrema()[3] == (255, 255)
    if opaque:
        image = image.convert("RGB")
    # Median cut knows no transparency; the octree does.
    method = Image.Quantize.MEDIANCUT if opaque else Image.Quantize.FASTOCTREE
    reduced = image.quantize(COLOURS, method=method, dither=Image.Dither.NONE)
    best = b""
    for candidate in (reduced, image):
        buffer = io.BytesIO()
        candidate.save(buffer, "PNG", optimize=True)
        if not best or len(buffer.getvalue()) < len(best):
            best = buffer.getvalue()
    return base64.b64encode(best).decode("ascii")


def models_of(notebook: NotebookNode) -> dict[str, Any]:
    """The stored widget models by id, in order of creation."""
    state = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    return dict(state)


def views_of(cells: list[NotebookNode]) -> Iterator[str]:
    """Ids of the models shown by these cells."""
    for cell in cells:
        for output in cell.get("outputs", []):
            if VIEW in output.get("data", {}):
                yield output.data[VIEW]["model_id"]


def reachable(models: dict[str, Any], roots: Iterator[str]) -> set[str]:
    """Models shown, the models they consist of, and links between models that are kept."""
    inside = {
        name: {found for found in re.findall(r'IPY_MODEL_([^"\\]+)', json.dumps(model))}
        for name, model in models.items()
    }
    kept: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        if name in models and name not in kept:
            kept.add(name)
            waiting += inside[name]
        if not waiting:
            waiting += [
                link
                for link, model in models.items()
                if link not in kept and model["model_name"] in LINKS and inside[link] <= kept
            ]
    return kept


def prune_models(notebook: NotebookNode) -> NotebookNode:
    """Drops models that no output shows, and layout values that only repeat the default."""
    models = models_of(notebook)
    kept = reachable(models, views_of(notebook.cells))
    state = {}
    for name, model in models.items():
        if name not in kept:
            continue
        values = model["state"]
        if model["model_name"] == "LayoutModel" or model["model_name"].endswith("StyleModel"):
            # ipywidgets itself writes embedded state this way (drop_defaults): absent means None.
            values = {key: value for key, value in values.items() if value is not None}
        if model["model_name"] == "OutputModel":
            values = {**values, "msg_id": ""}
        model = {**model, "state": values}
        if "buffers" in model:
            model["buffers"] = sorted(model["buffers"], key=lambda buffer: str(buffer["path"]))
        state[name] = model
    notebook.metadata.pop("widgets", None)
    if state:
        notebook.metadata["widgets"] = {
            STATE: {"state": state, "version_major": 2, "version_minor": 0}
        }
    return notebook


def rename_models(notebook: NotebookNode, prefix: str) -> NotebookNode:
    """Replaces the random ids of widget models, everywhere, by their number of creation."""
    names = list(models_of(notebook))
    if not names:
        return notebook
    fixed = {name: f"{prefix}-w{number:03d}" for number, name in enumerate(names)}
    pattern = re.compile("|".join(map(re.escape, names)))
    text = pattern.sub(lambda match: fixed[match[0]], json.dumps(notebook))
    return nbformat.from_dict(json.loads(text))


def text_of(notebook: NotebookNode) -> str:
    """The bytes to store: keys sorted, one blank of indentation, a last newline."""
    return nbformat.writes(notebook).rstrip("\n") + "\n"


def write_atomically(path: Path, text: str) -> None:
    """Replaces the file in one step: whoever reads meanwhile sees the old or the new one."""
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="\n", dir=path.parent, suffix=".tmp", delete=False
    ) as file:
        file.write(text)
    temporary = Path(file.name)
    temporary.chmod(path.stat().st_mode if path.exists() else 0o644)
    temporary.replace(path)


def stored_form(notebook: NotebookNode, cell: NotebookNode) -> str:
    """What --check compares of one cell: the cell and the models its outputs show."""
    cell = copy.deepcopy(cell)
    if ignored(cell):
        cell.outputs = []
    models = models_of(notebook)
    shown = reachable(models, views_of([cell]))
    return json.dumps([cell, {name: models[name] for name in sorted(shown)}], sort_keys=True)


def differing_cells(stored: NotebookNode, fresh: NotebookNode) -> list[str]:
    """Ids of the cells whose stored form is not what a fresh run gives."""
    return [
        new["id"]
        for old, new in zip(stored.cells, fresh.cells, strict=True)
        if stored_form(stored, old) != stored_form(fresh, new)
    ]


def process(path: Path, check: bool, timeout: int) -> bool:
    """Writes or checks one notebook; False when a check found a difference."""
    started = time.perf_counter()
    stored = nbformat.read(path, as_version=4)
    fresh = canonical(execute(stored, path.resolve().parent, timeout), path.stem)
    seconds = time.perf_counter() - started
    if check:
        cells = differing_cells(stored, fresh)
        print(f"{path}: {seconds:.1f} s, " + (f"differs in {', '.join(cells)}" if cells else "ok"))
        return not cells
    write_atomically(path, text_of(fresh))
    print(f"{path}: {seconds:.1f} s, {path.stat().st_size / 1000:.0f} kB")
    return True


def main() -> int:
    """Command line; 0 when every notebook was stored, or is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("notebooks", nargs="+", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing, name what differs")
    parser.add_argument("--timeout", type=int, default=300, help="seconds a cell may take")
    options = parser.parse_args()
    good = True
    for path in options.notebooks:
        try:
            good &= process(path, options.check, options.timeout)
        except Refused as error:
            print(f"{path}: not stored, {error}", file=sys.stderr)
            good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
