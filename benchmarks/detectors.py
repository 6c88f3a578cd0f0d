"""What a picture costs every detector of the book, and what it gives for it.

    python benchmarks/detectors.py [--pictures 20] [--store]

All see the same validation pictures of 128 x 128 px, one at a time, in one run, with the weights that
come with the package; weights or a ledger entry that are not there are an error. A time is the median
over the pictures, each the best of three calls after one that does not count. `--store` writes
lessons_lib/results/benchmarks/detectors.json:

    machine      processor, threads and torch's version
    pictures     how many
    proposals    of selective search in a picture, mean
    search_ms    milliseconds of selective search
    detectors    a list in the order of the book, of
        name, recipe, chapter
        search       whether it needs selective search
        detector_ms  milliseconds of a picture without the search
        ms           with it, where it needs it
        parameters   of the network
        AP50, AP     of boxes on the 200 validation scenes, from the ledger: quick, seed 0
        upright      whether these numbers are of scenes without turned shapes (HOG), which are easier
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

import torch
from proposal_detectors import milliseconds
from timing import machine
from torch import Tensor

from lessons_lib.detection import Search
from lessons_lib.recipes import get_recipe
from lessons_lib.training import load_weights, read_ledger
from lessons_lib.training.evaluate import PACKAGED
from lessons_lib.training.state import write_json

SYSTEMS = [  # name, recipe, chapter, whether it needs the search
    ("HOG and SVM", "shapes-hog-svm", 6, False),
    ("R-CNN", "shapes-rcnn", 7, True),
    ("SPP-net", "shapes-sppnet", 7, True),
    ("Fast R-CNN", "shapes-fast-rcnn", 7, True),
    ("Faster R-CNN", "shapes-faster-rcnn", 8, False),
    ("YOLO v1", "shapes-yolov1", 9, False),
    ("YOLO v2", "shapes-yolov2", 9, False),
    ("YOLO v3", "shapes-yolov3", 9, False),
    ("SSD", "shapes-ssd", 9, False),
    ("RetinaNet", "shapes-retinanet", 9, False),
    ("Mask R-CNN", "shapes-mask-rcnn", 10, False),
]


def entry_of(recipe: str) -> dict[str, Any]:
    """The ledger's entry of the packaged weights: quick, seed 0, no variant.

    Raises:
        FileNotFoundError: if there is none.
    """
    for entry in read_ledger(recipe, "quick"):
        if entry["seed"] == 0 and "variant" not in entry:
            return entry
    raise FileNotFoundError(f"the ledger has no quick run of {recipe} with seed 0")


@torch.inference_mode()
def measure(pictures: list[Tensor]) -> dict[str, Any]:
    """The table, see the top of this file."""
    # first of all what could be missing: a run of minutes shall not end in an error
    entries = {recipe: entry_of(recipe) for _, recipe, _, _ in SYSTEMS}
    models = {
        recipe: load_weights(get_recipe(recipe))[0].to(memory_format=torch.channels_last)
        for _, recipe, _, _ in SYSTEMS
    }
    search = Search()
    boxes = [search(picture) for picture in pictures]
    pairs = list(zip(pictures, boxes, strict=True))
    search_ms = milliseconds(search, pictures)
    rows = []
    for name, recipe, chapter, searches in SYSTEMS:
        model, entry = models[recipe], entries[recipe]
        if searches:
            own = milliseconds(lambda one, m=model: m([one[0]], proposals=[one[1]]), pairs)
        else:
            own = milliseconds(lambda one, m=model: m(one[0][None]), pairs)
        rows.append(
            {
                "name": name,
                "recipe": recipe,
                "chapter": chapter,
                "search": searches,
                "detector_ms": round(own, 2),
                "ms": round(own + (search_ms if searches else 0), 2),
                "parameters": entry["parameters"],
                "AP50": entry["metrics"]["AP50"],
                "AP": entry["metrics"]["AP"],
                "upright": entry["settings"]["options"].get("rotate") == 0,
            }
        )
    return {
        "machine": machine(),
        "pictures": len(pictures),
        "proposals": round(statistics.mean(map(len, boxes)), 1),
        "search_ms": round(search_ms, 2),
        "detectors": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
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
    print(
        f"{'':14}{'detector':>12}{'in all':>12}{'a second':>10}{'parameters':>12}{'AP50':>8}{'AP':>8}"
    )
    for row in table["detectors"]:
        print(f"{row['name']:14}{row['detector_ms']:9.1f} ms{row['ms']:9.1f} ms{1000 / row['ms']:10.0f}"
              f"{row['parameters']:12,}{row['AP50']:8.3f}{row['AP']:8.3f}"
              f"{'  upright shapes' if row['upright'] else ''}")  # fmt: skip
    if args.store:
        folder = PACKAGED / "benchmarks"
        folder.mkdir(exist_ok=True)
        write_json(folder / "detectors.json", table)


if __name__ == "__main__":
    main()
