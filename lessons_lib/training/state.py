"""What a run leaves on disk: checkpoints, weights, logs, and its line in the ledger."""

from __future__ import annotations

import contextlib
import csv
import json
import platform
import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn


@contextlib.contextmanager
def isolated_random_state(seed: int) -> Iterator[None]:
    """Seeds Python's, NumPy's and torch's global generators inside, and puts them back after."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


class Checkpoints:
    """Folders ``step-000200`` below one folder; each appears whole or not at all."""

    def __init__(self, folder: Path, accelerator: Accelerator) -> None:
        self.folder = folder
        self.accelerator = accelerator

    def save(self, step: int, facts: Mapping[str, Any]) -> None:
        """Writes all state beside, then renames: a process killed meanwhile leaves the old one."""
        target = self.folder / f"step-{step:06d}"
        partial = target.with_suffix(".partial")
        if self.accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        self.accelerator.wait_for_everyone()
        self.accelerator.save_state(str(partial))
        self.accelerator.wait_for_everyone()  # each process writes its own random state
        if self.accelerator.is_main_process:
            (partial / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
            for old in self.complete()[:-1]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def restore(self) -> dict[str, Any] | None:
        """Loads the newest checkpoint; its facts, or ``None`` where there is none."""
        complete = self.complete()
        if not complete:
            return None
        self.accelerator.load_state(str(complete[-1]))
        return json.loads((complete[-1] / "facts.json").read_text(encoding="utf-8"))

    def complete(self) -> list[Path]:
        return sorted(path for path in self.folder.glob("step-*") if path.suffix != ".partial")


SCALE = "@scale"
"""Ends the name of what the codes of a tensor that is stored in bytes are multiplied by."""
LARGEST_HALF = 65504.0
LEAST_IN_BYTES = 1024
"""Numbers that a tensor must have to be stored in bytes; smaller ones cost little."""


def save_weights(
    model: nn.Module, path: Path, facts: Mapping[str, Any], small: bool = False
) -> None:
    """Writes a model's weights with the facts that rebuild it, as safetensors.

    Args:
        model: any module.
        path: of the file; replaced in one step.
        facts: JSON-able; kept in the file's header.
        small: store matrices and kernels in bytes, -127 to 127, with one scale for each row of their
            first axis (of a convolution: for each output channel), and other floating-point numbers in
            float16, unless one is too large for that. A byte is off by at most 0.4 % of its row's
            largest weight.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        value = value.detach().cpu().contiguous()
        if small and value.is_floating_point():
            if value.ndim > 1 and value.numel() >= LEAST_IN_BYTES:
                value, tensors[name + SCALE] = _in_bytes(value)
            elif float(value.abs().amax() if value.numel() else 0) <= LARGEST_HALF:
                value = value.half()
        tensors[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    save_file(tensors, str(partial), metadata={"lessons_lib": json.dumps(facts, sort_keys=True)})
    partial.replace(path)


def _in_bytes(value: Tensor) -> tuple[Tensor, Tensor]:
    """Codes int8 of the same shape, and the scale float32 of each row."""
    rows = value.float().flatten(1)
    scale = rows.abs().amax(1).clamp(min=1e-12) / 127
    return (rows / scale[:, None]).round().to(torch.int8).view(value.shape), scale


def read_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (floating point as float32) and the facts of a file of :func:`save_weights`.

    Raises:
        FileNotFoundError, ValueError: naming the file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"weights file {path} does not exist")
    try:
        with safe_open(str(path), "pt") as file:
            facts = json.loads((file.metadata() or {}).get("lessons_lib", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    if facts is None:
        raise ValueError(f"{path} was not written by lessons_lib: it does not say its recipe")
    scales = {n: tensors.pop(n) for n in list(tensors) if n.endswith(SCALE)}
    for name, scale in scales.items():
        codes = tensors[name.removesuffix(SCALE)].float()
        tensors[name.removesuffix(SCALE)] = codes * scale.view(-1, *[1] * (codes.ndim - 1))
    tensors = {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}
    return tensors, facts


def write_json(path: Path, content: Any) -> None:
    """Replaces a JSON file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    partial.replace(path)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replaces a CSV file in one step; columns in order of appearance."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(path)


def device_name(device: torch.device) -> str:
    """What a reader would call the device."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} thread(s), {platform.machine()}"


def versions() -> dict[str, str]:
    """Of Python and of the packages that results depend on."""
    names = ("lessons-lib", "accelerate", "numpy", "scikit-learn")
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,  # with its build, which the package's metadata leave out
        **{name: version(name) for name in names},
    }
