"""Spatial embeddings: each pixel points at its object's centre, within a margin that it predicts.

Neven, De Brabandere, Proesmans, Van Gool, *Instance Segmentation by Jointly Optimizing Spatial Embeddings and
Clustering Bandwidth*, CVPR 2019.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from lessons_lib.embedding.lovasz import lovasz_hinge_of_pairs
from lessons_lib.embedding.pixels import number_instances
from lessons_lib.embedding.spatial_geometry import CHANNELS, embed, inverse_spread

Sigma = Literal["fixed", "one", "two"]
Center = Literal["centroid", "learned"]

NEGLIGIBLE = 5e-8
"""Pixels outside an instance whose φ is smaller are left out: see :func:`spatial_embedding_loss`."""

PAIRS_AT_ONCE = 2**19


def spatial_embedding_loss(
    outputs: Mapping[str, Tensor],
    instances: Tensor,
    semantic: Tensor | None = None,
    *,
    sigma: Sigma = "two",
    center: Center = "learned",
    unit: float = 1024.0,
    margin: float | None = None,
    instance_weight: float = 1.0,
    smoothness_weight: float = 10.0,
    seed_weight: float = 1.0,
    foreground_weight: float = 10.0,
    ignore_index: int = -1,
) -> dict[str, Tensor]:
    r"""Makes the pixels of an instance point into a region of their own, whose size they choose.

    Pixel :math:`i` at :math:`x_i` (in units of ``unit`` px) points to :math:`e_i = x_i + \tanh(o_i)`. Instance
    :math:`k` has the centre :math:`C_k`, the mean of its :math:`x_i` ("centroid") or of its :math:`e_i`
    ("learned"), and :math:`s_k = \exp(10\,\bar\sigma_k)` with the mean of its pixels' raw σ. A pixel belongs
    to it with (equations 5, 8 and 9 of the paper)

    .. math:: \phi_k(e_i) = \exp\bigl(-\textstyle\sum_{d \in x, y} s_{kd}\,(e_{id} - C_{kd})^2\bigr).

    * ``instance``: the Lovász hinge of :math:`2\phi_k - 1` against the instance's mask over all pixels of the
      picture, mean over its instances.
    * ``smoothness``: mean over instances of the mean over pixels of :math:`(\sigma_i - \bar\sigma_k)^2`.
    * ``seed``: the seed map :math:`p` (after a sigmoid) regresses to :math:`\phi_k(e_i)` on instances and to 0
      elsewhere, squared, the former ``foreground_weight`` times, divided by H·W; :math:`\phi` gets no gradient.

    All are means over the pictures of the batch; a picture without instances has only a seed term. The paper's
    σ is a standard deviation, :math:`s = 1/2\sigma^2`. The raw output here, as in the released code, goes the
    other way: **a larger raw σ is a smaller margin** (:func:`~lessons_lib.embedding.margin_of`).

    **What is left out.** Sorting all pixels for each instance is what takes the time. A pixel outside instance k
    has the error :math:`m = 2\phi`, and only its size and place in the sorted row matter. The loss is the Lovász
    extension of a growing set function, so its derivatives by the errors are at least 0 and their sum is
    :math:`J = 1` (Berman et al., 2018, section 2): if no error changes by more than ε, neither does the loss.
    Pixels with :math:`\phi < 5 \cdot 10^{-8}` are given the error 0, which changes the loss by at most
    :math:`10^{-7}`, and an error of 0 can be left out of the sorting.

    The loss is computed in float32 (float64 for float64 input).

    Args:
        outputs: raw outputs ``"offset"`` (B, 2, H, W), x and y; ``"sigma"`` (B, 0 to 2, H, W), not needed for
            fixed σ; ``"seed"`` (B, K, H, W), a map for each of K classes.
        instances: integer (B, H, W), 0 = background; any other ids, not only 1..C.
        semantic: integer (B, H, W), the class 1..K of each instance's pixels, 255 = takes no part; needed for
            K > 1, else all instances are of class 1.
        sigma: ``"fixed"`` for all, ``"one"`` (circles), or ``"two"``, one for each axis (ellipses).
        center: ``"centroid"`` or ``"learned"``.
        unit: px; an offset reaches that far. It also sets what a raw σ means; the released code has 1024.
            The loss does not depend on where in a larger picture a crop lies.
        margin: of fixed σ: px from the centre at which φ is ½.
        instance_weight, smoothness_weight, seed_weight: of the three terms; the released code has 1, 10, 1.
        foreground_weight: of the seed map on instances.
        ignore_index: id of pixels that take no part in any term.

    Returns:
        ``{"instance", "smoothness", "seed"}``: weighted scalars; their sum is the loss.

    Raises:
        KeyError: for an output that is missing.
        TypeError: for outputs that are not floating point or labels that are not integer.
        ValueError: for shapes that do not agree, or options out of range.
    """
    check_options(sigma, center, unit, margin)
    offset, raw, seed = _outputs(outputs, sigma)
    _check_truth(instances, semantic, offset, seed)
    batch, _, height, width = offset.shape
    dtype = torch.float64 if offset.dtype == torch.float64 else torch.float32
    instances = instances.long()  # unsigned types could not hold ignore_index
    if semantic is not None:
        instances = instances.masked_fill(semantic == 255, ignore_index)
    pixel, segment, picture = number_instances(instances, ignore_index)
    if pixel is None:
        pixel = torch.arange(instances.numel(), device=instances.device)
    count = len(picture)
    size = torch.bincount(segment, minlength=count)  # (N,) pixels of each instance
    # an instance's share in the mean over its picture's instances, then over the pictures
    share = 1 / (torch.bincount(picture, minlength=batch)[picture] * batch).to(dtype)

    def mean_of(rows: Tensor) -> Tensor:  # (P, D) of the instances' pixels → (N, D)
        return rows.new_zeros(count, rows.shape[1]).index_add(0, segment, rows) / size[:, None]

    def row_of(maps: Tensor) -> Tensor:  # (B, D, H, W) → (B·H·W, D)
        return maps.to(dtype).permute(0, 2, 3, 1).flatten(0, 2)

    embedding = row_of(embed(offset.to(dtype), unit))  # px
    if center == "learned":
        middle = mean_of(embedding[pixel])  # (N, 2)
    else:
        inside = pixel % (height * width)
        middle = mean_of(torch.stack([inside % width, inside // width], dim=1).to(dtype))
    if sigma == "fixed":
        assert margin is not None
        stretch = embedding.new_full((count, 2), math.log(2) / margin**2)
        smoothness = embedding.sum() * 0.0
    else:
        own = row_of(raw)[pixel]  # (P, S)
        mean = mean_of(own)
        stretch = inverse_spread(mean, unit).expand(-1, 2)  # (N, 2), 1/px²
        smoothness = (mean_of((own - mean.detach()[segment]).square()).mean(1) * share).sum()

    numbers = torch.where(instances == ignore_index, IGNORED, BACKGROUND).flatten()  # (B·H·W,)
    numbers[pixel] = segment
    with torch.no_grad():
        area = height * width
        by_picture = embedding.view(batch, area, 2), numbers.view(batch, area)
        where, owner = _pairs(by_picture[0], middle, stretch, by_picture[1], picture)
    is_own = numbers[where] == owner
    phi = torch.exp(-((embedding[where] - middle[owner]).square() * stretch[owner]).sum(1))  # (M,)
    hinge = lovasz_hinge_of_pairs(torch.where(is_own, 2 - 2 * phi, 2 * phi), is_own, owner, size)

    target = embedding.new_zeros(len(embedding))  # (B·H·W,)
    target[where[is_own]] = phi.detach()[is_own]
    classes = (numbers >= 0).long() if semantic is None else semantic.flatten() * (numbers >= 0)
    wanted = (
        torch.arange(1, seed.shape[1] + 1, device=seed.device) == classes[:, None]
    )  # (B·H·W, K)
    miss = (row_of(seed).sigmoid() - target[:, None] * wanted).square()
    weight = (numbers != IGNORED)[:, None] * torch.where(wanted, foreground_weight, 1.0)
    return {
        "instance": instance_weight * (hinge * share).sum(),
        "smoothness": smoothness_weight * smoothness,
        "seed": seed_weight * (miss * weight).sum() / len(embedding),
    }


class SpatialEmbeddingLoss(nn.Module):
    """:func:`spatial_embedding_loss` with its options kept; ``forward(outputs, instances, semantic)``."""

    def __init__(
        self,
        sigma: Sigma = "two",
        center: Center = "learned",
        *,
        unit: float = 1024.0,
        margin: float | None = None,
        instance_weight: float = 1.0,
        smoothness_weight: float = 10.0,
        seed_weight: float = 1.0,
        foreground_weight: float = 10.0,
        ignore_index: int = -1,
    ) -> None:
        super().__init__()
        check_options(sigma, center, unit, margin)
        self.options: dict[str, Any] = {
            "sigma": sigma,
            "center": center,
            "unit": unit,
            "margin": margin,
            "instance_weight": instance_weight,
            "smoothness_weight": smoothness_weight,
            "seed_weight": seed_weight,
            "foreground_weight": foreground_weight,
            "ignore_index": ignore_index,
        }

    def forward(
        self, outputs: Mapping[str, Tensor], instances: Tensor, semantic: Tensor | None = None
    ) -> dict[str, Tensor]:
        return spatial_embedding_loss(outputs, instances, semantic, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.options.items())


BACKGROUND, IGNORED = -1, -2


def _pairs(
    embedding: Tensor, middle: Tensor, stretch: Tensor, numbers: Tensor, picture: Tensor
) -> tuple[Tensor, Tensor]:
    """Each instance with its own pixels, and with all others of its picture that are not negligible.

    The distances of all pixels to all centres would not fit into memory: a few instances at a time.

    Args:
        embedding: (B, H·W, 2), px.
        middle, stretch: (N, 2), centre in px and s in 1/px².
        numbers: int64 (B, H·W), whose a pixel is: 0..N-1, BACKGROUND or IGNORED.
        picture: int64 (N,) in rising order.

    Returns:
        places in the flattened (B·H·W) and instances, int64 (M,) each, the instances in rising order.
    """
    area = embedding.shape[1]
    together = max(1, PAIRS_AT_ONCE // area)
    where, owner = [numbers.new_zeros(0)], [numbers.new_zeros(0)]
    first = 0
    for index, count in enumerate(torch.bincount(picture, minlength=len(embedding)).tolist()):
        x, y = embedding[index].t().contiguous()  # (H·W,) each
        whose = numbers[index]
        for start in range(first, first + count, together):
            some = torch.arange(start, min(start + together, first + count), device=x.device)
            (cx, cy), (sx, sy) = (
                values[some].t()[..., None] for values in (middle, stretch)
            )  # (n, 1) each
            exponent = (x - cx).square_().mul_(sx).add_((y - cy).square_().mul_(sy))  # (n, H·W)
            near = (exponent <= -math.log(NEGLIGIBLE)).logical_and_(whose != IGNORED)
            near |= whose == some[:, None]
            which, place = near.nonzero(as_tuple=True)
            where.append(place + index * area)
            owner.append(which + start)
        first += count
    return torch.cat(where), torch.cat(owner)


def check_options(sigma: str, center: str, unit: float, margin: float | None) -> None:
    """Raises ValueError for options out of range."""
    if sigma not in CHANNELS:
        raise ValueError(f"sigma is {sigma!r}; it must be one of {', '.join(map(repr, CHANNELS))}")
    if center not in ("centroid", "learned"):
        raise ValueError(f'center is {center!r}; it must be "centroid" or "learned"')
    if not unit > 0:
        raise ValueError(f"unit is {unit}; it must be above 0 px")
    if (margin is None) == (sigma == "fixed") or (margin is not None and not margin > 0):
        raise ValueError(
            f"margin is {margin} and sigma {sigma!r}; fixed sigma needs a margin above 0 px, and "
            "only it has one"
        )


def _outputs(outputs: Mapping[str, Tensor], sigma: str) -> tuple[Tensor, Tensor, Tensor]:
    """Offset, raw σ (with fixed σ anything) and seed, checked."""
    names = ("offset", "seed") if sigma == "fixed" else ("offset", "sigma", "seed")
    if missing := [name for name in names if name not in outputs]:
        raise KeyError(f"outputs lacks {', '.join(missing)}; it has {', '.join(outputs)}")
    offset, seed = outputs["offset"], outputs["seed"]
    raw = offset if sigma == "fixed" else outputs["sigma"]
    for name in names:
        value = outputs[name]
        channels = {"offset": 2, "sigma": CHANNELS[sigma], "seed": max(1, seed.shape[1])}[name]
        expected = (offset.shape[0], channels, *offset.shape[2:])
        if not value.is_floating_point():
            raise TypeError(f"{name} is {value.dtype}; it must be floating point")
        if tuple(value.shape) != expected or value.ndim != 4:
            raise ValueError(f"{name} has shape {tuple(value.shape)}; it must be {expected}")
    return offset, raw, seed


def _check_truth(instances: Tensor, semantic: Tensor | None, offset: Tensor, seed: Tensor) -> None:
    expected = (offset.shape[0], *offset.shape[2:])
    for name, labels in [("instances", instances), ("semantic", semantic)]:
        if labels is None:
            continue
        if labels.is_floating_point() or labels.is_complex():
            raise TypeError(f"{name} is {labels.dtype}; it must be integer")
        if tuple(labels.shape) != expected:
            raise ValueError(f"{name} has shape {tuple(labels.shape)}; it must be {expected}")
    classes = seed.shape[1]
    if semantic is None:
        if classes > 1:
            raise ValueError(
                f"semantic is None; {classes} seed maps need the classes of the pixels"
            )
        return
    known = semantic[semantic != 255]
    if known.numel() and not 0 <= int(known.min()) <= int(known.max()) <= classes:
        raise ValueError(
            f"semantic runs from {int(known.min())} to {int(known.max())}; with {classes} seed maps it "
            f"must be in 0..{classes}, or 255"
        )
