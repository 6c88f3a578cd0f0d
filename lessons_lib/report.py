"""All results in tables: the ledger's runs, and what the papers report for the same systems on their own data.

Appendix C is printed by these functions. Nothing is typed there: runs come from the ledger, the papers'
figures, each with its source and how far it was checked, from ``results/papers.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lessons_lib.recipes import RECIPES
from lessons_lib.training.evaluate import PACKAGED
from lessons_lib.training.ledger import read_ledger

PARTS = {"convolution": 1, "semantic": 2, "detection": 3, "embedding": 4, "saliency": 5}
"""The part of the book that a package belongs to."""
TABLES: dict[int, tuple[tuple[str, ...], ...]] = {
    1: (("accuracy",),),
    2: (("mean_iou", "pixel_accuracy", "ambiguous_iou"),),
    3: (("AP50", "AP", "mask_AP50", "mask_AP"), ("dsb_50", "aji", "sbd", "absolute_dic")),
    4: (("sbd", "absolute_dic", "AP50", "AP"), ("dsb_50", "dsb_mean", "aji", "pq")),
    5: (
        ("closeness", "error", "best_of_16"),
        ("energy_distance", "best_of_n", "depth_before", "depth_after"),
        ("S", "F_mean", "E_mean", "MAE"),
    ),
}
"""The measures of each part's tables. A system stands in a table that has one of its measures."""
NEGATED = "neg_"
"""Begins the name of a measure that is best when small, turned round because a score is best when large."""


@dataclass
class Runs:
    """Runs of one system with one set of options, which differ in their seed.

    Attributes:
        recipe, variant, preset: ``variant`` is "" where the options are the preset's.
        entries: of the ledger, one a seed.
    """

    recipe: str
    variant: str
    preset: str
    entries: list[dict[str, Any]] = field(default_factory=list)

    def values(self, measure: str) -> list[float]:
        """The measure of each run that has it; that of a score turned round under its own name."""
        found = []
        for entry in self.entries:
            metrics = entry["metrics"]
            if measure in metrics:
                found.append(metrics[measure])
            elif NEGATED + measure in metrics:
                found.append(-metrics[NEGATED + measure])
        return found

    def text(self, measure: str) -> str:
        """Mean and range, "-" where no run has the measure."""
        values = self.values(measure)
        if not values:
            return "-"
        mean = f"{sum(values) / len(values):.3f}"
        return mean if len(values) == 1 else f"{mean} ({min(values):.3f}–{max(values):.3f})"


def part_of(recipe: str) -> int:
    """Number of the book's part that a recipe belongs to.

    Raises:
        KeyError: there is no recipe of that name.
    """
    return PARTS[type(RECIPES[recipe]).__module__.split(".")[1]]


def grouped(entries: Sequence[Mapping[str, Any]]) -> list[Runs]:
    """The runs by recipe, in the order of the book, preset, and variant, the plain one first."""
    groups: dict[tuple[str, str, str], Runs] = {}
    for entry in entries:
        key = entry["recipe"], entry["preset"], entry.get("variant", "")
        group = groups.setdefault(key, Runs(key[0], key[2], key[1]))
        group.entries.append(dict(entry))
    order = {name: place for place, name in enumerate(RECIPES)}
    return [groups[key] for key in sorted(groups, key=lambda k: (order[k[0]], k[1:]))]


