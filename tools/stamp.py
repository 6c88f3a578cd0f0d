"""Writes the book's public address into every notebook: the Colab badge and the setup cell.

    python tools/stamp.py            stamp
    python tools/stamp.py --check    only say which notebooks do not agree with _config.yml

The address stands in one place, `repository` in _config.yml.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import nbformat
import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
SETUP = """\
# Colab only: fetch the book's library; all that it needs is already there.
import sys

if "google.colab" in sys.modules:
    %pip install --quiet --no-deps git+{url}@{branch}"""
SETUP_TAGS = ["setup", "hide-input"]
BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")


def badge(root: Path, path: Path, url: str, branch: str) -> str:
    """The link to this notebook on Colab, with a picture of the book's own."""
    picture = Path(os.path.relpath(root / "book/assets/open-in-colab.svg", path.parent)).as_posix()
    place = urlsplit(url).path.strip("/")
    file = path.relative_to(root).as_posix()
    target = f"https://colab.research.google.com/github/{place}/blob/{branch}/{file}"
    return f"[![Open in Colab]({picture})]({target})"


def stamp(notebook: NotebookNode, link: str, setup: str) -> None:
    """Puts the badge under the title and the setup cell where it is, or second if there is none."""
    first = notebook.cells[0]
    if first.cell_type != "markdown" or not first.source.startswith("# "):
        raise ValueError("the first cell must be Markdown and begin with the title, '# …'")
    if BADGE.search(first.source):
        first.source = BADGE.sub(lambda _: link, first.source)
    else:
        title, _, rest = first.source.partition("\n")
        first.source = f"{title}\n\n{link}\n\n{rest.lstrip()}".rstrip()
    cells = [cell for cell in notebook.cells if "setup" in cell.metadata.get("tags", [])]
    if len(cells) > 1:
        raise ValueError("more than one cell is tagged 'setup'")
    if not cells:
        cells = [nbformat.v4.new_code_cell()]
        notebook.cells.insert(1, cells[0])
    cells[0].source = setup
    cells[0].metadata["tags"] = SETUP_TAGS


def main() -> int:
    """Command line; with --check, 1 when a notebook does not agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--root", type=Path, default=ROOT, help="the folder of _config.yml")
    options = parser.parse_args()
    root = options.root.resolve()
    repository = yaml.safe_load((root / "_config.yml").read_text("utf-8"))["repository"]
    url, branch = repository["url"].removesuffix(".git").rstrip("/"), repository["branch"]
    setup = SETUP.format(url=url, branch=branch)
    stale = 0
    for path in sorted([*root.glob("book/*.ipynb"), *root.glob("book/labs/*.ipynb")]):
        name = path.relative_to(root)
        notebook = nbformat.read(path, as_version=4)
        before = nbformat.writes(notebook)
        try:
            stamp(notebook, badge(root, path, url, branch), setup)
        except ValueError as error:
            raise SystemExit(f"{name}: {error}") from error
        if nbformat.writes(notebook) == before:
            continue
        stale += 1
        if options.check:
            print(f"{name}: badge or setup cell is not the one for {url}@{branch}")
        else:
            path.write_text(nbformat.writes(notebook).rstrip("\n") + "\n", "utf-8")
            print(f"{name}: stamped with {url}@{branch}")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
