"""Follows a network's operations: what each tensor sees of the picture, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

aten = torch.ops.aten

Pair = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class Seen:
    """What a pixel of a map sees: a window, the whole picture, or nobody knows.

    Attributes:
        kind: ``"flat"`` is a window whose map was flattened to one row.
        size: of the window, px (height, width); the largest, where pixels of the map differ.
        stride: pixels of the picture from one pixel of the map to the next.
    """

    kind: Literal["window", "flat", "all", "unknown"] = "window"
    size: Pair = (Fraction(1), Fraction(1))
    stride: Pair = (Fraction(1), Fraction(1))

    def wider(self, taps: Sequence[int | Fraction], step: Sequence[int | Fraction]) -> Seen:
        """After a layer whose pixel spans ``taps`` + 1 pixels of this map, ``step`` pixels apart."""
        if self.kind != "window":
            return self if self.kind == "all" else UNKNOWN
        size = [n + t * j for n, t, j in zip(self.size, taps, self.stride, strict=True)]
        stride = [j * s for j, s in zip(self.stride, step, strict=True)]
        return Seen("window", (size[0], size[1]), (stride[0], stride[1]))


ALL, UNKNOWN = Seen("all"), Seen("unknown")


def join(seen: Sequence[Seen]) -> Seen:
    """What a pixel sees that is computed from several maps: the largest window of them."""
    for special in (ALL, UNKNOWN):
        if special in seen:
            return special
    if len({(one.kind, one.stride) for one in seen}) > 1:
        if len({one.kind for one in seen}) > 1:
            return UNKNOWN
        # maps of another size, broadcast over each other
        stride = tuple(max(pair) for pair in zip(*(one.stride for one in seen), strict=True))
    else:
        stride = seen[0].stride
    size = tuple(max(pair) for pair in zip(*(one.size for one in seen), strict=True))
    return Seen(seen[0].kind, (size[0], size[1]), (stride[0], stride[1]))


class Follow(TorchDispatchMode):
    """Inside this mode, every tensor computed from the picture knows what it sees.

    Normalisation counts as pixel by pixel. Operations that are not known here lead to ``"unknown"``.

    Attributes:
        multiply_adds: of convolutions and matrix products so far.
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self.multiply_adds = 0
        self._seen = WeakTensorKeyDictionary()
        self._seen[picture] = Seen()

    def seen(self, tensor: Tensor) -> Seen | None:
        """What a tensor sees; ``None`` for one that does not come from the picture."""
        return self._seen.get(tensor)

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple = (), kwargs: Any = None
    ) -> Any:
        # before the operation runs: in place, it changes its operand
        operands = [one for t in tensors((args, kwargs)) if (one := self.seen(t)) is not None]
        result = operation(*args, **(kwargs or {}))
        self.multiply_adds += _multiply_adds(operation.overloadpacket, args, result)
        if operands:
            for output in tensors(result):
                self._seen[output] = _after(operation, args, operands, output)
        return result


def tensors(values: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (tuple, list)):
        for value in values:
            yield from tensors(value)
    elif isinstance(values, dict):
        yield from tensors(list(values.values()))


def _multiply_adds(operation: Any, args: tuple, result: Any) -> int:
    if operation == aten.convolution:
        image, weight, transposed = args[0], args[1], args[6]
        # each pixel of the smaller side meets each weight of its group once
        pixels = math.prod((image if transposed else result).shape[2:])
        return len(image) * pixels * weight.numel()
    if operation in (aten.mm, aten.bmm):
        return args[0].numel() * args[1].shape[-1]
    if operation in (aten.addmm, aten.baddbmm):
        return args[1].numel() * args[2].shape[-1]
    return 0


_UPSAMPLING = {  # further pixels of the input that a pixel of the output takes from
    aten.upsample_nearest2d: 0,
    aten._upsample_nearest_exact2d: 0,
    aten.upsample_bilinear2d: 1,
    aten.upsample_bicubic2d: 3,
}
_UNCHANGED = {
    aten.alias,
    aten.clone,
    aten.detach,
    aten._to_copy,
    aten.expand,
    aten.slice,
    aten.constant_pad_nd,
    aten.reflection_pad2d,
    aten.replication_pad2d,
    aten.native_batch_norm,
    aten.native_group_norm,
    aten.native_layer_norm,
    aten._softmax,
    aten._log_softmax,
}
_RESHAPING = {
    aten.view,
    aten._unsafe_view,
    aten.permute,
    aten.transpose,
    aten.squeeze,
    aten.unsqueeze,
}
_REDUCING = {aten.mean, aten.sum, aten.amax, aten.amin, aten.linalg_vector_norm}
_PRODUCTS = {aten.mm, aten.addmm, aten.bmm, aten.baddbmm}


