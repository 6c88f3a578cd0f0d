"""Checkers of chapter 2."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from lessons_lib.convolution import conv_output_size
from lessons_lib.exercises.checking import NotYet, call, numbers


def check_input_sizes(function: Callable[[int, int, int, int], Any]) -> bool:
    """``input_sizes(output_size, kernel_size, stride, padding)`` → all sizes a convolution maps there."""
    for size, k, s, p in product((1, 4, 9), (2, 3, 5), (1, 2, 3), (0, 1)):
        if size == 1 and k <= 2 * p:
            continue  # there the smallest legal input cuts the list short
        right = []
        for n in range(1, 60):
            if k <= n + 2 * p and conv_output_size(n, k, s, p) == size:
                right.append(n)
        answer = numbers(call(function, size, k, s, p), "input_sizes")
        yours = answer.tolist()
        setting = f"output size {size}, kernel {k}, stride {s}, padding {p}"
        if yours == right:
            continue
        if len(yours) < len(right) and set(yours) <= set(right):
            raise NotYet(
                f"For {setting} you give {yours}; there are more: a convolution of stride {s} lets "
                f"up to {s - 1} rows at the end go unread."
            )
        if sorted(yours) == right:
            raise NotYet("These are the right sizes; give them from the smallest to the largest.")
        raise NotYet(
            f"For {setting} the numbers are {right}; yours are {yours}. Solve "
            f"⌊(n + 2p − k) / s⌋ + 1 = {size} for n: which values can the floor hide?"
        )
    print("Right: s sizes in a row, which is why the way back has to be told one.")
    return True


def check_transposed_row(
    function: Callable[[NDArray[np.float64], NDArray[np.float64], int, int, int], Any],
) -> bool:
    """``transposed_row(x (n,), w (k,), stride, padding, output_padding)`` → the output row."""
    rng = np.random.default_rng(0)
    for n, k, s, p in product((1, 2, 5), (1, 3, 4), (1, 2, 3), (0, 1, 2)):
        for o in range(s):
            if (n - 1) * s + k + o <= 2 * p:
                continue
            x, w = rng.integers(1, 9, n).astype(float), rng.integers(1, 9, k).astype(float)
            row = torch.from_numpy(x)[None, None], torch.from_numpy(w)[None, None]
            right = F.conv_transpose1d(*row, None, s, p, o)[0, 0].numpy()
            yours = numbers(call(function, x.copy(), w.copy(), s, p, o), "transposed_row")
            if len(yours) == len(right) and np.allclose(yours, right):
                continue
            _explain_row(x, w, s, p, o, right, yours)
    print("Right: the stamps, their sums and both paddings are torch's.")
    return True


def _explain_row(
    x: NDArray[np.float64],
    w: NDArray[np.float64],
    s: int,
    p: int,
    o: int,
    right: NDArray[np.float64],
    yours: NDArray[np.float64],
) -> None:
    setting = (
        f"for x = {x.astype(int).tolist()}, w = {w.astype(int).tolist()}, stride {s}, padding {p}, "
        f"output padding {o}"
    )
    canvas = (len(x) - 1) * s + len(w)
    if len(yours) != len(right):
        if p and len(yours) == canvas + 2 * p + o:
            raise NotYet(f"Padding crops; yours adds zeros round the output, {setting}.")
        if p and len(yours) == canvas + o:
            raise NotYet(f"You forget the padding, which crops both ends of the output, {setting}.")
        if o and len(yours) == len(right) - o:
            raise NotYet(f"You leave out the output padding: keep {o} more at the end, {setting}.")
        raise NotYet(
            f"The output has (n − 1)·s + k − 2p + o = {len(right)} numbers {setting}; yours has "
            f"{len(yours)}."
        )
    mine = np.zeros(canvas + o)
    last = np.zeros(canvas + o)
    for i, value in enumerate(x):
        mine[i * s : i * s + len(w)] += value * w[::-1]
        last[i * s : i * s + len(w)] = value * w
    if np.allclose(yours, mine[p : p + len(right)]):
        raise NotYet(f"You turn the kernel round. A stamp is the kernel as it is, {setting}.")
    if np.allclose(yours, last[p : p + len(right)]):
        raise NotYet(f"Where two stamps overlap, they add up; yours keeps the last, {setting}.")
    kept = len(right) - o
    if o and np.allclose(yours[:kept], right[:kept]) and not np.any(yours[kept:]):
        raise NotYet(
            "Output padding does not append zeros: it keeps what the cropping would have cut off at "
            f"the end, {setting}."
        )
    raise NotYet(
        f"The output is {right.astype(int).tolist()} {setting}; yours is {yours.tolist()}."
    )


def check_stamps_per_phase(function: Callable[[int, int, int], Any]) -> bool:
    """``stamps_per_phase(kernel_size, stride, dilation)`` → how many stamps meet, (stride,)."""
    for k, s, d in product(range(1, 7), range(1, 5), range(1, 4)):
        right = [sum(j * d % s == phase for j in range(k)) for phase in range(s)]
        yours = numbers(call(function, k, s, d), "stamps_per_phase").tolist()
        if yours == right:
            continue
        setting = f"kernel {k}, stride {s}, dilation {d}"
        if len(yours) != s:
            raise NotYet(
                f"For {setting} there are {s} phases, so {s} numbers; yours are {len(yours)}."
            )
        if d > 1 and yours == [sum(j % s == phase for j in range(k)) for phase in range(s)]:
            raise NotYet(
                f"For {setting}: tap j of a stamp lies j·d behind its beginning. You leave out d."
            )
        if sorted(yours) == sorted(right):
            raise NotYet(
                f"For {setting} the counts are right, but not their places: phase r holds the "
                "outputs r, r + s, r + 2s, … of the canvas, which begins with the first stamp."
            )
        raise NotYet(f"For {setting} the counts are {right}; yours are {yours}.")
    print("Right: all equal exactly when k is a multiple of s, and d and s have no common factor.")
    return True
