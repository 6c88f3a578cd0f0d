"""From spatial embeddings to instances, one after another, the surest seed first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lessons_lib.embedding.spatial_geometry import embed, inverse_spread


@dataclass(frozen=True)
class SpatialInstances:
    """What :func:`cluster_spatial` found in one picture.

    Attributes:
        instances: int64 (H, W), ids 1..K, the surest first; 0 = background.
        scores: float32 (K,), the seed value at each instance's centre pixel, in [0, 1].
        labels: int64 (K,), classes from 1.
        centers: float32 (K, 2), x and y that the centre pixels point to, px.
    """

    instances: Tensor
    scores: Tensor
    labels: Tensor
    centers: Tensor


def cluster_spatial(
    outputs: Mapping[str, Tensor],
    *,
    unit: float = 1024.0,
    seed_threshold: float = 0.5,
    pixel_threshold: float = 0.5,
    foreground_threshold: float = 0.5,
    min_size: int = 1,
    min_unclaimed: float = 0.5,
    margin: float | None = None,
) -> SpatialInstances:
    """Sequential clustering (Neven et al., 2019, section 3.3).

    The pixel of greatest seed value that is still free to be a seed proposes an instance: all foreground pixels
    whose φ around this pixel's embedding, with this pixel's σ, exceeds ``pixel_threshold``. If enough of
    them are unclaimed, it gets those. Accepted or not, its pixels are no seeds any more; but a pixel that a
    proposal did not get stays, and may belong to the next. This goes on until no free seed reaches the threshold.

    The released code departs from this in several points. There a later instance overwrites an earlier one; here
    the earlier, which is surer, keeps its pixels. There the unclaimed share counts pixels that may still be seeds, so
    that those of a refused proposal are lost to the next; here it counts pixels that no instance has. Its least
    size, 128, is that of the whole proposal, and it stops when so many pixels are left. Its instances are at most 255.

    Among equal seeds the one that points furthest to the left comes first, so that the result is the same on every
    run.

    With several seed maps a pixel's seed value is the greatest of them, and its instance is of that class.

    Args:
        outputs: raw outputs of one picture, ``"offset"`` (2, H, W), ``"sigma"`` (1 or 2, H, W) and ``"seed"``
            (K, H, W), as the network gives them, without batch axis.
        unit: px, the one that the network was trained with.
        seed_threshold: least seed value of an instance's first pixel.
        pixel_threshold: least φ of an instance's pixels, exclusive.
        foreground_threshold: least seed value of any pixel of an instance, exclusive.
        min_size: fewest unclaimed pixels of a proposal that is accepted.
        min_unclaimed: least share of its pixels that must be unclaimed.
        margin: of fixed σ: px from the centre at which φ is ½; ``None`` = the outputs have ``"sigma"``.

    Raises:
        KeyError: for an output that is missing.
        ValueError: for shapes that disagree, or thresholds out of range.
    """
    _check(outputs, unit, min_size, margin)
    for name, share in [
        ("seed_threshold", seed_threshold),
        ("pixel_threshold", pixel_threshold),
        ("foreground_threshold", foreground_threshold),
        ("min_unclaimed", min_unclaimed),
    ]:
        if not 0 <= share <= 1 or (name == "pixel_threshold" and share == 0):
            raise ValueError(f"{name} is {share}; it must be in 0..1, and pixel_threshold above 0")
    offset = outputs["offset"].detach().float().cpu()
    height, width = offset.shape[1:]
    seed, label = outputs["seed"].detach().float().cpu().sigmoid().max(0)  # (H, W) each
    foreground = (seed > foreground_threshold).flatten().nonzero()[:, 0].numpy()
    # sorted by where they point to in x: what may belong to a centre is then one stretch
    x, y = embed(offset, unit).flatten(1).numpy()[:, foreground]
    order = np.argsort(x, kind="stable")
    foreground, x, y = foreground[order], x[order], y[order]
    if margin is None:
        raw = outputs["sigma"].detach().float().cpu().flatten(1)[:, foreground]
        stretch = inverse_spread(raw, unit).expand(2, -1).numpy()  # (2, N), 1/px²
    else:
        stretch = np.full((2, len(x)), math.log(2) / margin**2, np.float32)
    limit = -math.log(pixel_threshold)

    value = seed.flatten().numpy()[foreground]
    free = value.copy()  # seed values of the pixels that may still be seeds; −1 = none
    owner = np.zeros(len(x), np.int64)
    chosen: list[int] = []
    while len(x) and free[best := int(free.argmax())] >= seed_threshold:
        reach = math.sqrt(limit / stretch[0, best]) * 1.001 + 0.001  # a little more, for rounding
        start, end = np.searchsorted(x, (x[best] - reach, x[best] + reach))
        strip = slice(int(start), int(end))
        distance = stretch[0, best] * (x[strip] - x[best]) ** 2
        distance += stretch[1, best] * (y[strip] - y[best]) ** 2
        proposal = strip.start + np.flatnonzero(distance < limit)
        unclaimed = proposal[owner[proposal] == 0]
        enough = len(unclaimed) >= min_size
        if enough and len(unclaimed) >= min_unclaimed * len(proposal):
            chosen.append(best)
            owner[unclaimed] = len(chosen)
        free[proposal] = -1
        free[best] = -1  # with a threshold of 1 a pixel is not in its own proposal
    instances = np.zeros(height * width, np.int64)
    instances[foreground] = owner
    return SpatialInstances(
        instances=torch.from_numpy(instances.reshape(height, width)),
        scores=torch.from_numpy(value[chosen]),
        labels=label.flatten()[torch.from_numpy(foreground[chosen])] + 1,
        centers=torch.from_numpy(np.stack([x[chosen], y[chosen]], axis=1)),
    )


def _check(outputs: Mapping[str, Tensor], unit: float, min_size: int, margin: float | None) -> None:
    names = ("offset", "seed") if margin is not None else ("offset", "sigma", "seed")
    if missing := [name for name in names if name not in outputs]:
        raise KeyError(f"outputs lacks {', '.join(missing)}; it has {', '.join(outputs)}")
    size = tuple(outputs["offset"].shape[1:])
    allowed = {"offset": (2,), "sigma": (1, 2)}
    for name in names:
        shape = tuple(outputs[name].shape)
        channels = allowed.get(name, (max(1, shape[0]) if shape else 1,))
        if len(shape) != 3 or shape[1:] != size or shape[0] not in channels:
            wanted = " or ".join(map(str, channels))
            raise ValueError(
                f"{name} has shape {shape}; it must be ({wanted}, H, W), all of one size"
            )
    if not unit > 0:
        raise ValueError(f"unit is {unit}; it must be above 0 px")
    if min_size < 1:
        raise ValueError(f"min_size is {min_size}; it must be at least 1")
    if margin is not None and not margin > 0:
        raise ValueError(f"margin is {margin}; it must be above 0 px")
