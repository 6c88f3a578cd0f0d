"""What a picture costs R-CNN, SPP-net, Fast R-CNN and Faster R-CNN, without and with the proposals.

    python benchmarks/proposal_detectors.py [--pictures 20] [--store]

All see the same validation pictures of 128 x 128 px, one at a time, in one run; the first three also
the same proposals. Detectors have the weights that come with the package, or fresh ones where there
are none: they cost the same. A time is the median over the pictures, each after a call that does not
count. `--store` writes the table to lessons_lib/results/benchmarks/proposal_detectors.json.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from timing import machine
from torch import Tensor

from lessons_lib.detection import Search
from lessons_lib.recipes import get_recipe
from lessons_lib.training import load_weights
from lessons_lib.training.evaluate import PACKAGED
from lessons_lib.training.state import write_json

SYSTEMS = {
    "R-CNN": "shapes-rcnn",
    "SPP-net": "shapes-sppnet",
    "Fast R-CNN": "shapes-fast-rcnn",
    "Faster R-CNN": "shapes-faster-rcnn",
}
LEAST = 20.0
"""Fast R-CNN must be so many times as fast as R-CNN, the proposals not counted."""


def trained(recipe: str) -> torch.nn.Module:
    """The packaged detector, or a fresh one, laid out as in training."""
    known = get_recipe(recipe)
    try:
        model = load_weights(known)[0]
    except FileNotFoundError:
        model = known.model(known.preset("quick").options).eval()
    return model.to(memory_format=torch.channels_last)


def milliseconds(call: Callable[[Any], object], inputs: list[Any]) -> float:
    """Median over the inputs of the best of three calls, after one that does not count."""
    times = []
    for one in inputs:
        call(one)
        tries = []
        for _ in range(3):
            began = time.perf_counter()
            call(one)
            tries.append(time.perf_counter() - began)
        times.append(min(tries))
    return 1000 * statistics.median(times)


@torch.inference_mode()
def measure(pictures: list[Tensor]) -> dict[str, Any]:
    """Milliseconds of the search and of each system."""
    search = Search()
    boxes = [search(picture) for picture in pictures]
    pairs = list(zip(pictures, boxes, strict=True))
    found: dict[str, float] = {}
    for name, recipe in SYSTEMS.items():
        model = trained(recipe)
        if name == "Faster R-CNN":  # finds its own
            found[name] = milliseconds(lambda one, m=model: m([one[0]]), pairs)
        else:
            found[name] = milliseconds(lambda one, m=model: m([one[0]], proposals=[one[1]]), pairs)
    return {
        "machine": machine(),
        "pictures": len(pictures),
        "proposals": round(statistics.mean(map(len, boxes)), 1),
        "search_ms": round(milliseconds(search, pictures), 2),
        "detector_ms": {name: round(value, 2) for name, value in found.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--store", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    data: Any = get_recipe("shapes-faster-rcnn").validation_data({"validation": 200, "size": 128})
    table = measure([data[k]["image"] for k in range(args.pictures)])
    print(table["machine"])
    print(f"{table['pictures']} pictures, {table['proposals']} proposals a picture, "
          f"{table['search_ms']:.1f} ms to find them")  # fmt: skip
    print(f"{'':14}{'detector':>12}{'with search':>14}{'faster than R-CNN':>20}{'with search':>14}")
    times, search = table["detector_ms"], table["search_ms"]
    for name, value in times.items():
        whole = value + (0 if name == "Faster R-CNN" else search)
        print(f"{name:14}{value:9.1f} ms{whole:11.1f} ms{times['R-CNN'] / value:20.1f}"
              f"{(times['R-CNN'] + search) / whole:14.1f}")  # fmt: skip
    ratio = times["R-CNN"] / times["Fast R-CNN"]
    print(f"Fast R-CNN against R-CNN: {ratio:.1f} times, wanted {LEAST:.0f}")
    if args.store:
        folder = PACKAGED / "benchmarks"
        folder.mkdir(exist_ok=True)
        write_json(folder / "proposal_detectors.json", table)


if __name__ == "__main__":
    main()
