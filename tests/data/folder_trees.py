"""Small folders of a reader's own pictures, for the tests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lessons_lib.data import instances_to_coco
from tests.data.nuclei_trees import Picture, blobs, merged_tree, save, stained


def example(count: int = 6) -> dict[str, Picture]:
    """Gray and coloured pictures of two sizes."""
    pictures = {f"plate{i}": blobs(i) for i in range(count - 1)}
    return {**pictures, "purple": stained(30, (50, 70))}


def label_tree(folder: Path, pictures: Mapping[str, Picture]) -> Path:
    """``images/`` and ``labels/``."""
    return merged_tree(folder, dict(pictures))


def coco_tree(
    folder: Path, pictures: Mapping[str, Picture], name: str = "annotations.json"
) -> Path:
    """``images/`` and one COCO file with run lengths."""
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": 1, "name": "object"}]
    for number, (stem, (pixels, labels)) in enumerate(pictures.items(), 1):
        save(folder / "images" / f"{stem}.png", pixels)
        size = {"height": labels.shape[0], "width": labels.shape[1]}
        content["images"].append({"id": number, "file_name": f"images/{stem}.png", **size})
        first = len(content["annotations"]) + 1
        content["annotations"] += instances_to_coco(labels, number, first_id=first)
    (folder / name).write_text(json.dumps(content))
    return folder


def change_coco(folder: Path, change: Any) -> None:
    """Applies a function to the content of the COCO file."""
    content = json.loads((folder / "annotations.json").read_text())
    change(content)
    (folder / "annotations.json").write_text(json.dumps(content))


def empty(size: tuple[int, int] = (60, 80)) -> Picture:
    """A picture without objects."""
    return np.full(size, 9, np.uint8) + (np.arange(size[1]) % 3).astype(np.uint8), np.zeros(
        size, np.int32
    )
