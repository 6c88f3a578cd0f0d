"""The discriminative loss (De Brabandere, Neven, Van Gool, 2017, section 3.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lessons_lib.embedding.pixels import Pixels, number_instances


def discriminative_loss(
    embedding: Tensor,
    instances: Tensor,
    *,
    delta_var: float = 0.5,
    delta_dist: float = 1.5,
    alpha: float = 1.0,
    beta: float = 1.0,
    gamma: float = 0.001,
    norm: int = 2,
    ignore_index: int = -1,
    reach: float | None = None,
) -> dict[str, Tensor]:
    r"""Pulls pixels to the mean of their instance, pushes the means apart, keeps them near 0.

    For one picture with instances 1..C, pixels :math:`x_i`, means :math:`\mu_c` (equations 1 to 4):

    .. math::
        L_{var}  &= \frac1C \sum_c \frac1{N_c} \sum_{i \in c} [\|\mu_c - x_i\| - \delta_v]_+^2 \\
        L_{dist} &= \frac1{C(C-1)} \sum_{a \ne b} [2\delta_d - \|\mu_a - \mu_b\|]_+^2 \\
        L_{reg}  &= \frac1C \sum_c \|\mu_c\|

    Each term is the mean over the pictures of the batch. A picture without instances counts as 0
    there; one with a single instance has no push term. The loss is computed in float32 (float64 for
    float64 input), so that half precision may come in; the gradient has the input's type.

    Args:
        embedding: float (B, D, H, W).
        instances: integer (B, H, W); 0 = background; any other ids, not only 1..C.
        delta_var: margin of the pull, in units of the embedding.
        delta_dist: half the margin of the push.
        alpha, beta, gamma: weights of the three terms.
        norm: 1 or 2, the distance that all terms use.
        ignore_index: id of pixels that take no part, like the background.
        reach: push only neighbours: pairs whose centroids in the picture are nearer than ``reach``
            times the sum of their radii (those of discs of the same area), averaged over those pairs.
            ``None``, the paper's loss, pushes all pairs. With hundreds of like instances
            a network cannot tell which is which across a picture; that only neighbours need to
            differ is due to Kulikov et al. (2018) and Chen et al. (2019).

    Returns:
        ``{"variance", "distance", "regularization"}``: weighted scalars; their sum is the loss.

    Raises:
        TypeError: for an embedding that is not floating point or instances that are not integer.
        ValueError: for shapes that do not agree, or options out of range.
    """
    _check(embedding, instances, delta_var, delta_dist, norm, reach)
    batch = embedding.shape[0]
    pixel, segment, picture = number_instances(instances, ignore_index)
    per_picture = torch.bincount(picture, minlength=batch)  # (B,) instances of each picture
    if not embedding.is_contiguous(memory_format=torch.channels_last):
        embedding = embedding.contiguous()
    means, pull = _MeansAndPull.apply(
        embedding, pixel, segment, len(picture), float(delta_var), norm
    )  # (C, D), (C,): all instances of the batch in one row

    # an instance's share in the mean over its picture's instances, then over the pictures
    share = 1 / (per_picture[picture] * batch).to(means.dtype)  # (C,)
    variance = (pull * share).sum()
    regularization = (torch.linalg.vector_norm(means, norm, dim=1) * share).sum()
    places = None if reach is None else _places(instances, pixel, segment, len(picture))
    distance = _push(means, picture, per_picture, delta_dist, norm, places, reach)
    return {
        "variance": alpha * variance,
        "distance": beta * distance,
        "regularization": gamma * regularization,
    }


class DiscriminativeLoss(nn.Module):
    """:func:`discriminative_loss` with its options kept; ``forward(embedding, instances)``."""

    def __init__(
        self,
        delta_var: float = 0.5,
        delta_dist: float = 1.5,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 0.001,
        norm: int = 2,
        *,
        ignore_index: int = -1,
        reach: float | None = None,
    ) -> None:
        super().__init__()
        _check_options(delta_var, delta_dist, norm, reach)
        self.options: dict[str, Any] = {
            "delta_var": delta_var,
            "delta_dist": delta_dist,
            "alpha": alpha,
            "beta": beta,
            "gamma": gamma,
            "norm": norm,
            "ignore_index": ignore_index,
            "reach": reach,
        }

    def forward(self, embedding: Tensor, instances: Tensor) -> dict[str, Tensor]:
        return discriminative_loss(embedding, instances, **self.options)

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.options.items())


def _push(
    means: Tensor,
    picture: Tensor,
    per_picture: Tensor,
    delta_dist: float,
    norm: int,
    places: Tensor | None,
    reach: float | None,
) -> Tensor:
    """Mean over pictures of the mean over ordered pairs of [2δd − ‖μa − μb‖]₊²."""
    most = int(per_picture.max()) if len(picture) else 0
    if most < 2:
        return means.sum() * 0.0
    first = per_picture.cumsum(0) - per_picture
    row = torch.arange(len(picture), device=means.device) - first[picture]

    def table(values: Tensor) -> Tensor:  # (C, K) → (B, most, K)
        return values.new_zeros(len(per_picture), most, values.shape[1]).index_put(
            (picture, row), values
        )

    # the exact form: the matrix-product form loses digits, and its gradient, for means that coincide
    exact = "donot_use_mm_for_euclid_dist"
    padded = table(means)
    apart = torch.cdist(padded, padded, p=norm, compute_mode=exact)
    used = torch.arange(most, device=means.device) < per_picture[:, None]  # (B, most)
    pairs = used[:, :, None] & used[:, None, :]
    pairs &= ~torch.eye(most, dtype=torch.bool, device=means.device)
    if places is not None:
        y, x, radius = table(places).split(1, dim=2)  # (B, most, 1) each
        centroid = torch.cat([y, x], dim=2)
        away = torch.cdist(centroid, centroid, compute_mode=exact)
        pairs &= away < reach * (radius + radius.mT)
    hinge = (2 * delta_dist - apart).clamp(min=0).square() * pairs
    return (hinge.sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)).mean()


def _places(instances: Tensor, pixel: Tensor | None, segment: Tensor, count: int) -> Tensor:
    """Centroid y and x, and the radius of the disc of equal area, of each instance: (C, 3), px."""
    height, width = instances.shape[1:]
    if pixel is None:
        pixel = torch.arange(len(segment), device=segment.device)
    inside = pixel % (height * width)
    position = torch.stack([inside // width, inside % width], dim=1).float()
    area = torch.bincount(segment, minlength=count)[:, None].float()
    centroid = position.new_zeros(count, 2).index_add_(0, segment, position) / area
    return torch.cat([centroid, (area / torch.pi).sqrt()], dim=1)


class _MeansAndPull(torch.autograd.Function):
    """Means of the instances and, for each, the mean of [‖μ − x‖ − δv]₊² over its pixels.

    The gradient is written out, because the recorded one moves several times as much memory. With
    h = [‖x − μ‖ − δv]₊ and its direction u = ∂‖x − μ‖/∂x, a pixel of instance c receives

        2 h u · G_c / N_c              through its own distance, where G_c is the gradient of c's pull,
        (M_c − V_c · G_c / N_c) / N_c  through the mean, where M_c is the gradient of c's mean and
                                       V_c the sum of 2 h u over c's pixels.

    Pixels are visited in blocks, so that what lies between input and gradient stays in the cache; no
    second tensor of the embedding's size is ever made.
    """

    @staticmethod
    def forward(
        ctx: Any,
        embedding: Tensor,
        pixel: Tensor | None,
        segment: Tensor,
        count: int,
        delta_var: float,
        norm: int,
    ) -> tuple[Tensor, Tensor]:
        pixels = Pixels(embedding, pixel)
        size = torch.bincount(segment, minlength=count).to(pixels.dtype)  # (C,)
        means = torch.zeros(count, embedding.shape[1], dtype=size.dtype, device=size.device)
        for where in pixels.blocks():
            means.index_add_(0, segment[where], pixels.take(where))
        means /= size[:, None]
        pull, direction = torch.zeros_like(size), torch.zeros_like(means)
        factor = size.new_empty(len(segment))  # 2h / ‖x − μ‖, what stretches x − μ into 2hu
        for where in pixels.blocks():
            owner = segment[where]
            offset = pixels.take(where) - means.index_select(0, owner)
            length = torch.linalg.vector_norm(offset, norm, dim=1)
            excess = (length - delta_var).clamp_(min=0)
            pull.index_add_(0, owner, excess.square())
            if ctx.needs_input_grad[0]:
                factor[where] = _factor(length, excess, norm)
                u = _direction(offset, norm).mul_(factor[where][:, None])
                direction.index_add_(0, owner, u)
        ctx.save_for_backward(embedding, pixel, segment, size, means, direction, factor)
        ctx.norm = norm
        return means, pull / size

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_means: Tensor, grad_pull: Tensor) -> tuple:
        embedding, pixel, segment, size, means, direction, factor = ctx.saved_tensors
        per_pixel = grad_pull / size  # (C,)
        through_mean = (grad_means - direction * per_pixel[:, None]) / size[:, None]  # (C, D)
        pixels = Pixels(embedding, pixel)
        # where all pixels are written, nothing needs to be cleared first
        fresh = torch.empty_like if pixel is None else torch.zeros_like
        grad = Pixels(fresh(embedding), pixel)
        for where in pixels.blocks():
            owner = segment[where]
            weight = factor[where] * per_pixel.index_select(0, owner)
            u = _direction(pixels.take(where) - means.index_select(0, owner), ctx.norm)
            grad.put(where, u.mul_(weight[:, None]).add_(through_mean.index_select(0, owner)))
        return grad.values, None, None, None, None, None


def _factor(length: Tensor, excess: Tensor, norm: int) -> Tensor:
    """2h, divided by the length where the direction is the offset itself (:func:`_direction`)."""
    if norm == 1:
        return 2 * excess
    # at length 0 the offset is 0 as well, so that no direction is lost by the clamp
    return 2 * excess / length.clamp(min=torch.finfo(length.dtype).tiny)


def _direction(offset: Tensor, norm: int) -> Tensor:
    """The gradient of ‖offset‖, up to a factor 1/length for the Euclidean norm."""
    return offset.sign() if norm == 1 else offset


def _check_options(delta_var: float, delta_dist: float, norm: int, reach: float | None) -> None:
    if delta_var < 0:
        raise ValueError(f"delta_var is {delta_var}; it must not be negative")
    if delta_dist < 0:
        raise ValueError(f"delta_dist is {delta_dist}; it must not be negative")
    if norm not in (1, 2):
        raise ValueError(f"norm is {norm!r}; it must be 1 or 2")
    if reach is not None and not reach > 0:
        raise ValueError(f"reach is {reach}; it must be above 0, or None for all pairs")


def _check(
    embedding: Tensor,
    instances: Tensor,
    delta_var: float,
    delta_dist: float,
    norm: int,
    reach: float | None,
) -> None:
    _check_options(delta_var, delta_dist, norm, reach)
    if embedding.ndim != 4:
        raise ValueError(f"embedding has shape {tuple(embedding.shape)}; it must be (B, D, H, W)")
    if not embedding.is_floating_point():
        raise TypeError(f"embedding is {embedding.dtype}; it must be floating point")
    if instances.is_floating_point() or instances.is_complex():
        raise TypeError(f"instances is {instances.dtype}; it must be integer")
    expected = (embedding.shape[0], *embedding.shape[2:])
    if tuple(instances.shape) != expected:
        raise ValueError(
            f"instances has shape {tuple(instances.shape)}; with an embedding of "
            f"{tuple(embedding.shape)} it must be {expected}"
        )
