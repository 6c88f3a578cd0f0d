"""Average precision on Cityscapes, by COCO's measure and Cityscapes' rules of what does not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from lessons_lib.data import instances_to_coco
from lessons_lib.embedding.instance_rows import found_annotations, mask_precision, true_annotations

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
    found = found_annotations(prediction)
    truth = true_annotations(sample["instances"], sample["semantic"])
    for annotation in truth:
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
    with_void = []
    for row in rows:
        crowds = [
            {**region, "category_id": category, "iscrowd": 1}
            for region in row["void"]
            for category in range(1, len(classes))
        ]
        with_void.append({**row, "truth": [*row["truth"], *crowds]})
    precision = mask_precision(with_void, classes)
    # no instance to find: nothing can be said
    return {name: max(precision[name], 0.0) for name in ("AP", "AP50")}
