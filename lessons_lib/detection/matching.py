"""Which box has to learn which object, and which boxes are looked at in a step."""

from __future__ import annotations

import torch
from torch import Tensor

BACKGROUND = -1
"""A box that overlaps no object enough: it has to learn that there is nothing."""
IGNORED = -2
"""A box between the two thresholds: it has to learn nothing."""


def match_boxes(iou: Tensor, high: float, low: float, *, keep_best: bool = False) -> Tensor:
    """The object each box is matched with (Ren et al., NeurIPS 2015, section 3.1.2).

    A box belongs to the object that it overlaps most if that IoU is at least ``high``; below ``low``
    it is background; between them it is ignored.

    Args:
        iou: (T, N), of T objects and N boxes.
        high: IoU from which a box belongs to an object.
        low: IoU below which it is background; at most ``high``.
        keep_best: also match the boxes that overlap an object more than any other box does, however
            little that is, so that no object goes without. The box goes to the object it overlaps
            most itself, which need not be that one: torchvision's rule, and Detectron's. An object
            that no box touches gets none (torchvision would give it all).

    Returns:
        int64 (N,): index of the object, :data:`BACKGROUND` or :data:`IGNORED`.

    Raises:
        ValueError: for ``low`` above ``high``.
    """
    if low > high:
        raise ValueError(f"low is {low}; it must not exceed high = {high}")
    if iou.shape[0] == 0:
        return torch.full(iou.shape[1:], BACKGROUND, dtype=torch.int64, device=iou.device)
    best, match = iou.max(0)
    matches = match.masked_fill(best < high, IGNORED).masked_fill(best < low, BACKGROUND)
    if keep_best and iou.shape[1]:
        of_object = iou.amax(1, keepdim=True)
        chosen = ((iou == of_object) & (of_object > 0)).any(0)
        matches = torch.where(chosen, match, matches)
    return matches


def sample_balanced(
    matches: Tensor, count: int, positive_share: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """A random choice of boxes, of which at most a given share belongs to objects.

    If there are fewer positive boxes than wanted, background fills up (Girshick, ICCV 2015,
    section 2.3).

    Args:
        matches: int64 (N,), as :func:`match_boxes` gives it.
        count: boxes wanted.
        positive_share: largest share of boxes that belong to objects, in [0, 1].
        generator: for the choice; ``None`` takes torch's own.

    Returns:
        indices of the chosen positive and of the chosen background boxes, int64, in random order.
    """
    if not 0 <= positive_share <= 1:
        raise ValueError(f"positive_share is {positive_share}; it must be in [0, 1]")
    positive = (matches >= 0).nonzero()[:, 0]
    negative = (matches == BACKGROUND).nonzero()[:, 0]
    positives = min(len(positive), int(count * positive_share))
    negatives = min(len(negative), count - positives)
    return (
        positive[_mix(positive, generator)[:positives]],
        negative[_mix(negative, generator)[:negatives]],
    )


def _mix(values: Tensor, generator: torch.Generator | None) -> Tensor:
    return torch.randperm(len(values), generator=generator, device=values.device)
