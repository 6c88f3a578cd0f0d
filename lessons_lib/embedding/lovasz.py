"""The Lovász hinge: a convex loss that is twice the Jaccard loss, 2 (1 − IoU), for answers of ±1.

Yu and Blaschko, *Learning Submodular Losses with the Lovász Hinge*, ICML 2015; Berman, Rannen Triki,
Blaschko, *The Lovász-Softmax Loss*, CVPR 2018, section 2 and algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor


def lovasz_hinge(scores: Tensor, masks: Tensor) -> Tensor:
    r"""The Lovász hinge of each of N masks, all at once.

    With the hinge errors :math:`m_i = 1 - F_i y_i` (:math:`y_i` = 1 inside the mask, −1 outside), sorted so
    that :math:`m_1 \ge m_2 \ge …`, the loss is :math:`\sum_i \max(m_i, 0)\,(J_i - J_{i-1})`, where
    :math:`J_i` is 1 − IoU of the mask with the mask in which the first :math:`i` pixels are wrong.

    Args:
        scores: float (N, …), F: above 0 says inside, and ±1 is sure enough.
        masks: bool, or integers 0 and 1, (N, …), the same shape.

    Returns:
        (N,), one loss a mask, computed in float32 (float64 for float64 input). The sorting carries no gradient; the
        errors do.

    Raises:
        TypeError: for scores that are not floating point, or masks that are.
        ValueError: for shapes that differ or have fewer than two axes.
    """
    if not scores.is_floating_point():
        raise TypeError(f"scores is {scores.dtype}; it must be floating point")
    if masks.is_floating_point() or masks.is_complex():
        raise TypeError(f"masks is {masks.dtype}; it must be bool or integer")
    if scores.shape != masks.shape or scores.ndim < 2:
        raise ValueError(
            f"scores has shape {tuple(scores.shape)} and masks {tuple(masks.shape)}; both must be (N, …)"
        )
    if scores.dtype != torch.float64:
        scores = scores.float()
    scores, inside = scores.flatten(1), masks.flatten(1) != 0  # (N, P)
    errors = 1 - torch.where(inside, scores, -scores)
    errors, order = errors.sort(dim=1, descending=True, stable=True)
    inside = inside.gather(1, order)
    size = inside.sum(1, keepdim=True)
    found = inside.cumsum(1)  # pixels of the mask that are wrong by now
    place = torch.arange(1, errors.shape[1] + 1, device=errors.device)
    loss = _jaccard(size, found, place, errors.dtype)
    steps = torch.cat([loss[:, :1], loss[:, 1:] - loss[:, :-1]], dim=1)
    return (errors.clamp(min=0) * steps).sum(1)


def lovasz_hinge_of_pairs(errors: Tensor, inside: Tensor, owner: Tensor, size: Tensor) -> Tensor:
    """:func:`lovasz_hinge` where each mask has a list of pixels of its own; those left out have error 0.

    Args:
        errors: float (M,), m of each pair of a mask and a pixel, in [0, 2].
        inside: bool (M,), whether the pixel is in the mask.
        owner: int64 (M,), the number of the mask, 0..N-1, in rising order.
        size: int64 (N,), pixels of each mask; all of them must be among the pairs.

    Returns:
        (N,).
    """
    # One sort for all, by mask, and within each by falling error. Whole numbers sort twice as fast; errors
    # nearer than 2⁻³⁰ may change places, which changes a loss by no more than that.
    order = ((owner << 32) - (errors.detach() * 2**30).long()).argsort(stable=True)
    inside = inside[order]
    pairs = torch.bincount(owner, minlength=len(size))
    start = pairs.cumsum(0) - pairs
    first = start[
        owner
    ]  # the sort keeps the masks in their order, so that ``owner`` stays as it is
    place = torch.arange(1, len(owner) + 1, device=owner.device) - first
    found = inside.cumsum(0)
    before = torch.cat([found.new_zeros(1), found])[start]  # found in all masks before this one
    loss = _jaccard(size[owner], found - before[owner], place, errors.dtype)
    steps = torch.cat([loss[:1], loss[1:] - loss[:-1]])
    steps[start[pairs > 0]] = loss[start[pairs > 0]]
    # millions of terms, one after the other: float32 would lose digits
    total = torch.zeros(len(size), dtype=torch.float64, device=errors.device)
    return total.index_add(0, owner, (errors[order] * steps).double()).to(errors.dtype)


def _jaccard(size: Tensor, found: Tensor, place: Tensor, dtype: torch.dtype) -> Tensor:
    """1 − IoU when ``place`` pixels are wrong, ``found`` of them inside the mask of ``size`` pixels."""
    return 1 - (size - found).to(dtype) / (size + place - found).to(dtype)
