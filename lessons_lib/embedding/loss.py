"""The discriminative loss (De Brabandere, Neven, Van Gool, 2017, section 3.1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


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
            ``None``, the paper's loss, pushes all pairs. Hundreds of instances do not fit 2δd apart
            from one another; that only neighbours need to differ is due to Kulikov et al. (2018) and
            Chen et al. (2019).

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


def number_instances(instances: Tensor, ignore_index: int = -1) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers the instances of a batch 0, 1, 2, … in order of picture and id.

    Args:
        instances: integer (B, H, W); 0 = background.
        ignore_index: id that is treated like the background.

    Returns:
        ``pixel`` (P,): positions of the instances' pixels in the flattened (B·H·W);
        ``segment`` (P,): number of the instance that each belongs to;
        ``picture`` (C,): index of the picture that each instance is in.
    """
    flat = instances.flatten()
    pixel = ((flat != 0) & (flat != ignore_index)).nonzero()[:, 0]
    if len(pixel) == 0:
        return pixel, pixel.clone(), pixel.clone()
    ids = flat[pixel].long()
    picture_of_pixel = pixel // instances[0].numel()
    low, high = ids.aminmax()
    span = int(high - low) + 1
    if instances.shape[0] * span > 4 * flat.numel() + 1024:
        # ids far apart: sort them, since a table over their whole range would be large
        values, ids = torch.unique(ids, return_inverse=True)
        span = len(values)
    else:
        ids = ids - low
    key = picture_of_pixel * span + ids
    present = torch.zeros(instances.shape[0] * span, dtype=torch.long, device=flat.device)
    present[key] = 1
    segment = (present.cumsum(0) - 1)[key]
    return pixel, segment, present.nonzero()[:, 0] // span


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


def _places(instances: Tensor, pixel: Tensor, segment: Tensor, count: int) -> Tensor:
    """Centroid y and x, and the radius of the disc of equal area, of each instance: (C, 3), px."""
    height, width = instances.shape[1:]
    inside = pixel % (height * width)
    position = torch.stack([inside // width, inside % width], dim=1).float()
    area = torch.bincount(segment, minlength=count)[:, None].float()
    centroid = position.new_zeros(count, 2).index_add_(0, segment, position) / area
    return torch.cat([centroid, (area / torch.pi).sqrt()], dim=1)


class _MeansAndPull(torch.autograd.Function):
    """Means of the instances and, for each, the mean of [‖μ − x‖ − δv]₊² over its pixels.

    The gradient is written out, because it needs a third of the memory traffic of the recorded one.
    With h = [‖x − μ‖ − δv]₊ and its direction u = ∂‖x − μ‖/∂x, one pixel of instance c receives

        g = 2 h u · G_c / N_c          through its own distance, where G_c is the gradient of c's pull,
        (M_c − Σ_{j ∈ c} g_j) / N_c    through the mean, where M_c is the gradient of c's mean.
    """

    @staticmethod
    def forward(
        ctx: Any,
        embedding: Tensor,
        pixel: Tensor,
        segment: Tensor,
        count: int,
        delta_var: float,
        norm: int,
    ) -> tuple[Tensor, Tensor]:
        x = _take_pixels(embedding, pixel)  # (P, D)
        size = torch.bincount(segment, minlength=count).to(x.dtype)  # (C,)
        means = x.new_zeros(count, x.shape[1]).index_add_(0, segment, x) / size[:, None]
        offset = x
        for rows, owner in _blocks(x, segment):
            rows.sub_(means.index_select(0, owner))
        length = torch.linalg.vector_norm(offset, norm, dim=1)  # (P,)
        excess = (length - delta_var).clamp_(min=0)
        pull = x.new_zeros(count).index_add_(0, segment, excess.square()) / size
        ctx.save_for_backward(pixel, segment, size, offset, length, excess)
        ctx.norm = norm
        ctx.like = (embedding.shape, embedding.dtype, _is_channels_last(embedding))
        return means, pull

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_means: Tensor, grad_pull: Tensor) -> tuple:
        pixel, segment, size, offset, length, excess = ctx.saved_tensors
        scale = 2 * excess * (grad_pull / size).index_select(0, segment)  # (P,)
        if ctx.norm == 2:
            # at length 0 the offset is 0 as well, so that no direction is lost by the clamp
            scale /= length.clamp(min=torch.finfo(length.dtype).tiny)
        else:
            offset = offset.sign()
        through_own = torch.zeros_like(grad_means)
        for rows, owner, factor in _blocks(offset, segment, scale):
            through_own.index_add_(0, owner, rows * factor[:, None])
        through_mean = (grad_means - through_own) / size[:, None]  # (C, D)
        put = _PixelWriter(*ctx.like, device=offset.device)
        for rows, owner, factor, where in _blocks(offset, segment, scale, pixel):
            grad = torch.addcmul(through_mean.index_select(0, owner), rows, factor[:, None])
            put(where, grad)
        return put.result(), None, None, None, None, None


# Pixels at a time: intermediate results stay in the cache, and none has the full size.
BLOCK = 2**15


def _blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same stretches of tensors of equal length."""
    return zip(*(tensor.split(BLOCK) for tensor in tensors), strict=True)


def _is_channels_last(x: Tensor) -> bool:
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def _take_pixels(embedding: Tensor, pixel: Tensor) -> Tensor:
    """The vectors of the pixels, as a fresh float32 or float64 tensor (P, D)."""
    _, channels, height, width = embedding.shape
    if _is_channels_last(embedding):
        x = embedding.permute(0, 2, 3, 1).reshape(-1, channels).index_select(0, pixel)
    else:
        area = height * width
        x = embedding.flatten(2)[pixel // area, :, pixel % area]
    return x if x.dtype == torch.float64 else x.float()


class _PixelWriter:
    """The reverse of :func:`_take_pixels`: a tensor (B, D, H, W) of zeros with some vectors set."""

    def __init__(
        self,
        shape: torch.Size,
        dtype: torch.dtype,
        channels_last: bool,
        *,
        device: torch.device,
    ) -> None:
        batch, channels, height, width = shape
        self.shape, self.channels_last = shape, channels_last
        area = height * width
        size = (batch * area, channels) if channels_last else (batch, channels, area)
        self.values = torch.zeros(size, dtype=dtype, device=device)

    def __call__(self, pixel: Tensor, x: Tensor) -> None:
        x = x.to(self.values.dtype)
        if self.channels_last:
            self.values.index_copy_(0, pixel, x)
        else:
            area = self.values.shape[2]
            self.values[pixel // area, :, pixel % area] = x

    def result(self) -> Tensor:
        batch, channels, height, width = self.shape
        if self.channels_last:
            return self.values.view(batch, height, width, channels).permute(0, 3, 1, 2)
        return self.values.view(self.shape)


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