def _after(operation: Any, args: tuple, operands: list[Seen], output: Tensor) -> Seen:
    """What the output of an operation sees."""
    packet = operation.overloadpacket
    if packet == aten.convolution:
        _, weight, _, stride, _, dilation, transposed = args[:7]
        kernel = weight.shape[2:]
        if len(kernel) != 2:
            return UNKNOWN
        if not transposed:
            return operands[0].wider(
                [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)], stride
            )
        taps = [_stamps(*sizes) for sizes in zip(kernel, stride, dilation, strict=True)]
        return operands[0].wider(taps, [Fraction(1, s) for s in stride])
    if packet in (aten.max_pool2d_with_indices, aten.avg_pool2d):
        kernel = _pair(args[1])
        stride = _pair(args[2]) if len(args) > 2 and args[2] else kernel
        dilation = (1, 1)
        if packet == aten.max_pool2d_with_indices and len(args) > 4:
            dilation = _pair(args[4])
        taps = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return operands[0].wider(taps, stride)
    if packet in _UPSAMPLING:
        return operands[0].wider([_UPSAMPLING[packet]] * 2, _ratio(args[0], output))
    if packet in (aten._adaptive_avg_pool2d, aten.adaptive_max_pool2d):
        if output.shape[-2:] == (1, 1):
            return ALL
        ratio = _ratio(args[0], output)
        bins = output.shape[-2:]
        return operands[0].wider([_bin(r, n) for r, n in zip(ratio, bins, strict=True)], ratio)
    if packet == aten.pixel_shuffle:
        return operands[0].wider((0, 0), [Fraction(1, args[1])] * 2)
    if packet in _REDUCING:
        return _reduced(args, operands[0])
    if packet in _RESHAPING:
        return _reshaped(args[0], operands[0], output)
    if packet in _UNCHANGED:
        return operands[0]
    if packet == aten.cat:
        channels = (args[1] if len(args) > 1 else 0) in (1, 1 - output.ndim)
        return join(operands) if channels else join([*operands, UNKNOWN])
    if torch.Tag.pointwise in operation.tags:
        return join(operands)
    if packet in _PRODUCTS and all(one.kind in ("flat", "all") for one in operands):
        return ALL
    return ALL if all(one == ALL for one in operands) else UNKNOWN


def _stamps(kernel: int, stride: int, dilation: int) -> int:
    """How far apart, in pixels of the input, the stamps lie that meet in a pixel of the output.

    A pixel takes from taps that are a multiple of ``apart`` from each other, for only those stamps
    fall on it.
    """
    apart = stride // math.gcd(stride, dilation)
    return (kernel - 1) // apart * apart * dilation // stride


def _bin(ratio: Fraction, bins: int) -> int:
    """How far the widest bin of adaptive pooling spans: bin i is ⌊i·r⌋ … ⌈(i + 1)·r⌉ − 1."""
    widths = [math.ceil((i + 1) * ratio) - math.floor(i * ratio) for i in range(bins)]
    return max(widths) - 1


def _pair(value: Sequence[int]) -> tuple[int, int]:
    return (value[0], value[-1])


def _ratio(image: Tensor, output: Tensor) -> list[Fraction]:
    sizes = zip(image.shape[-2:], output.shape[-2:], strict=True)
    return [Fraction(before, after) for before, after in sizes]


def _reduced(args: tuple, seen: Seen) -> Seen:
    """Mean, sum, largest … over some axes: over height and width together, the whole picture."""
    given = args[2] if len(args) > 2 and isinstance(args[2], (list, tuple)) else None
    if given is None:
        given = args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else None
    if seen.kind != "window" or args[0].ndim != 4:
        return seen if seen == ALL else UNKNOWN
    axes = {axis % 4 for axis in given} if given else {0, 1, 2, 3}
    if {2, 3} <= axes:
        return ALL
    return UNKNOWN if axes & {0, 2, 3} else seen


def _reshaped(image: Tensor, seen: Seen, output: Tensor) -> Seen:
    """Views keep what they see while height and width stay what they are, or all becomes one row."""
    if seen.kind in ("all", "unknown") or image.shape == output.shape:
        return seen
    if output.ndim == 2 and output.shape[1] == image[0].numel() and len(output) == len(image):
        return Seen("flat", seen.size, seen.stride)
    if seen.kind == "window" and image.ndim >= 3 and output.shape[-2:] == image.shape[-2:]:
        return seen
    return UNKNOWN
