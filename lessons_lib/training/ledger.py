"""The ledger: one small JSON for each run that the book cites."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lessons_lib.training.evaluate import PACKAGED


def read_ledger(recipe: str | None = None, preset: str | None = None) -> list[dict[str, Any]]:
    """The entries that come with the package, sorted by recipe, preset and seed.

    Args:
        recipe, preset: only those of this name.
    """
    entries = [json.loads(path.read_text(encoding="utf-8")) for path in ledger_files()]
    chosen = [
        entry
        for entry in entries
        if recipe in (None, entry["recipe"]) and preset in (None, entry["preset"])
    ]
    return sorted(chosen, key=lambda entry: (entry["recipe"], entry["preset"], entry["seed"]))


def ledger_files() -> list[Path]:
    """The files of the packaged ledger."""
    return sorted((PACKAGED / "ledger").glob("*.json"))


def ledger_name(entry: dict[str, Any]) -> str:
    """Stem of an entry's file: recipe, variant where there is one, preset and seed."""
    parts = [entry["recipe"], entry.get("variant"), entry["preset"], f"seed{entry['seed']}"]
    return "-".join(part for part in parts if part)
