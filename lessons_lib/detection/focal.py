"""Focal loss: what is easy shall hardly count (Lin, Goyal, Girshick, He and Dollár, ICCV 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

REDUCTIONS = ("none", "sum", "mean")


def focal_loss(
    logits: Tensor,
    targets: Tensor,
    gamma: float = 2.0,
    alpha: float | None = 0.25,
    *,
    reduction: str = "none",
) -> Tensor:
    """FL = -alpha_t (1 - p_t)^gamma log p_t, for each logit on its own (section 3, equation 5).

    p = sigmoid(logit) is the probability of yes; p_t is that of the truth: p where the target is 1,
    else 1 - p. alpha_t likewise is alpha or 1 - alpha. With ``gamma`` 0 it is the cross-entropy; the
    larger ``gamma``, the less counts what is already right: at p_t = 0.9 and gamma 2 a hundredth.

    Args:
        logits: of any shape, floating point.
        targets: of the same shape, 0 or 1.
        gamma: at least 0.
        alpha: weight of the yes, in [0, 1]; ``None`` weights neither.
        reduction: ``none`` for one value each, ``sum``, or ``mean``.

    Returns:
        of the shape of ``logits``, or a scalar; finite, with finite gradients, for every finite logit.

    Raises:
        ValueError: for settings out of range or shapes that differ.
    """
    if gamma < 0:
        raise ValueError(f"gamma is {gamma}; it must be at least 0")
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"alpha is {alpha}; it must be in [0, 1] or None")
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}; it must be one of {', '.join(REDUCTIONS)}")
    if logits.shape != targets.shape:
        raise ValueError(
            f"targets has the shape {tuple(targets.shape)}; it must be that of logits, "
            f"{tuple(logits.shape)}"
        )
    targets = targets.to(logits.dtype)
    margin = logits * (2 * targets - 1)  # p_t = sigmoid(margin)
    log_right = F.logsigmoid(margin)
    # log(1 - p_t) = logsigmoid(-margin) = logsigmoid(margin) - margin: a power of a number that
    # rounds to 0 has no slope for gamma < 1, its logarithm has
    loss = -log_right * ((log_right - margin) * gamma).exp()
    if alpha is not None:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    if reduction == "none":
        return loss
    return loss.sum() if reduction == "sum" else loss.mean()


def focal_gradient(right: Tensor, gamma: float = 2.0) -> Tensor:
    """How strongly an answer pulls at its logit: the size of d FL / d logit, without alpha_t (appendix B).

    (1 - p_t)^gamma (1 - p_t - gamma p_t log p_t); for the cross-entropy, gamma 0, it is 1 - p_t.

    Args:
        right: p_t, the probability given to the truth, in [0, 1], of any shape.
        gamma: at least 0.
    """
    if gamma < 0:
        raise ValueError(f"gamma is {gamma}; it must be at least 0")
    return (1 - right) ** gamma * (1 - right - gamma * torch.special.xlogy(right, right))
