"""What boxes, vectors and spatial embeddings cost on the same nuclei: to train, and to predict.

    python benchmarks/nuclei_systems.py [--threads 1] [--steps 20] [--store]

Needs the pictures of the 2018 Data Science Bowl (`lessons data fetch nuclei`). A step is that of the preset
`quick`, with the making of its batch, by the median of `--steps`, after two that do not count; the systems take
turns. Prediction, from the prepared picture to the map of instances, is timed once over all held-out pictures, with the
weights that come with the package. `--store` writes lessons_lib/results/benchmarks/nuclei_systems.json:

    machine      processor, threads and torch's version
    pictures     how many were predicted
    systems      a list of
        recipe, parameters
        step_ms, steps, minutes      of a step, of how many in `quick`, and their product
        predict_s                    seconds for all pictures
        small_ms                     milliseconds of a picture of 256 x 256 px, median
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
from timing import machine

from lessons_lib.recipes import get_recipe
from lessons_lib.training import load_weights
from lessons_lib.training.evaluate import PACKAGED
from lessons_lib.training.recipe import collate
from lessons_lib.training.state import write_json

SYSTEMS = ("nuclei-mask-rcnn", "nuclei-discriminative", "nuclei-spatial")


def training_steps(name: str, count: int) -> Iterator[float]:
    """Seconds of each of so many steps."""
    recipe = get_recipe(name)
    preset = recipe.preset("quick")
    data: Any = recipe.training_data(preset.options, count * preset.batch_size, 0)
    torch.manual_seed(0)
    model = recipe.model(preset.options).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), preset.learning_rate)
    for step in range(count):
        began = time.perf_counter()
        first = step * preset.batch_size
        batch = collate([data[i] for i in range(first, first + preset.batch_size)])
        batch["image"] = batch["image"].contiguous(memory_format=torch.channels_last)
        terms = recipe.training_terms(model, batch, preset.options)
        optimizer.zero_grad()
        sum(terms.values()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), preset.clip_norm)
        optimizer.step()
        yield time.perf_counter() - began


@torch.inference_mode()
def predictions(name: str) -> tuple[list[float], list[tuple[int, int]]]:
    """Seconds and size of each held-out picture."""
    recipe = get_recipe(name)
    model, facts = load_weights(recipe)
    model.to(memory_format=torch.channels_last)
    data: Any = recipe.validation_data({**facts["options"], "leave_out": ""})
    times, sizes = [], []
    for i in range(len(data)):
        image = data[i]["image"][None]
        if i == 0:
            recipe.infer(model, {"image": image}, facts["options"])
        began = time.perf_counter()
        recipe.infer(model, {"image": image}, facts["options"])
        times.append(time.perf_counter() - began)
        sizes.append((image.shape[2], image.shape[3]))
    return times, sizes


def measure(steps: int) -> dict[str, Any]:
    """The table, see the top of this file."""
    taken: dict[str, list[float]] = {name: [] for name in SYSTEMS}
    running = {name: training_steps(name, steps + 2) for name in SYSTEMS}
    for _ in range(steps + 2):
        for name in SYSTEMS:
            taken[name].append(next(running[name]))
    rows = []
    for name in SYSTEMS:
        recipe = get_recipe(name)
        preset = recipe.preset("quick")
        times, sizes = predictions(name)
        step = statistics.median(taken[name][2:])
        small = [t for t, size in zip(times, sizes, strict=True) if size == (256, 256)]
        rows.append(
            {
                "recipe": name,
                "parameters": sum(p.numel() for p in recipe.model(preset.options).parameters()),
                "step_ms": round(1000 * step, 1),
                "steps": preset.steps,
                "minutes": round(step * preset.steps / 60, 1),
                "predict_s": round(sum(times), 1),
                "small_ms": round(1000 * statistics.median(small), 1),
            }
        )
    return {"machine": machine(), "pictures": len(times), "systems": rows}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--store", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    table = measure(args.steps)
    print(table["machine"])
    print(
        f"{'':24}{'a step':>10}{'quick':>14}{'all pictures':>14}{'256 x 256':>11}{'parameters':>12}"
    )
    for row in table["systems"]:
        print(f"{row['recipe']:24}{row['step_ms']:7.0f} ms{row['minutes']:10.1f} min"
              f"{row['predict_s']:12.1f} s{row['small_ms']:8.0f} ms{row['parameters']:12,}")  # fmt: skip
    if args.store:
        folder = PACKAGED / "benchmarks"
        folder.mkdir(exist_ok=True)
        write_json(folder / "nuclei_systems.json", table)


if __name__ == "__main__":
    main()
