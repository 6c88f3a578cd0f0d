"""What one update of the confusion matrix costs, beside one `torch.bincount`.

    python benchmarks/confusion_matrix.py

The yardstick is `torch.bincount` alone, of a combined int64 map `truth * classes + prediction` that was
made beforehand. An update has to make such a map, check every label and leave out ignored pixels as well.
The calls take turns, so that each finds the caches as the others left them, as in a real evaluation.
Labels come in blocks as in a street scene, nine in ten predictions are right, 5 % of the truth is ignored.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from timing import machine
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from lessons_lib.semantic import ConfusionMatrix

IGNORE = 255
SIZES = ((1, 256, 256), (8, 256, 256), (1, 1024, 2048), (4, 1024, 2048))


def maps(size: tuple[int, int, int], classes: int) -> tuple[Tensor, Tensor]:
    """Prediction and truth, int64 of the size."""
    generator = torch.Generator().manual_seed(0)
    pictures, height, width = size
    coarse = torch.randint(classes, (pictures, height // 16, width // 16), generator=generator)
    truth = coarse.repeat_interleave(16, 1).repeat_interleave(16, 2)
    chance = torch.rand(size, generator=generator)
    guess = torch.randint(classes, size, generator=generator)
    return torch.where(chance < 0.9, truth, guess), truth.masked_fill(chance > 0.95, IGNORE)


def in_turn(calls: dict[str, Callable[[], object]], repeats: int = 15) -> dict[str, float]:
    """Median milliseconds of each call, the first round not counted."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - began)
    return {name: 1000 * statistics.median(took[1:]) for name, took in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(machine())
    print(f"{args.classes} classes; times of bincount in brackets")
    print(f"{'pictures':15}{'bincount':>10}{'int64':>18}{'uint8':>18}{'torchmetrics':>18}")
    for size in SIZES:
        predicted, truth = maps(size, args.classes)
        combined = (truth.clamp(max=args.classes - 1) * args.classes + predicted).flatten()
        narrow = predicted.byte(), truth.byte()
        ours = ConfusionMatrix(args.classes, IGNORE)
        other = MulticlassConfusionMatrix(args.classes, ignore_index=IGNORE)
        calls = {
            "bincount": lambda c=combined: torch.bincount(c, minlength=args.classes**2),
            "int64": lambda p=predicted, t=truth, m=ours: m.update(p, t),
            "uint8": lambda pair=narrow, m=ours: m.update(*pair),
            "torchmetrics": lambda p=predicted, t=truth, m=other: m.update(p, t),
        }
        took = in_turn(calls)
        one = took.pop("bincount")
        line = f"{'x'.join(map(str, size)):15}{one:7.2f} ms"
        for milliseconds in took.values():
            line += f"{milliseconds:8.2f} ms ({milliseconds / one:4.1f})"
        print(line)


if __name__ == "__main__":
    main()
