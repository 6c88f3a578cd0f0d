"""What a detector is shown: objects that it can learn, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .boxes import clip_boxes, full_precision

Target = dict[str, Tensor]


def clean_target(target: Mapping[str, Tensor], size: tuple[int, int], num_classes: int) -> Target:
    """The objects of one picture that can be learned.

    Boxes are cut at the picture's borders; what is then empty is dropped, and so are boxes of zero
    size and crowds (``crowd`` bool (N,), if the target has it): a crowd is no single object.

    Args:
        target: ``boxes`` (N, 4), ``labels`` int64 (N,), and whatever else has one row an object.
        size: height and width of the picture, px.
        num_classes: with the background; labels must be in 1..num_classes - 1.

    Returns:
        the same entries with the rows that stay.

    Raises:
        ValueError: for shapes that do not fit, labels out of range, or boxes that are not finite.
    """
    boxes, labels = target["boxes"], target["labels"]
    if boxes.ndim != 2 or boxes.shape[1] != 4 or labels.shape != boxes.shape[:1]:
        raise ValueError(
            f"boxes has the shape {tuple(boxes.shape)} and labels {tuple(labels.shape)}; "
            "they must be (N, 4) and (N,)"
        )
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels is {labels.dtype}; it must hold whole numbers")
    if not bool(torch.isfinite(boxes).all()):
        raise ValueError("boxes has entries that are not finite")
    if len(labels) and not 1 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"labels are {int(labels.min())}..{int(labels.max())}; they must be in "
            f"1..{num_classes - 1}, for 0 is the background"
        )
    boxes = clip_boxes(full_precision(boxes), size)
    keep = (boxes[:, 2:] > boxes[:, :2]).all(1)
    if "crowd" in target:
        keep &= ~target["crowd"].bool()
    rows = {name: value[keep] for name, value in target.items() if name not in ("boxes", "crowd")}
    return {**rows, "boxes": boxes[keep]}


def check_rows(target: Mapping[str, Tensor], size: tuple[int, int], names: Sequence[str]) -> None:
    """ValueError for a target that lacks ``masks`` or ``keypoints``, or has them in another shape."""
    count = len(target["boxes"])
    for name in names:
        if name not in target:
            raise ValueError(f"a target has no {name}; it has {', '.join(target)}")
        shape = tuple(target[name].shape)
        if name == "masks" and shape != (count, *size):
            raise ValueError(f"masks has the shape {shape}; it must be {(count, *size)}")
        if name == "keypoints" and (len(shape) != 3 or shape[::2] != (count, 3)):
            raise ValueError(f"keypoints has the shape {shape}; it must be ({count}, K, 3)")


def resize_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks bool (N, H, W) at another (height, width), by their nearest pixels."""
    if tuple(masks.shape[1:]) == size:
        return masks
    return F.interpolate(masks[:, None].float(), size, mode="nearest")[:, 0] > 0.5


def resize_keypoints(keypoints: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """Keypoints (N, K, 3), x, y and visibility, of a picture scaled from ``before`` to ``after``."""
    y, x = (new / old for new, old in zip(after, before, strict=True))
    keypoints = full_precision(keypoints)
    return keypoints * keypoints.new_tensor([x, y, 1.0])


def targets_of(batch: Mapping[str, Sequence[Tensor]], *names: str) -> list[Target]:
    """One target a picture from the lists of a batch: ``boxes``, ``labels``, ``names`` and, if there, ``crowd``."""
    wanted = ["boxes", "labels", *names, *(["crowd"] if "crowd" in batch else [])]
    device = batch["image"][0].device
    rows = zip(*(batch[name] for name in wanted), strict=True)
    return [dict(zip(wanted, (value.to(device) for value in row), strict=True)) for row in rows]
