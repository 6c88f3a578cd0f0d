"""Pairs of a saliency map and its truth, as all measures of this package take them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

Map: TypeAlias = Tensor | np.ndarray


@dataclass(frozen=True)
class Pairs:
    """Checked predictions and truths of B pictures of one size.

    Attributes:
        prediction: float64 (B, H, W) in [0, 1].
        truth: bool (B, H, W) on the same device, true where salient.
        single: whether one picture came in, as (H, W): then results are scalars, not (B,).
    """

    prediction: Tensor
    truth: Tensor
    single: bool

    def result(self, values: Tensor) -> Tensor:
        """(B, …) as the caller gets it: without the first axis if one picture came in."""
        return values[0] if self.single else values


def as_pairs(prediction: Map, truth: Map, normalize: bool = False) -> Pairs:
    """What all measures do first: check, and bring to float64 and bool.

    Args:
        prediction: how salient each pixel is, (B, 1, H, W) or (H, W), on any device: float in [0, 1], or bool, or
            uint8 as a PNG holds it (0..255, divided by 255).
        truth: of the same shape: bool; or float, salient above 0.5; or uint8: 0 and 1, or 0..255 (where any
            pixel of the batch exceeds 1) with salient above 128, as pysodmetrics has it.
        normalize: stretch each prediction to 0..1 first, by its smallest and largest value, as the evaluation
            codes of the field do; a constant one stays as it is.

    Raises:
        TypeError: for other types, naming the argument.
        ValueError: for shapes that differ or are none of the two, empty pictures, or values out of range.
    """
    (pairs,) = as_blocks(prediction, truth, normalize)
    return pairs


def as_blocks(
    prediction: Map, truth: Map, normalize: bool = False, pixels: int | None = None
) -> Iterator[Pairs]:
    """The same in parts: of ``pixels`` pixels at most, but at least a picture; ``None``: all together."""
    p, t = _as_tensor("prediction", prediction), _as_tensor("truth", truth)
    if p.shape != t.shape:
        raise ValueError(
            f"prediction has shape {tuple(p.shape)} and truth {tuple(t.shape)}; they must be the same"
        )
    if not (p.ndim == 2 or (p.ndim == 4 and p.shape[1] == 1)) or p.numel() == 0:
        raise ValueError(
            f"prediction has shape {tuple(p.shape)}; it must be (B, 1, H, W) or (H, W), none of them 0"
        )
    single, size = p.ndim == 2, p.shape[-2:]
    p, t = p.reshape(-1, *size), _as_mask(t.reshape(-1, *size).to(p.device))
    count = len(p) if pixels is None else max(1, pixels // size.numel())
    for values, mask in zip(p.split(count), t.split(count), strict=True):
        yield Pairs(_as_values(values, normalize), mask, single)


def _as_tensor(name: str, values: Map) -> Tensor:
    if isinstance(values, np.ndarray):
        # torch shares the memory of an array only if that is contiguous and may be written
        values = torch.from_numpy(np.require(values, requirements=["C", "W"]))
    elif not isinstance(values, Tensor):
        raise TypeError(f"{name} is a {type(values).__name__}; it must be a tensor or an array")
    if not (values.is_floating_point() or values.dtype in (torch.uint8, torch.bool)):
        raise TypeError(f"{name} is {values.dtype}; it must be floating point, uint8 or bool")
    return values.detach()


def _as_values(prediction: Tensor, normalize: bool) -> Tensor:
    """Predictions (B, H, W) as float64 in [0, 1]."""
    values = prediction.double()
    if prediction.dtype == torch.uint8:
        values.div_(255)
    elif prediction.dtype != torch.bool:
        _check_range("prediction", values)
    if not normalize:
        return values
    low, high = values.amin((1, 2), keepdim=True), values.amax((1, 2), keepdim=True)
    flat = low == high
    # a constant map stays as it is: minus 0, divided by 1
    return (values - low.masked_fill(flat, 0)).div_((high - low).masked_fill(flat, 1))


def _as_mask(truth: Tensor) -> Tensor:
    if truth.dtype == torch.bool:
        return truth
    if truth.dtype == torch.uint8:
        return truth > (128 if truth.amax() > 1 else 0)
    _check_range("truth", truth)
    return truth > 0.5


def _check_range(name: str, values: Tensor) -> None:
    low, high = (float(value) for value in values.aminmax())
    if not (low >= 0 and high <= 1):  # false for NaN too, which aminmax passes on
        raise ValueError(f"{name} has values from {low} to {high}; they must be in [0, 1]")
