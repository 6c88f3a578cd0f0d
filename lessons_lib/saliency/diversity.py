"""How well many answers fit many truths: the generalised energy distance, and the best of N."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def mask_distances(first: Tensor, second: Tensor) -> Tensor:
    """1 − IoU of every mask of one set with every mask of another.

    Args:
        first: bool (N, H, W).
        second: bool (M, H, W).

    Returns:
        float32 (N, M). Two empty masks are alike: 0.
    """
    a, b = first.flatten(1).float(), second.flatten(1).float()
    both = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1)[None] - both
    return 1 - torch.where(either > 0, both / either.clamp(min=1), torch.ones_like(both))


def generalized_energy_distance(
    samples: Tensor, annotations: Tensor, shares: Sequence[float] | None = None
) -> float:
    """2 E[d(sample, annotation)] − E[d(sample, sample')] − E[d(annotation, annotation')], d = 1 − IoU.

    0 if both are drawn from one distribution; as Kohl et al. (2018, section 3) use it for segmentation, after Székely
    and Rizzo (2013). The means run over all pairs, a mask with itself included, so that a model which always gives
    the one annotation that there is reaches 0. With N samples the second term is too small by E d(S, S')/N of the
    model's own masks: by nothing for a deterministic model, while the distance of a diverse one is too large by that.
    Two disjoint, equally probable annotations and a model that gives each with probability 1/2: 0.031 on average for
    N = 16, not 0.

    Args:
        samples: bool (N, H, W), all equally probable.
        annotations: bool (A, H, W).
        shares: probabilities of the annotations; ``None`` makes them equal.

    Raises:
        ValueError: for empty sets, sizes that differ, or shares that do not fit.
    """
    weights = _check(samples, annotations, shares)
    across = mask_distances(samples, annotations) @ weights
    among = mask_distances(annotations, annotations)
    return float(
        2 * across.mean() - mask_distances(samples, samples).mean() - weights @ among @ weights
    )


def best_of_n(samples: Tensor, annotations: Tensor, shares: Sequence[float] | None = None) -> float:
    """The IoU of each annotation with the sample that fits it best, averaged over the annotations.

    Args:
        samples: bool (N, H, W).
        annotations: bool (A, H, W).
        shares: weights of the annotations; ``None`` makes them equal.

    Raises:
        ValueError: as :func:`generalized_energy_distance`.
    """
    weights = _check(samples, annotations, shares)
    best = 1 - mask_distances(samples, annotations).min(0).values
    return float(best @ weights)


def _check(samples: Tensor, annotations: Tensor, shares: Sequence[float] | None) -> Tensor:
    """The annotations' weights, float32 (A,) on the samples' device; ValueError for what does not fit."""
    for name, masks in [("samples", samples), ("annotations", annotations)]:
        if masks.ndim != 3 or len(masks) == 0 or masks.dtype != torch.bool:
            raise ValueError(
                f"{name} is {masks.dtype} of shape {tuple(masks.shape)}; it must be bool (N, H, W), N >= 1"
            )
    if samples.shape[1:] != annotations.shape[1:]:
        raise ValueError(
            f"samples are {tuple(samples.shape[1:])} and annotations {tuple(annotations.shape[1:])}; "
            "they must have one size"
        )
    if shares is None:
        return torch.full((len(annotations),), 1 / len(annotations), device=samples.device)
    weights = torch.tensor(list(shares), dtype=torch.float32)
    if len(weights) != len(annotations) or not abs(float(weights.sum()) - 1) <= 1e-4:
        raise ValueError(
            f"shares is {tuple(shares)}; it must be {len(annotations)} numbers whose sum is 1"
        )
    return weights.to(samples.device)