def devices(entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A letter for each kind of hardware, by what the ledger calls it, most runs first."""
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry["device"]] = counts.get(entry["device"], 0) + 1
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return {name: chr(ord("a") + place) for place, name in enumerate(names)}


def shown(part: int, measures: Sequence[str]) -> list[Runs]:
    """The runs of one part that have at least one of the measures.

    Raises:
        ValueError: for a part that is not 1 to 5.
    """
    if part not in TABLES:
        raise ValueError(f"part is {part}; it must be one of {', '.join(map(str, TABLES))}")
    everything = grouped([e for e in read_ledger() if part_of(e["recipe"]) == part])
    return [runs for runs in everything if any(runs.values(measure) for measure in measures)]


def results_table(part: int, measures: Sequence[str]) -> str:
    """The runs of one part that have one of the measures, as text.

    A line has the system, and below it its variants; the preset; the number of seeds; mean minutes and the
    hardware's letter, as :func:`devices` has it; and for each measure mean and range over the seeds.

    Raises:
        ValueError: for a part that is not 1 to 5.
    """
    letters = devices(read_ledger())
    rows = [("system", "preset", "seeds", "minutes", "on", *measures)]
    above = ""
    for runs in shown(part, measures):
        if runs.variant and runs.recipe != above:
            rows.append((runs.recipe, *[""] * (4 + len(measures))))
        above = runs.recipe
        minutes = sum(e["seconds"] for e in runs.entries) / len(runs.entries) / 60
        on = "".join(sorted({letters[e["device"]] for e in runs.entries}))
        name = f"  {runs.variant}" if runs.variant else runs.recipe
        texts = [runs.text(measure) for measure in measures]
        rows.append((name, runs.preset, str(len(runs.entries)), f"{minutes:.1f}", on, *texts))
    return table(rows)


def papers_table(part: int) -> str:
    """The papers' figures of one part, each beside ours *on other data*, as text."""
    content = json.loads((PACKAGED / "papers.json").read_text("utf-8"))
    everything = grouped(read_ledger())
    rows = [("system and source", "their data", "measure", "theirs", "", "ours")]
    for system in content["systems"]:
        if system["part"] != part:
            continue
        mine = [
            runs
            for runs in everything
            if (runs.recipe, runs.variant) == (system["recipe"], system["variant"])
            and runs.preset == "quick"
        ]
        lines = [system["system"], f"  {system['source']}"]
        for place, figure in enumerate(system["figures"]):
            ours = mine[0].text(figure["ours"]) if mine and figure["ours"] else "-"
            rows.append(
                (
                    lines.pop(0) if lines else "",
                    system["data"] if place == 0 else "",
                    figure["measure"],
                    f"{figure['value']:g} %" if figure["unit"] else f"{figure['value']:.3f}",
                    MARKS[system["status"]],
                    ours,
                )
            )
        rows += [(line, "", "", "", "", "") for line in lines]
    return table(rows)


MARKS = {"paper": "p", "code": "c", "unverified": "?"}


def marks() -> str:
    """What the marks of :func:`papers_table` mean."""
    status = json.loads((PACKAGED / "papers.json").read_text("utf-8"))["status"]
    return "\n".join(f"{mark}  {status[name]}" for name, mark in MARKS.items())


def not_run() -> Iterator[tuple[str, str, str]]:
    """Recipe, preset and summary of all that has no entry; ``live`` is run by the reader and never has one."""
    known = {(entry["recipe"], entry["preset"]) for entry in read_ledger()}
    for name, recipe in RECIPES.items():
        for preset, settings in recipe.presets.items():
            if preset != "live" and (name, preset) not in known:
                yield name, preset, settings.summary


def benchmarks() -> Iterator[tuple[str, str]]:
    """Name and table of each stored benchmark, with the machine that it ran on."""
    for path in sorted((PACKAGED / "benchmarks").glob("*.json")):
        content = json.loads(path.read_text("utf-8"))
        facts = [f"{name}: {value}" for name, value in content.items() if _is_plain(value)]
        lists = [value for value in content.values() if isinstance(value, list)]
        named = [value for value in content.values() if isinstance(value, dict)]
        text = [*facts, *(_of_rows(rows) for rows in lists), *(_of_rows([row]) for row in named)]
        yield path.stem, "\n".join(text)


def _is_plain(value: Any) -> bool:
    return not isinstance(value, list | dict)


def _of_rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table of rows with the same names; names and texts first."""
    names = sorted(rows[0], key=lambda name: (not isinstance(rows[0][name], str), name))
    return table([names, *([str(row.get(name, "-")) for name in names] for row in rows)])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest entry, flush left, the first row underlined."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])
