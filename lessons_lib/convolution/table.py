"""A network's layers as a table."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import torch
from torch import nn

from lessons_lib.convolution.follow import Follow, Pair, Seen, tensors

HEAD = ("layer", "type", "output", "parameters", "multiply-adds", "sees", "stride")
ELSEWHERE = "(elsewhere)"


@dataclass(frozen=True)
class Layer:
    """One call of a layer.

    Attributes:
        name: its path in the model, as ``named_modules`` has it.
        type: name of its class.
        output_shape: without the batch: (C, H, W) or (features,).
        parameters: numbers in its weights; 0 where an earlier row counted them.
        multiply_adds: for one picture, of convolutions and matrix products; additions of a bias,
            normalisation, activations and pooling are not counted.
        receptive_field: what a pixel of the output sees of the picture, px: one number, (height,
            width) where they differ, ``"all"`` for the whole picture, ``None`` where it is not
            known. Where pixels differ, as after upsampling, the largest.
        stride: pixels of the picture from one pixel of the output to the next; ``None`` with
            ``"all"`` and where it is not known.
    """

    name: str
    type: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: int | tuple[int, int] | Literal["all"] | None
    stride: Fraction | tuple[Fraction, Fraction] | None

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as text, one entry for each of the table's columns."""
        shape = " × ".join(map(str, self.output_shape))
        counts = (f"{self.parameters:,}", f"{self.multiply_adds:,}")
        if self.name == ELSEWHERE:
            return (self.name, "", "", *counts, "", "")
        sees = "?" if self.receptive_field is None else _text(self.receptive_field)
        stride = "" if self.stride is None else _text(self.stride)
        return (self.name, self.type, shape, *counts, sees, stride)


@dataclass(frozen=True, repr=False)
class LayerTable:
    """What :func:`layer_table` returns; prints as text, and in a notebook as a table.

    ``rows`` has one entry for each call of a layer, in the order of the calls. What happens outside
    of layers (functions that multiply, parameters that no called layer owns) stands in a last row
    named ``(elsewhere)``, if there is any.
    """

    rows: tuple[Layer, ...]

    @property
    def parameters(self) -> int:
        """Of all rows together: those of the model, each counted once."""
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Of all rows together, for one picture."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def _total(self) -> tuple[str, ...]:
        return ("total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}", "", "")

    def __str__(self) -> str:
        lines = [HEAD, *(row.cells for row in self.rows), self._total]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join(
                cell.rjust(width) if number > 2 else cell.ljust(width)
                for number, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        def row(cells: tuple[str, ...], tag: str) -> str:
            parts = []
            for number, cell in enumerate(cells):
                align = "right" if number > 2 else "left"
                parts.append(
                    f'<{tag} style="text-align: {align}; padding: 0 0.5em">{html.escape(cell)}</{tag}>'
                )
            return f"<tr>{''.join(parts)}</tr>"

        body = "\n".join(row(one.cells, "td") for one in self.rows)
        return (
            f"<table>\n<thead>{row(HEAD, 'th')}</thead>\n<tbody>\n{body}\n</tbody>\n"
            f"<tfoot>{row(self._total, 'th')}</tfoot>\n</table>"
        )


def layer_table(model: nn.Module, input_size: tuple[int, int, int]) -> LayerTable:
    """Every layer of a network: output, parameters, multiply-adds, and what its pixels see.

    One row for each call of a module without children. The network runs once on the shape of a
    picture, in evaluation mode and on torch's ``meta`` device, so that nothing is computed and any
    size is quick; if its ``forward`` needs real numbers, it runs on zeros instead. The model is as before afterwards.

    The receptive field is followed through branches: after a sum or a concatenation, the largest of
    the operands'. Upsampling divides the stride. A normalisation counts as pixel by pixel, though
    group, instance and layer normalisation take statistics of the whole map.

    Args:
        model: any module that takes one picture (1, C, H, W); its output may be a tensor, or
            tensors in tuples, lists and dicts.
        input_size: (C, H, W).

    Raises:
        ValueError: for an ``input_size`` that is not three positive whole numbers; whatever the model
            raises for it, it raises here.
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model is a {type(model).__name__}; it must be a torch.nn.Module")
    if (
        not isinstance(input_size, (tuple, list))
        or len(input_size) != 3
        or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in input_size)
    ):
        raise ValueError(f"input_size is {input_size!r}; it must be (C, H, W), each at least 1")
    owned: dict[int, int] = {}  # parameter → module that is the first to own it
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            owned.setdefault(id(parameter), id(module))
    counts: dict[int, int] = dict.fromkeys(owned.values(), 0)
    for parameter in model.parameters():
        counts[owned[id(parameter)]] += parameter.numel()
    with torch.no_grad(), _evaluation(model):
        try:
            rows = _run(model, input_size, counts, torch.device("meta"))
        except (NotImplementedError, RuntimeError):  # values are needed, or the call is wrong
            rows = _run(model, input_size, counts, None)
    return LayerTable(tuple(rows))


def _run(
    model: nn.Module, input_size: tuple[int, ...], counts: dict[int, int], device: Any
) -> list[Layer]:
    """The rows of one call; on ``device``, or where the model is."""
    state = dict([*model.named_parameters(), *model.named_buffers()])
    like = next((t for t in state.values() if t.is_floating_point()), torch.empty(0))
    picture = torch.zeros(1, *input_size, dtype=like.dtype, device=device or like.device)
    state = {name: tensor.to(device) for name, tensor in state.items()} if device else {}
    left, rows = dict(counts), []
    mode = Follow(picture)
    started: list[int] = []

    def before(module: nn.Module, args: Any) -> None:
        started.append(mode.multiply_adds)

    def after(name: str, module: nn.Module, output: Any) -> None:
        work = mode.multiply_adds - started.pop()
        first = next(tensors(output), None)
        if first is None:
            return
        seen = mode.seen(first) or Seen("unknown")
        rows.append(
            Layer(
                name or "(model)",
                type(module).__name__,
                tuple(first.shape[1:]),
                left.pop(id(module), 0),
                work,
                _receptive_field(seen),
                _one(seen.stride) if seen.kind in ("window", "flat") else None,
            )
        )

    hooks = []
    try:
        for name, module in model.named_modules():
            if next(module.children(), None) is None:
                hooks.append(module.register_forward_pre_hook(before))
                hooks.append(
                    module.register_forward_hook(
                        lambda module, args, output, name=name: after(name, module, output)
                    )
                )
        with mode:
            torch.func.functional_call(model, state, (picture,))
    finally:
        for hook in hooks:
            hook.remove()
    parameters = sum(left.values())
    work = mode.multiply_adds - sum(row.multiply_adds for row in rows)
    if parameters or work:
        rows.append(Layer(ELSEWHERE, "", (), parameters, work, None, None))
    return rows


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; each module's own mode back after."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _receptive_field(seen: Seen) -> int | tuple[int, int] | Literal["all"] | None:
    if seen.kind == "all":
        return "all"
    if seen.kind == "unknown":
        return None
    height, width = (math.ceil(size) for size in seen.size)
    return height if height == width else (height, width)


def _one(pair: Pair) -> Fraction | Pair:
    return pair[0] if pair[0] == pair[1] else pair


def _text(value: Any) -> str:
    return " × ".join(map(str, value)) if isinstance(value, tuple) else str(value)
