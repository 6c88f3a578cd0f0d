"""What the benchmark scripts share: timing, memory, and the machine they ran on."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch


def milliseconds(function: Callable[[], object], repeats: int = 15) -> float:
    """Median time of a call, after two calls that don't count."""
    for _ in range(2):
        function()
    times = []
    for _ in range(repeats):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        began = time.perf_counter()
        function()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def machine() -> str:
    """Processor, threads and torch's version."""
    cpuinfo = Path("/proc/cpuinfo")  # Linux has it
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.exists() else []
    models = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    name = ", ".join(sorted(models)) or platform.processor()
    return f"{name}, {torch.get_num_threads()} thread(s), torch {torch.__version__}"
