"""A convolution step by step: every output cell is a weighted sum that can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import traitlets
from PIL import Image

from lessons_lib.widgets import encode, still
from lessons_lib.widgets.figure import Figure

KINDS = ("edge", "blur", "identity", "sharpen")
SIZES = (1, 2, 3, 5)
LARGEST_IMAGE = 12
LARGEST_KERNEL = 5


def named_kernel(kind: str, size: int) -> tuple[np.ndarray, int]:
    """Return the whole-number weights of a named kernel and what their sum is divided by.

    A kernel of even size has its middle at the upper left of its four central cells.

    Args:
        kind: ``"edge"`` (right side minus left side), ``"blur"`` (the mean), ``"identity"`` or
            ``"sharpen"`` (a cross: the middle, plus its difference from each other cell).
        size: 1, 2, 3 or 5.

    Returns:
        int64 (size, size), and the divisor: size² for the blur, else 1.

    Raises:
        ValueError: If kind or size is another.
    """
    if kind not in KINDS:
        raise ValueError(f"kernel is {kind!r}; expected one of {', '.join(map(repr, KINDS))}")
    if size not in SIZES:
        raise ValueError(f"size is {size}; expected one of {', '.join(map(str, SIZES))}")
    weights = np.zeros((size, size), np.int64)
    middle = (size - 1) // 2
    if kind == "blur":
        weights[:] = 1
        return weights, size * size
    if kind == "edge":
        weights[:, : size // 2] = -1
        weights[:, size - size // 2 :] = 1
        return weights, 1
    if kind == "sharpen":
        weights[middle, :] = weights[:, middle] = -1
        weights[middle, middle] = 2 * size - 1
        return weights, 1
    weights[middle, middle] = 1
    return weights, 1


class ConvolutionStepper(Figure):
    """A small picture, a kernel and the output of their convolution, cell by cell, in numbers.

    As in ``torch.nn.functional.conv2d`` the kernel is laid on without being flipped. The reader
    chooses kernel, stride, padding and dilation; the page computes the output, writes out the sum
    behind each of its cells and puts the numbers into the formula of the size. A kernel that does
    not fit is refused in the page, with the rule.

    Args:
        image: (H, W) numbers, at most 12×12; default: a bright bar on 7×7.
        kernel: ``"edge"``, ``"blur"``, ``"identity"``, ``"sharpen"``, one of these with a size of
            1, 2, 3 or 5 (``"edge 5"``; default 3), or the numbers of a kernel, at most 5×5.
            Default: ``"edge"``.
        stride: 1 to 4.
        padding: Zeros on every side, 0 to 4.
        dilation: Step between the kernel's cells, 1 to 3.
        alt: What the figure shows; default: a sentence with its numbers.

    Raises:
        ValueError: If an argument is not as above, or the kernel does not fit; the message says
            what it is and names the rule.
    """

    _helpers = ("cells",)

    values = traitlets.List(traitlets.List()).tag(sync=True)  # (H, W)
    # By name: {"weights": (kh, kw), "divisor": int}. Only Python knows how they are made.
    kernels = traitlets.Dict().tag(sync=True)
    kernel = traitlets.Unicode("edge 3").tag(sync=True)  # a key of kernels
    stride = traitlets.Int(1).tag(sync=True)
    padding = traitlets.Int(0).tag(sync=True)
    dilation = traitlets.Int(1).tag(sync=True)

    def __init__(
        self,
        image: Any = None,
        kernel: Any = None,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        alt: str | None = None,
    ) -> None:
        values = _bar() if image is None else _check_grid("image", image, LARGEST_IMAGE)
        kernels = {}
        for kind in KINDS:
            for size in SIZES:
                weights, divisor = named_kernel(kind, size)
                kernels[f"{kind} {size}"] = {"weights": weights.tolist(), "divisor": divisor}
        if kernel is None or isinstance(kernel, str):
            name = _check_name("edge" if kernel is None else kernel)
        else:
            name = "own"
            own = _check_grid("kernel", kernel, LARGEST_KERNEL)
            kernels[name] = {"weights": own.tolist(), "divisor": 1}
        encode.check_whole("stride", stride, 1, 4)
        encode.check_whole("padding", padding, 0, 4)
        encode.check_whole("dilation", dilation, 1, 3)
        shape = np.shape(kernels[name]["weights"])
        for axis, n, k in zip(("rows", "columns"), values.shape, shape, strict=True):
            span = dilation * (k - 1) + 1
            if span > n + 2 * padding:
                raise ValueError(
                    f"kernel spans {span} {axis}, the padded image has {n + 2 * padding}; "
                    "dilation·(k − 1) + 1 must be at most n + 2·padding"
                )
        rows, columns = values.shape
        super().__init__(
            values=values.tolist(),
            kernels=kernels,
            kernel=name,
            stride=int(stride),
            padding=int(padding),
            dilation=int(dilation),
            alt=alt
            or f"A grid of {rows} by {columns} numbers, a kernel of {shape[0]} by {shape[1]} and "
            "the output of their convolution; each output cell is shown as the sum it is.",
        )

    @traitlets.validate("kernel")
    def _check_kernel(self, proposal: Any) -> str:
        name = proposal["value"]
        if self.kernels and name not in self.kernels:
            raise ValueError(f"kernel is {name!r}; expected one of {', '.join(self.kernels)}")
        return name

    def weights(self) -> np.ndarray:
        """Return the kernel as it multiplies: float64 (kh, kw)."""
        chosen = self.kernels[self.kernel]
        return np.array(chosen["weights"], dtype=np.float64) / chosen["divisor"]

    def output(self) -> np.ndarray:
        """Return the convolution's output as the page shows it: float64 (H', W')."""
        padded = np.pad(np.array(self.values, dtype=np.float64), self.padding)
        weights, d = self.weights(), self.dilation
        spans = [d * (k - 1) + 1 for k in weights.shape]
        if spans[0] > padded.shape[0] or spans[1] > padded.shape[1]:
            return np.zeros((0, 0))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (spans[0], spans[1]))
        read = windows[:: self.stride, :: self.stride, ::d, ::d]
        return np.einsum("ijkl,kl->ij", read, weights)

    def describe(self) -> str:
        """Return sizes and settings."""
        size = "×".join(map(str, np.shape(self.values)))
        settings = f"stride={self.stride}, padding={self.padding}, dilation={self.dilation}"
        return f"{size}, {self.kernel}, {settings}"

    def poster(self) -> Image.Image:
        """Return input, kernel and output as grids of numbers."""
        padded = np.pad(np.array(self.values, dtype=np.float64), self.padding)
        kernel = np.array(self.kernels[self.kernel]["weights"])
        return still.side_by_side(
            still.grid(padded), still.grid(kernel, part=0.5), still.grid(self.output())
        )


def _bar() -> np.ndarray:
    """Return a bright bar, 3 wide, with soft sides on dark ground: (7, 7)."""
    values = np.ones((7, 7), np.int64)
    values[1:6, 2:5] = [[6, 9, 6]]
    values[[0, 6], :] = 0
    return values


def _check_name(kernel: str) -> str:
    kind, _, size = kernel.partition(" ")
    named_kernel(kind, int(size) if size.isdigit() else (-1 if size else 3))
    return f"{kind} {size or 3}"


def _check_grid(name: str, values: Any, most: int) -> np.ndarray:
    """Return a grid of numbers as int64 where all are whole, else rounded to two decimals."""
    grid = encode.to_numpy(values)
    if grid.ndim != 2 or not (1 <= grid.shape[0] <= most and 1 <= grid.shape[1] <= most):
        raise ValueError(
            f"{name} has shape {grid.shape}; expected (rows, columns), 1 to {most} each"
        )
    encode.check_finite(name, grid)
    grid = grid.astype(np.float64)
    if np.abs(grid).max() > 999:
        raise ValueError(f"{name} has the value {np.abs(grid).max():g}; expected at most 999")
    whole = (grid == np.rint(grid)).all()
    return grid.astype(np.int64) if whole else np.round(grid, 2)
