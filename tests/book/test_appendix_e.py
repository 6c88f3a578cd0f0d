"""The notation, the glossary and the bibliography: complete, in order, and every link leads somewhere."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

import pytest

BOOK = Path(__file__).resolve().parents[2] / "book"
PAGE = (BOOK / "appendix_e_notation.md").read_text(encoding="utf-8")
ENTRY = re.compile(r"- \*\*(?P<term>.+?)\*\*: (?P<text>.+) \(\[.+?\]\((?P<link>[^)]+)\)\)")


def part(title: str) -> str:
    """The text of one section of the page."""
    return re.split(rf"^## {title}$", PAGE, flags=re.MULTILINE)[1].split("\n## ")[0]


def prose(path: Path) -> list[str]:
    """The lines of a notebook's text, code blocks left out."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL).split("\n")


def anchors(path: Path) -> set[str]:
    """The anchors of a notebook's headings, as GitHub and the builder name them."""
    found: dict[str, int] = {}
    for line in prose(path):
        if heading := re.match(r"#{1,3} +(.+)", line):
            slug = re.sub(r"[^\w\- ]", "", heading[1].strip().lower()).replace(" ", "-")
            found[slug] = found.get(slug, 0) + 1
    return {s if k == 0 else f"{s}-{k}" for s, count in found.items() for k in range(count)}


ENTRIES = [m.groupdict() for line in part("Glossary").split("\n") if (m := ENTRY.fullmatch(line))]


def test_every_line_of_the_glossary_is_an_entry() -> None:
    lines = [line for line in part("Glossary").split("\n") if line.startswith("-")]
    assert len(lines) == len(ENTRIES) >= 120
    assert f"\n{len(ENTRIES)} words" in part("Glossary")
    assert all(entry["text"].endswith(".") for entry in ENTRIES)


def test_terms_are_sorted_and_unique() -> None:
    terms = [entry["term"].lower() for entry in ENTRIES]
    assert terms == sorted(set(terms))


@pytest.mark.parametrize("link", sorted({entry["link"] for entry in ENTRIES}))
def test_a_link_leads_to_a_heading(link: str) -> None:
    name, _, anchor = link.partition("#")
    assert (BOOK / name).is_file(), link
    assert not anchor or anchor in anchors(BOOK / name), link


@pytest.mark.parametrize("title", ["Names and shapes", "Sizes", "Symbols"])
def test_symbols_are_unique_and_rows_whole(title: str) -> None:
    rows = [line for line in part(title).split("\n") if line.startswith("| ")]
    cells = [re.split(r"\s*\|(?=\s)\s*", row.strip("| ")) for row in rows]
    assert len({len(row) for row in cells}) == 1
    names = [row[0] for row in cells]
    assert len(names) == len(set(names)) > 10


def test_every_work_that_a_chapter_cites_is_in_the_bibliography() -> None:
    def plain(title: str) -> str:
        bare = unicodedata.normalize("NFKD", re.sub(r"\\.|[{}]", "", title).replace("×", "x"))
        return re.sub(r"[^a-z0-9]", "", bare.lower())

    bib = (BOOK / "references.bib").read_text(encoding="utf-8")
    known = {plain(t) for t in re.findall(r"^\s+title\s*=\s*\{(.+)\},?$", bib, re.MULTILINE)}
    keys = re.findall(r"^@\w+\{([^,]+),", bib, re.MULTILINE)
    assert keys == sorted(set(keys))
    lost = []
    for path in sorted(BOOK.glob("[01][0-9]_*.ipynb")):
        lines = prose(path)
        references = "\n".join(lines[lines.index("## References") :])
        for entry in re.split(r"^- ", references, flags=re.MULTILINE)[1:]:
            named = re.search(r"\*(.+?)\*", entry, re.DOTALL)
            title = plain(named[1]) if named else ""
            if not any(title and (k.startswith(title) or title.startswith(k)) for k in known):
                lost.append(f"{path.name}: {entry[:90]}")
    assert lost == []
