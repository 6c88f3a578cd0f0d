"""Takes a finished run into the package: its ledger entry, and its weights in bytes.

    python tools/record_run.py runs/sticks-discriminative-quick-seed0 [--weights] [--variant NAME]

`--weights` stores them as the recipe's packaged weights; `--variant` names a run with other
settings than its preset has.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from lessons_lib.recipes import get_recipe
from lessons_lib.training.evaluate import PACKAGED, measure_pictures
from lessons_lib.training.ledger import ledger_name
from lessons_lib.training.state import read_weights, save_weights, write_json

LARGEST = 2_000_000  # bytes of a weights file
PLACES = 4


def record(folder: Path, weights: bool, variant: str | None) -> None:
    """Writes the files of one run; the metrics are rounded, and given by kind where there are kinds."""
    entry = json.loads((folder / "ledger.json").read_text(encoding="utf-8"))
    recipe = get_recipe(entry["recipe"])
    if variant:
        entry["variant"] = variant
    options = entry["settings"]["options"]
    model = recipe.model(options)
    tensors, facts = read_weights(folder / "last.safetensors")
    facts["options"] = options
    model.load_state_dict(tensors)
    rows = measure_pictures(recipe, model, options, progress=True)
    kinds = sorted({row["kind"] for row in rows if "kind" in row})
    if kinds:
        entry["kinds"] = {
            kind: {"pictures": len(chosen), **rounded(recipe.summarize(numbers(chosen)))}
            for kind in kinds
            if (chosen := [row for row in rows if row["kind"] == kind])
        }
    entry["metrics"] = rounded(recipe.summarize(numbers(rows)))
    entry["pictures"] = len(rows)
    write_json(PACKAGED / "ledger" / f"{ledger_name(entry)}.json", entry)
    if weights:
        path = PACKAGED / "weights" / f"{recipe.name}.safetensors"
        save_weights(model, path, facts, small=True)
        if path.stat().st_size > LARGEST:
            path.unlink()
            raise SystemExit(f"the weights of {folder} exceed {LARGEST} bytes")


def numbers(rows: list[dict]) -> list[dict]:
    """Rows without their labels."""
    return [{k: v for k, v in row.items() if k not in ("id", "kind")} for row in rows]


def rounded(metrics: dict[str, float]) -> dict[str, float]:
    """Four places: what differs between machines is not worth a place in a file."""
    return {name: round(value, PLACES) for name, value in metrics.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weights", action="store_true")
    parser.add_argument("--variant")
    args = parser.parse_args()
    record(args.folder, args.weights, args.variant)
    return 0


if __name__ == "__main__":
    sys.exit(main())
