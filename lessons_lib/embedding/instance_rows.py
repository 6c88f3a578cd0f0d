"""Instances of label maps as COCO's annotations, and their average precision over many pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lessons_lib.data import instances_to_coco
from lessons_lib.detection.average_precision import average_precision


def found_annotations(prediction: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Annotations of what was found in a picture, without its number.

    Args:
        prediction: ``instances`` (H, W), and ``scores`` and ``labels`` (K,) of ids 1..K, of which some may not
            occur.
    """
    instances = prediction["instances"]
    annotations = instances_to_coco(instances, image_id=0)
    for annotation, number in zip(annotations, occurring_ids(instances), strict=True):
        annotation["category_id"] = int(prediction["labels"][number - 1])
        annotation["score"] = float(prediction["scores"][number - 1])
    return annotations


def true_annotations(instances: Tensor, semantic: Tensor | None = None) -> list[dict[str, Any]]:
    """Annotations of the true instances of a picture, without its number.

    Args:
        instances: integer (H, W).
        semantic: integer (H, W), the class of each instance's pixels; ``None`` = all are of class 1.
    """
    annotations = instances_to_coco(instances, image_id=0)
    if semantic is not None:
        for annotation, number in zip(annotations, occurring_ids(instances), strict=True):
            annotation["category_id"] = int(semantic[instances == number][0])
    return annotations


def mask_precision(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, float]:
    """COCO's numbers of the masks, see :func:`~lessons_lib.detection.average_precision`.

    Args:
        rows: one a picture, with the annotations ``truth`` and ``found``, and ``size``, height and width.
        classes: names, of which the first is the background.
    """

    def numbered(name: str) -> list[dict[str, Any]]:
        return [{**a, "image_id": n} for n, row in enumerate(rows, 1) for a in row[name]]

    truth = {
        "images": [
            {"id": number, "height": row["size"][0], "width": row["size"][1]}
            for number, row in enumerate(rows, 1)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(classes) if k],
        "annotations": [{**a, "id": number} for number, a in enumerate(numbered("truth"), 1)],
    }
    return average_precision(truth, numbered("found"), "masks")


def occurring_ids(instances: Tensor) -> list[int]:
    """Ids above 0 that occur, rising, as :func:`~lessons_lib.data.instances_to_coco` lists them."""
    return [number for number in instances.unique().tolist() if number > 0]
