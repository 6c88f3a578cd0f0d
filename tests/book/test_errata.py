"""Appendix B: every row is there once, and its link leads to the cell that shows it."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "book" / "appendix_b_errata.md").read_text("utf-8")
ROW = re.compile(r"^(\d+)\. (.*)$", re.M)
LINK = re.compile(r'<a href="([^"#]+)\.html#(errata-\d\d)">Chapter (\d+)</a>')
ANCHOR = re.compile(r'<a id="(errata-[^"]*)"></a>')
ROWS = {int(number): text for number, text in ROW.findall(PAGE)}
COUNT = 49


def anchors() -> dict[str, list[tuple[Path, NotebookNode, NotebookNode | None]]]:
    """Of each anchor in the book: its notebook, its cell, and the cell after that."""
    found: dict[str, list[tuple[Path, NotebookNode, NotebookNode | None]]] = {}
    for path in sorted(ROOT.glob("book/**/*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        for cell, after in zip(cells, [*cells[1:], None], strict=True):
            for name in ANCHOR.findall(cell.source):
                found.setdefault(name, []).append((path, cell, after))
    return found


ANCHORS = anchors()


def test_every_row_is_there_once_and_in_order() -> None:
    numbers = [int(number) for number, _ in ROW.findall(PAGE)]
    assert numbers == list(range(1, COUNT + 1))
    assert PAGE.count("<a href=") == len(LINK.findall(PAGE)), "a link of another form"


@pytest.mark.parametrize("number", range(1, COUNT + 1))
def test_a_row_leads_to_what_shows_it(number: int) -> None:
    links = LINK.findall(ROWS[number])
    if not links:
        assert re.search(r"\(Nothing to show: \w.*\.\)$", ROWS[number])
        return
    ((page, anchor, chapter),) = links
    assert anchor == f"errata-{number:02d}" and int(page[:2]) == int(chapter)
    places = ANCHORS.get(anchor, [])
    assert [path.stem for path, _, _ in places] == [page]
    _, cell, after = places[0]
    assert cell.cell_type == "markdown"
    before_code = after is not None and after.cell_type == "code"
    assert before_code or re.search(r"</a>, in words: \w.*\.\)$", ROWS[number])


def test_no_anchor_is_left_over() -> None:
    linked = {anchor for _, anchor, _ in LINK.findall(PAGE)}
    assert ANCHORS.keys() == linked
