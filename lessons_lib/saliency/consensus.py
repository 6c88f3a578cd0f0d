"""One saliency map from several samples, by vote."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Consensus:
    """What several samples agree on.

    Attributes:
        binary: the majority's decision, bool (…, H, W).
        saliency: how bright the agreeing samples are, times their share: float (…, H, W) in [0, 1].
        share: of the samples that call a pixel salient, float (…, H, W).
    """

    binary: Tensor
    saliency: Tensor
    share: Tensor


def consensus(samples: Tensor, threshold: float | None = None) -> Consensus:
    """Majority vote of N saliency maps (Zhang et al., 2020, section 3.5).

    Each sample is made binary with the adaptive threshold of Achanta et al. (2009), twice its mean (at most 1). A
    pixel is salient if more than half of the samples say so. The gray map is the share of the samples that agree with
    the majority, times the mean of *their* values. The paper prints a sum where we take the mean: a sum of N votes
    would exceed 1.

    Args:
        samples: probabilities, (N, …, H, W) with N ≥ 1.
        threshold: one for all samples instead of the adaptive one.

    Raises:
        ValueError: without samples, for fewer than three axes, or values outside [0, 1].
    """
    if samples.ndim < 3 or len(samples) == 0:
        raise ValueError(
            f"samples has shape {tuple(samples.shape)}; it must be (N, ..., H, W) with N >= 1"
        )
    if not bool(((samples >= 0) & (samples <= 1)).all()):
        raise ValueError(
            f"samples spans {float(samples.min()):.3g} to {float(samples.max()):.3g}; it must lie in [0, 1]"
        )
    limit: Tensor | float
    limit = (
        (2 * samples.mean((-2, -1), keepdim=True)).clamp(max=1.0)
        if threshold is None
        else threshold
    )
    votes = (samples >= limit) & (samples > 0)  # an empty map votes for nothing
    share = votes.float().mean(0)
    binary = share > 0.5
    agree = (votes == binary).float()
    agreeing = agree.mean(0)
    brightness = (samples * agree).sum(0) / agree.sum(0).clamp(min=1)
    return Consensus(binary, agreeing * brightness, share)
