"""How a training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

STYLES = ("-", "--", "-.", ":")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def learning_curves(history: Sequence[Mapping[str, float]], terms: Sequence[str]) -> Figure:
    """Terms of the loss over the steps, on a logarithmic scale.

    Args:
        history: of a :class:`~lessons_lib.training.Run`.
        terms: names of its columns; each gets a colour and a line style.
    """
    rows = [row for row in history if "loss" in row]
    figure, axis = plt.subplots(figsize=(6.5, 2.8), dpi=72, layout="constrained")
    for number, term in enumerate(terms):
        axis.semilogy(
            [row["step"] for row in rows],
            [max(row[term], 1e-6) for row in rows],
            STYLES[number % len(STYLES)],
            color=COLOURS[number % len(COLOURS)],
            label=term,
        )
    axis.set_xlabel("step")
    axis.set_ylabel("weighted term")
    axis.grid(alpha=0.3)
    axis.legend(frameon=False)
    return figure
