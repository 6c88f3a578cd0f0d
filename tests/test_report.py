"""Appendix C: every run is in a table, its numbers are the ledger's, and the papers' figures have a source."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lessons_lib import report
from lessons_lib.recipes import RECIPES
from lessons_lib.training import read_ledger
from lessons_lib.training.evaluate import PACKAGED
from lessons_lib.training.ledger import ledger_files, ledger_name

PAGE = Path(__file__).resolve().parents[1] / "book" / "appendix_c_results.ipynb"
PAPERS = json.loads((PACKAGED / "papers.json").read_text("utf-8"))


def test_every_run_is_in_a_table() -> None:
    found = {
        ledger_name(entry)
        for part, groups in report.TABLES.items()
        for measures in groups
        for runs in report.shown(part, measures)
        for entry in runs.entries
    }
    assert found == {path.stem for path in ledger_files()}


def test_the_stored_page_shows_every_system() -> None:
    """Fails after a new run until the notebook is run again."""
    cells = json.loads(PAGE.read_text("utf-8"))["cells"]
    text = "".join(
        "".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", [])
    )
    lines = {tuple(line.split()[:2]) for line in text.splitlines() if line.strip()}
    for entry in read_ledger():
        assert (entry.get("variant", entry["recipe"]), entry["preset"]) in lines, entry["recipe"]
    assert re.search(rf"\b{len(read_ledger())} of {len(read_ledger())} entries", text)


def test_numbers_are_the_ledgers() -> None:
    text = report.results_table(2, ("mean_iou", "pixel_accuracy"))
    (line,) = [row for row in text.splitlines() if row.startswith("shapes-unet ")]
    runs = [e for e in read_ledger("shapes-unet", "quick") if "variant" not in e]
    values = np.array([e["metrics"]["mean_iou"] for e in runs])
    minutes = np.mean([e["seconds"] for e in runs]) / 60
    assert f"{values.mean():.3f} ({values.min():.3f}–{values.max():.3f})" in line
    assert line.split()[1:4] == ["quick", str(len(runs)), f"{minutes:.1f}"]
    (variant,) = [row for row in text.splitlines() if row.startswith("  no-skips ")]
    (alone,) = [e for e in read_ledger("shapes-unet") if e.get("variant") == "no-skips"]
    assert f"{alone['metrics']['mean_iou']:.3f} " in variant and "(" not in variant


def entry(recipe: str, seed: int, **changed: Any) -> dict[str, Any]:
    plain = {"preset": "quick", "seconds": 60, "device": "CPU", "metrics": {"AP": 0.5}}
    return {"recipe": recipe, "seed": seed, **plain, **changed}


def test_runs_are_grouped_in_the_order_of_the_book() -> None:
    entries = [
        entry("sticks-spatial", 0),
        entry("shapes-unet", 1, variant="sum"),
        entry("shapes-unet", 1, preset="long"),
        entry("shapes-unet", 0),
        entry("shapes-unet", 1),
    ]
    groups = report.grouped(entries)
    assert [(g.recipe, g.preset, g.variant, len(g.entries)) for g in groups] == [
        ("shapes-unet", "long", "", 1),
        ("shapes-unet", "quick", "", 2),
        ("shapes-unet", "quick", "sum", 1),
        ("sticks-spatial", "quick", "", 1),
    ]
    letters = report.devices([*entries, entry("shapes-unet", 2, device="a GPU")])
    assert letters == {"CPU": "a", "a GPU": "b"}


def test_a_score_turned_round_is_shown_as_it_is_known() -> None:
    runs = report.Runs("x", "", "quick", [entry("x", 0, metrics={"neg_energy_distance": -0.25})])
    assert runs.values("energy_distance") == [0.25] and runs.text("energy_distance") == "0.250"
    assert runs.text("AP") == "-"


def test_parts_are_those_of_the_packages() -> None:
    for name, part in (("digits-cnn", 1), ("voc-pspnet", 2), ("shapes-ssd", 3)):
        assert report.part_of(name) == part
    assert {report.part_of(name) for name in RECIPES} == set(report.TABLES)
    with pytest.raises(ValueError, match="part is 6; it must be one of 1, 2, 3, 4, 5"):
        report.shown(6, ("AP",))


def test_what_has_not_run_has_no_entry() -> None:
    waiting = {(name, preset) for name, preset, _ in report.not_run()}
    known = {(e["recipe"], e["preset"]) for e in read_ledger()}
    presets = {(n, p) for n, recipe in RECIPES.items() for p in recipe.presets if p != "live"}
    assert waiting == presets - known and ("nju2k-ucnet", "paper") in waiting


@pytest.mark.parametrize("system", PAPERS["systems"], ids=lambda s: f"{s['system']} {s['data']}")
def test_a_papers_figure_has_a_source_and_a_status(system: dict[str, Any]) -> None:
    assert system["source"] and system["data"] and system["status"] in PAPERS["status"]
    assert report.part_of(system["recipe"]) == system["part"]
    for figure in system["figures"]:
        assert figure["unit"] in ("", "%")
        assert 0 < figure["value"] <= (100 if figure["unit"] else 1)
    table = report.papers_table(system["part"])
    assert system["source"] in table and system["data"] in table
    assert all(len(line) < 140 for line in table.splitlines())


def test_marks_are_explained() -> None:
    assert PAPERS["status"].keys() == report.MARKS.keys()
    assert [line[0] for line in report.marks().splitlines()] == list(report.MARKS.values())


def test_benchmarks_name_their_machine() -> None:
    tables = dict(report.benchmarks())
    assert tables.keys() == {path.stem for path in (PACKAGED / "benchmarks").glob("*.json")}
    assert all("machine: " in text for text in tables.values())
    assert "Mask R-CNN" in tables["detectors"]
