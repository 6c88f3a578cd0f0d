"""A transposed convolution in three views that give the same numbers."""

from __future__ import annotations

import numpy as np
import traitlets
from PIL import Image

from lessons_lib.widgets import encode, still
from lessons_lib.widgets.figure import Figure

VIEWS = ("scatter", "zeros", "matrix")
INPUT = [3, 1, 2, 5, 4, 6]  # different numbers, so that each can be followed
KERNEL = [1, 2, 3, 4, 5]  # rising, so that a flipped kernel shows


class TransposedStepper(Figure):
    """One transposed convolution as scattered sums, as zeros between, and as a matrix.

    *Scatter*: each input cell stamps the kernel, scaled, on the output; overlaps add and padding
    crops. *Zeros*: stride − 1 zeros between the input cells, then an ordinary convolution of
    stride 1 with the flipped kernel and a padding of dilation·(k − 1) − padding. *Matrix*: the
    transposed matrix of the ordinary convolution that goes the other way (Dumoulin and Visin,
    2016, chapter 4). The page computes all three and compares them. The values are fixed: an
    input of 3, 1, 2, 5, 4, 6 and a kernel of 1, 2, 3, 4, 5, as many of each as asked for.

    Args:
        input_size: n, 1 to 6 cells.
        kernel_size: k, 1 to 5 cells.
        stride: s, 1 to 4: the step of the stamps on the output.
        padding: p, 0 to k − 1: cells cropped from both ends of the output.
        output_padding: Cells added at the end of the output, less than stride or dilation.
        dilation: d, 1 to 3: the step between the kernel's cells.
        view: ``"scatter"``, ``"zeros"`` or ``"matrix"``: the view to begin with.
        dimensions: 1 or 2.
        alt: What the figure shows; default: a sentence with its numbers.

    Raises:
        ValueError: If an argument is not as above or the output would be empty; the message
            names the argument and the rule.
    """

    _helpers = ("cells",)

    input_size = traitlets.Int(4).tag(sync=True)
    kernel_size = traitlets.Int(3).tag(sync=True)
    stride = traitlets.Int(2).tag(sync=True)
    padding = traitlets.Int(1).tag(sync=True)
    output_padding = traitlets.Int(0).tag(sync=True)
    dilation = traitlets.Int(1).tag(sync=True)
    view = traitlets.Enum(VIEWS, "scatter").tag(sync=True)
    dimensions = traitlets.Int(1).tag(sync=True)

    def __init__(
        self,
        input_size: int = 4,
        kernel_size: int = 3,
        stride: int = 2,
        padding: int = 1,
        output_padding: int = 0,
        dilation: int = 1,
        *,
        view: str = "scatter",
        dimensions: int = 1,
        alt: str | None = None,
    ) -> None:
        encode.check_whole("input_size", input_size, 1, 6)
        encode.check_whole("kernel_size", kernel_size, 1, 5)
        encode.check_whole("stride", stride, 1, 4)
        encode.check_whole("padding", padding, 0, kernel_size - 1, "kernel_size − 1")
        encode.check_whole("dilation", dilation, 1, 3)
        most = max(stride, dilation) - 1
        encode.check_whole("output_padding", output_padding, 0, most, "max(stride, dilation) − 1")
        encode.check_whole("dimensions", dimensions, 1, 2)
        if view not in VIEWS:
            raise ValueError(f"view is {view!r}; expected one of {', '.join(map(repr, VIEWS))}")
        size = (
            (input_size - 1) * stride
            - 2 * padding
            + dilation * (kernel_size - 1)
            + output_padding
            + 1
        )
        if size < 1:
            raise ValueError(
                f"padding is {padding}; the output would have {size} cells, and at least 1 is "
                "needed: (n − 1)·s − 2p + d·(k − 1) + output_padding + 1 ≥ 1"
            )
        super().__init__(
            input_size=int(input_size),
            kernel_size=int(kernel_size),
            stride=int(stride),
            padding=int(padding),
            output_padding=int(output_padding),
            dilation=int(dilation),
            view=view,
            dimensions=int(dimensions),
            alt=alt
            or f"A transposed convolution of {input_size} cells with a kernel of {kernel_size}, "
            f"stride {stride} and padding {padding}, gives {size} cells; three ways to compute it.",
        )

    def output_size(self) -> int:
        """Return (n − 1)·s − 2p + d·(k − 1) + output_padding + 1, the cells a side of the output."""
        spread = (self.input_size - 1) * self.stride + self.dilation * (self.kernel_size - 1)
        return spread - 2 * self.padding + self.output_padding + 1

    def values(self) -> tuple[np.ndarray, np.ndarray]:
        """Return input and kernel: int64, (n,) and (k,), or (n, n) and (k, k)."""
        line = np.array(INPUT[: self.input_size])
        taps = np.array(KERNEL[: self.kernel_size])
        if self.dimensions == 1:
            return line, taps
        # Rows differ, so that rows and columns cannot be mistaken for each other.
        turned = [np.roll(INPUT, -row)[: self.input_size] for row in range(self.input_size)]
        k = self.kernel_size
        return np.array(turned), (np.arange(k)[:, None] * 2 + np.arange(k)) % 5 + 1

    def output(self) -> np.ndarray:
        """Return the output as the page shows it, by scattered sums: int64 (L,) or (L, L)."""
        line, taps = self.values()
        n, k, s, d = self.input_size, self.kernel_size, self.stride, self.dilation
        size, p = self.output_size(), self.padding
        whole = np.zeros([(n - 1) * s + d * (k - 1) + 1 + self.output_padding] * line.ndim, int)
        for place, value in np.ndenumerate(line):
            stamp = tuple(slice(i * s, i * s + d * (k - 1) + 1, d) for i in place)
            whole[stamp] += value * taps
        return whole[(slice(p, p + size),) * line.ndim]

    def describe(self) -> str:
        """Return sizes and settings."""
        return (
            f"n={self.input_size}, k={self.kernel_size}, s={self.stride}, p={self.padding}, "
            f"d={self.dilation}, output_padding={self.output_padding}"
        )

    def poster(self) -> Image.Image:
        """Return input, kernel and output as grids of numbers."""
        line, taps = (np.atleast_2d(values) for values in self.values())
        wide = 1.6 if self.dimensions == 1 else 1.0
        row = still.side_by_side(
            still.grid(line, part=0.7),
            still.grid(taps, part=0.6),
            still.grid(np.atleast_2d(self.output()), part=wide),
        )
        # One row of cells needs no square panel.
        middle = row.height // 2
        return row if self.dimensions == 2 else row.crop((0, middle - 40, row.width, middle + 40))
