"""The folder of a run, and the scalars that it collects."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from lessons_lib.training import state
from lessons_lib.training.recipe import Preset


def describe(preset: Preset) -> dict[str, Any]:
    """The settings of a preset, as JSON has them."""
    plain = {name: value for name, value in vars(preset).items() if name != "summary"}
    return json.loads(json.dumps({**plain, "options": dict(preset.options)}))


def claim_folder(
    out: str | Path | None, resume: bool, described: Mapping[str, Any], accelerator: Accelerator
) -> Path | None:
    """Makes the folder of a run and puts its settings there; refuses to mix two runs.

    Raises:
        ValueError: when a run is there and ``resume`` is false, or it had other settings.
    """
    if out is None:
        return None
    folder = Path(out)
    path = folder / "settings.json"
    if path.exists():
        if not resume:
            raise ValueError(
                f"out is {folder}, which holds a run; resume it or name another folder"
            )
        old = json.loads(path.read_text(encoding="utf-8"))
        different = sorted(name for name in described if old.get(name) != described[name])
        if different:
            raise ValueError(
                f"out is {folder}, which holds a run with other settings: "
                + ", ".join(f"{n} was {old.get(n)!r}, is {described[n]!r}" for n in different)
            )
    accelerator.wait_for_everyone()  # nobody writes before everybody has looked
    if accelerator.is_main_process:
        state.write_json(path, described)
    return folder


class Log:
    """Scalars: kept in memory, and in ``log.csv`` and TensorBoard files where there is a folder."""

    def __init__(self, folder: Path | None, accelerator: Accelerator) -> None:
        self.rows: list[dict[str, float]] = []
        self.folder = folder if accelerator.is_main_process else None
        self.accelerator = accelerator
        self.board: SummaryWriter | None = None

    def restore(self, rows: list[dict[str, float]]) -> None:
        """Forgets what a killed run logged after its last checkpoint."""
        self.rows = list(rows)

    def write(
        self, step: int, terms: Mapping[str, Tensor], learning_rate: float
    ) -> dict[str, float]:
        """The loss terms of a step, as their mean over all processes."""
        values = self.accelerator.reduce({k: v.detach().float() for k, v in terms.items()}, "mean")
        row = {name: float(value) for name, value in values.items()}
        row = {"step": step, "loss": sum(row.values()), **row, "learning_rate": learning_rate}
        return self._add(row)

    def write_metrics(self, step: int, metrics: Mapping[str, float]) -> None:
        """What an evaluation found."""
        self._add({"step": step, **metrics})

    def _add(self, row: dict[str, float]) -> dict[str, float]:
        step = int(row["step"])
        self.rows.append(row)
        if self.folder:
            if self.board is None:
                # steps from here on, that a killed run wrote, are hidden
                self.board = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step)
            for name, value in row.items():
                if name != "step":
                    self.board.add_scalar(name, value, step)
            state.write_csv(self.folder / "log.csv", self.rows)
        return row

    def close(self) -> None:
        """Writes out what TensorBoard still holds back."""
        if self.board:
            self.board.close()
