"""Hiding parts of a picture: the salient object, to learn what is salient next; or patches of a grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor


def hide_salient(
    image: Tensor, saliency: Tensor, fill: Sequence[float], threshold: float = 0.5
) -> Tensor:
    """The image with its salient pixels replaced by one colour (Zhang et al., 2020, section 4.1).

    What is found in such a picture is what somebody else might have called salient.

    Args:
        image: (B, 3, H, W).
        saliency: (B, 1, H, W) in [0, 1].
        fill: the colour, three numbers; the paper takes the mean of the training set.
        threshold: pixels above it are hidden.

    Raises:
        ValueError: for sizes that differ, or a fill of another length.
    """
    if image.shape[-2:] != saliency.shape[-2:] or len(image) != len(saliency):
        raise ValueError(
            f"image has shape {tuple(image.shape)} and saliency {tuple(saliency.shape)}; "
            "they must be of the same pictures"
        )
    if len(fill) != image.shape[1]:
        raise ValueError(f"fill is {tuple(fill)}; it must have {image.shape[1]} numbers")
    colour = image.new_tensor(list(fill))[None, :, None, None]
    return torch.where(saliency > threshold, colour, image)


def hidden_labels(
    predict: Callable[[Tensor, Tensor], Tensor],
    image: Tensor,
    saliency: Tensor,
    fill: Sequence[float],
    rounds: int = 3,
    threshold: float = 0.5,
    least: float = 0.4,
) -> Tensor:
    """New annotations: hide what is salient, predict, hide that as well, and so on.

    Args:
        predict: an existing model; gets the image (B, 3, H, W) and what is hidden in it so far, bool (B, 1, H, W),
            and gives saliency (B, 1, H, W) in [0, 1]. A model that sees depth must not see it where the image is
            hidden.
        image: (B, 3, H, W).
        saliency: the annotation that there is, (B, 1, H, W).
        fill: of :func:`hide_salient`.
        rounds: new annotations a picture; three in the paper.
        threshold: of the given annotation; of a new one in shares of the map's largest value, for what is second best
            is found with little confidence.
        least: a map that reaches this value nowhere has found nothing.

    Returns:
        float32 (B, 1 + rounds, 1, H, W), 0 or 1, the given annotation first. Where nothing more is found, the last
        annotation that has pixels is repeated: an empty one would teach that nothing is salient.
    """
    labels = [(saliency > threshold).float()]
    hidden = labels[0] > 0
    for _ in range(rounds):
        maps = predict(hide_salient(image, hidden.float(), fill), hidden) * ~hidden
        top = maps.amax((1, 2, 3), keepdim=True)
        found = (maps > threshold * top) & (top >= least)
        nothing = ~found.flatten(1).any(1)[:, None, None, None]
        labels.append(torch.where(nothing, labels[-1], found.float()))
        hidden = hidden | found
    return torch.stack(labels, 1)


def hide_patches(
    image: Tensor,
    fill: Sequence[float],
    rng: np.random.Generator,
    *,
    grid: int = 4,
    probability: float = 0.5,
) -> Tensor:
    """Hide-and-Seek: each cell of a grid is hidden at random, in training only (Singh and Lee, 2017, section 3.1).

    It makes a classifier look at more than the one telling part. It gives no new annotation; source 004 takes it for
    what UC-Net does.

    Args:
        image: (B, 3, H, W).
        fill: the colour of hidden cells.
        rng: decides.
        grid: cells a side; 4 gives 16 patches.
        probability: that a cell is hidden.

    Raises:
        ValueError: for a grid below 1 or finer than the picture, or a probability outside [0, 1].
    """
    batch, _, height, width = image.shape
    if not 1 <= grid <= min(height, width):
        raise ValueError(f"grid is {grid}; it must be in 1..{min(height, width)}")
    if not 0 <= probability <= 1:
        raise ValueError(f"probability is {probability}; it must lie in [0, 1]")
    hidden = torch.from_numpy(rng.random((batch, 1, grid, grid)) < probability)
    rows = torch.arange(height) * grid // height
    columns = torch.arange(width) * grid // width
    mask = hidden[:, :, rows][..., columns].to(image.device)
    return torch.where(mask, image.new_tensor(list(fill))[None, :, None, None], image)
