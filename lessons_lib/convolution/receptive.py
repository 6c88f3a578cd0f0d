"""What a pixel of a feature map can see of the picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from lessons_lib.convolution.sizes import _whole

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_MAX_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
_AVERAGE_POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d)
_POINTWISE = (
    nn.Identity,
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Hardswish,
    nn.Hardsigmoid,
    nn.Sigmoid,
    nn.Tanh,
    nn.Softplus,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.LocalResponseNorm,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
)


@dataclass(frozen=True)
class ReceptiveField:
    """The pixels of the picture on which a pixel of a feature map depends, along one axis.

    Attributes:
        size: how many there are, px.
        stride: how many further on those of the next pixel of the map begin, px ("jump").
        first: where those of the map's pixel 0 begin; below 0 they begin in the padding.
    """

    size: int = 1
    stride: int = 1
    first: int = 0

    @property
    def centre(self) -> float:
        """Middle of what the map's pixel 0 sees, in pixels of the picture, whose first lies at 0."""
        return self.first + (self.size - 1) / 2

    def window(self, index: int) -> range:
        """The pixels that pixel ``index`` of the map sees; some may lie outside the picture."""
        start = self.first + index * self.stride
        return range(start, start + self.size)

    def after(
        self, kernel_size: int, stride: int = 1, dilation: int = 1, padding: int = 0
    ) -> ReceptiveField:
        """The receptive field one layer further on."""
        return ReceptiveField(
            self.size + (kernel_size - 1) * dilation * self.stride,
            self.stride * stride,
            self.first - padding * self.stride,
        )


def receptive_field(
    layers: nn.Module | Iterable[nn.Module | Sequence[Any]], axis: int | None = None
) -> ReceptiveField:
    """The receptive field after a chain of layers.

    From the first layer on, with size 1, stride 1 and first 0 at the beginning:

    - size  ← size + (k − 1)·d·stride
    - first ← first − p·stride
    - stride ← stride·s

    (Dumoulin and Visin, 2016; Araujo, Norris and Sim, *Computing receptive fields of convolutional
    neural networks*, Distill 2019, equations 1 to 4.) Pixels at the edge of the receptive field matter less than
    those in its middle, since fewer paths lead to them (Luo and others, 2016).

    Args:
        layers: an ``nn.Sequential``, one module, or a sequence of modules and of tuples
            ``(kernel_size, stride, dilation)`` or ``(kernel_size, stride, dilation, padding)``; what
            a tuple leaves out is stride 1, dilation 1, padding 0. Layers that work pixel by pixel
            (ReLU, batch normalisation as in evaluation, dropout) change nothing.
        axis: where kernels, strides … have one number an axis: the axis to follow (0 = height).
            ``None`` asks that all axes agree.

    Raises:
        ValueError: for a layer that has no fixed window, such as global pooling or a linear layer;
            for a network that is no chain (see :func:`~lessons_lib.convolution.layer_table`); for
            axes that differ; for numbers that are too small.
    """
    field = ReceptiveField()
    for number, layer in enumerate(_chain(layers)):
        window = _window(layer, f"layers[{number}]", axis)
        if window is not None:
            field = field.after(*window)
    return field


def _chain(layers: Any) -> Iterator[Any]:
    """The layers one after the other, out of sequences in sequences."""
    if isinstance(layers, nn.Module) and not isinstance(layers, (nn.Sequential, nn.ModuleList)):
        yield layers
        return
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            yield from _chain(layer)
        else:
            yield layer


def _window(layer: Any, name: str, axis: int | None) -> tuple[int, int, int, int] | None:
    """Kernel size, stride, dilation and padding of a layer; ``None`` where it has no window."""
    if isinstance(layer, _POINTWISE):
        return None
    if not isinstance(layer, nn.Module):
        if isinstance(layer, str) or not isinstance(layer, Sequence) or not 1 <= len(layer) <= 4:
            raise ValueError(
                f"{name} is {layer!r}; it must be a module or a tuple "
                f"(kernel_size, stride, dilation[, padding])"
            )
        values = [*layer, *(1, 1, 1, 0)[len(layer) :]]
    elif isinstance(layer, _CONVOLUTIONS):
        values = [layer.kernel_size, layer.stride, layer.dilation, layer.padding]
        if layer.padding == "valid":
            values[3] = 0
        elif layer.padding == "same":  # where the sum is odd, torch puts the odd one behind
            sums = zip(layer.kernel_size, layer.dilation, strict=True)
            values[3] = tuple(d * (k - 1) // 2 for k, d in sums)
    elif isinstance(layer, _MAX_POOLS):
        values = [layer.kernel_size, layer.stride, layer.dilation, layer.padding]
    elif isinstance(layer, _AVERAGE_POOLS):
        values = [layer.kernel_size, layer.stride, 1, layer.padding]
    else:
        raise ValueError(
            f"{name} is a {type(layer).__name__}, whose window does not follow from its settings or "
            f"is not known here; layer_table follows whole networks at a given size"
        )
    names = ("kernel_size", "stride", "dilation", "padding")
    k, s, d, p = (
        _one_axis(what, value, name, axis) for what, value in zip(names, values, strict=True)
    )
    return k, s, d, p


def _one_axis(what: str, value: Any, name: str, axis: int | None) -> int:
    if isinstance(value, (tuple, list)):
        if axis is None and len(set(value)) != 1:
            raise ValueError(
                f"axis is None, but the {what} of {name} is {value!r}; where axes differ, axis must "
                f"be one of 0..{len(value) - 1}"
            )
        if axis is not None and not 0 <= axis < len(value):
            raise ValueError(
                f"axis is {axis}; the {what} of {name} is {value!r}, so it must be in "
                f"0..{len(value) - 1}"
            )
        value = value[axis or 0]
    try:
        return _whole(what, value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
