"""Average precision on Cityscapes, by COCO's measure and Cityscapes' rules of what does not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lessons_lib.data import instances_to_coco
from lessons_lib.detection.average_precision import average_precision

SMALLEST = 100
"""Pixels; Cityscapes does not ask for smaller instances."""


def street_row(prediction: Mapping[str, Tensor], sample: Mapping[str, Any]) -> dict[str, Any]:
    """The annotations of one picture in COCO's form, without their picture's number.

    Args:
        prediction: ``instances`` (H, W), and ``scores`` and ``labels`` (K,) of ids 1..K.
        sample: ``instances``, ``semantic`` and ``void`` (H, W) of
            :class:`~lessons_lib.data.CityscapesInstances`.

    Returns:
        ``found``; ``truth``, in which instances below 100 px are crowds; ``void``, a crowd for every class, if
        there is any; and ``size``, height and width.
    """
    found = instances_to_coco(prediction["instances"], image_id=0)
    for annotation, number in zip(found, _ids(prediction["instances"]), strict=True):
        annotation["category_id"] = int(prediction["labels"][number - 1])
        annotation["score"] = float(prediction["scores"][number - 1])
    truth = instances_to_coco(sample["instances"], image_id=0)
    for annotation, number in zip(truth, _ids(sample["instances"]), strict=True):
        own = sample["semantic"][sample["instances"] == number]
        annotation["category_id"] = int(own[0])
        annotation["iscrowd"] = int(annotation["area"] < SMALLEST)
    void = instances_to_coco(sample["void"].long(), image_id=0)
    return {"found": found, "truth": truth, "void": void, "size": tuple(sample["void"].shape)}


def street_precision(rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> dict[str, float]:
    """AP and AP50 of the masks, means over the classes that occur, of the rows of all pictures.

    Cityscapes' own script differs in three ways. It integrates precision over recall without
    interpolation, where COCO reads it off at 101 recalls. It takes all instances of a picture, COCO the 100 surest
    of a class. And a prediction that matches nothing is left out there if more of it than the threshold lies on any
    regions that do not count together: void, groups of its own class and tiny instances; here on one of them, void
    including groups of all classes.

    Args:
        rows: from :func:`street_row`.
        classes: names, of which the first is the background.
    """
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for number, row in enumerate(rows, 1):
        crowds = [
            {**region, "category_id": category, "iscrowd": 1}
            for region in row["void"]
            for category in range(1, len(classes))
        ]
        truth += [{**a, "image_id": number} for a in [*row["truth"], *crowds]]
        found += [{**a, "image_id": number} for a in row["found"]]
    known = {
        "images": [
            {"id": number, "height": row["size"][0], "width": row["size"][1]}
            for number, row in enumerate(rows, 1)
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(classes) if k],
        "annotations": [{**a, "id": number} for number, a in enumerate(truth, 1)],
    }
    precision = average_precision(known, found, "masks")
    # no instance to find: nothing can be said
    return {name: max(precision[name], 0.0) for name in ("AP", "AP50")}


def _ids(instances: Tensor) -> list[int]:
    """Ids above 0 that occur, rising, as :func:`instances_to_coco` lists them."""
    ids: list[int] = torch.unique(instances).tolist()
    return [number for number in ids if number > 0]
