"""Average precision against pycocotools: the same dicts, boxes and masks, small and like COCO.

    python benchmarks/average_precision.py

Both start from dicts in memory, as they are after reading the JSON; pycocotools' time is that of its
index, ``loadRes``, ``evaluate``, ``accumulate`` and ``summarize``. "like COCO" has 80 classes, 7 truths
and 60 detections a picture of 480 x 640.
"""

from __future__ import annotations

import contextlib
import copy
import io
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from timing import machine, milliseconds

from lessons_lib.data.rle import compress_counts, polygons_to_rle
from lessons_lib.detection.average_precision import average_precision


def scenes(
    pictures: int, classes: int, truths: int, found: int, kind: str, seed: int = 0
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """COCO's two structures: stars and discs with 24 corners, detections near them or anywhere."""
    rng = np.random.default_rng(seed)
    turn = 2 * np.pi * np.arange(24) / 24
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []

    def shape(middle: np.ndarray, half: np.ndarray) -> dict[str, Any]:
        entry: dict[str, Any] = {"bbox": [*(middle - half).tolist(), *(2 * half).tolist()]}
        if kind == "masks":
            reach = half * rng.uniform(0.7, 1, (24, 1))
            points = middle + reach * np.stack([np.cos(turn), np.sin(turn)], 1)
            entry["segmentation"] = [np.round(points, 2).ravel().tolist()]
        return entry

    for image in range(1, pictures + 1):
        here = []
        for _ in range(int(rng.integers(1, 2 * truths))):
            middle, half = rng.uniform((0, 0), (640, 480)), np.exp(rng.uniform(1.5, 5, 2))
            of = int(rng.integers(1, classes + 1))
            here.append((middle, half, of))
            row = {"id": len(annotations) + 1, "image_id": image, "category_id": of, "iscrowd": 0}
            annotations.append({**row, **shape(middle, half), "area": float(3 * half.prod())})
        for k in range(found):
            if k < 2 * len(here):
                middle, half, of = here[k // 2]
                middle, half = (
                    middle + rng.normal(0, 0.1, 2) * half,
                    half * rng.uniform(0.8, 1.2, 2),
                )
            else:
                middle, half = rng.uniform((0, 0), (640, 480)), np.exp(rng.uniform(1.5, 5, 2))
                of = int(rng.integers(1, classes + 1))
            row = {"image_id": image, "category_id": of, "score": float(rng.uniform())}
            entry = shape(middle, half)
            if kind == "masks":
                rle = polygons_to_rle(entry["segmentation"], (480, 640))
                entry["segmentation"] = {**rle, "counts": compress_counts(rle["counts"])}  # type: ignore[arg-type]
                del entry["bbox"]
            results.append({**row, **entry})
    truth = {
        "images": [{"id": n, "height": 480, "width": 640} for n in range(1, pictures + 1)],
        "categories": [{"id": n, "name": str(n)} for n in range(1, classes + 1)],
        "annotations": annotations,
    }
    return truth, results


def reference(truth: dict[str, Any], found: list[dict[str, Any]], kind: str) -> np.ndarray:
    """The twelve numbers of pycocotools, which writes into what it is given."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(found), {"boxes": "bbox", "masks": "segm"}[kind])
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def main() -> None:
    print(machine())
    print(f"{'':12}{'pictures':>10}{'truths':>8}{'found':>8}{'kind':>8}"
          f"{'ours':>11}{'pycocotools':>14}{'times':>8}{'difference':>12}")  # fmt: skip
    for name, sizes in [("small", (50, 5, 4, 12)), ("like COCO", (500, 80, 7, 60))]:
        for kind in ("boxes", "masks"):
            truth, found = scenes(*sizes, kind)
            repeats = 5 if name == "small" else 1
            copies = [copy.deepcopy((truth, found)) for _ in range(repeats + 3)]  # 2 calls warm up
            stats = reference(*copies.pop(), kind)
            theirs = milliseconds(lambda c=copies, k=kind: reference(*c.pop(), k), repeats)
            ours = milliseconds(lambda t=truth, f=found, k=kind: average_precision(t, f, k), 5)
            gap = abs(np.array(list(average_precision(truth, found, kind).values())) - stats).max()  # type: ignore[arg-type]
            print(f"{name:12}{sizes[0]:10}{len(truth['annotations']):8}{len(found):8}{kind:>8}"
                  f"{ours:8.0f} ms{theirs:11.0f} ms{theirs / ours:8.1f}{gap:12.1e}")  # fmt: skip


if __name__ == "__main__":
    main()
