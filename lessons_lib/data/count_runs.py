"""COCO's run lengths, compressed or not, as runs of foreground in flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import DataError

Ints = NDArray[np.int64]


def check_counts(value: Any, name: str) -> Ints:
    """Run lengths given as a list, int64 (N,)."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists within the list
        array = np.empty((0, 0))
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise DataError(f"{name}: counts must be a flat list of integers, 0 or more")
    return array.astype(np.int64)


def count_runs(
    length: Ints, ends: Ints, mask: Ints, size: Ints, names: Sequence[str]
) -> tuple[Ints, Ints, Ints]:
    """Start, stop and mask of the foreground runs of run lengths; empty runs are left out.

    The lengths of many masks follow one another, those of the k-th up to ``ends[k]``.
    """
    of = np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
    if len(length) and length.min() < 0:
        n = mask[of[length.argmin()]]
        raise DataError(f"{names[n]}: counts hold {length.min()}; each must be 0 or more")
    total = np.concatenate(([0], np.cumsum(length)))
    begins = np.concatenate(([0], ends[:-1])).astype(np.int64)
    before = total[begins[: len(ends)]]
    wrong = total[ends] - before != size[mask]
    if wrong.any():
        k = int(wrong.argmax())
        raise DataError(
            f"{names[mask[k]]}: counts add up to {total[ends[k]] - before[k]}; the picture has "
            f"{size[mask[k]]} pixels"
        )
    keep = np.flatnonzero(((np.arange(len(length)) - begins[of]) % 2 == 1) & (length > 0))
    of = of[keep]
    stop = total[keep + 1] - before[of]
    return stop - length[keep], stop, mask[of]


def decompress(texts: Sequence[bytes], names: Sequence[str]) -> tuple[Ints, Ints]:
    """The run lengths of many compressed texts, one after another, and where each one's end (N,).

    Each character holds five bits, the lowest first, plus 48; bit six says that more follow, and
    the highest bit of the last group is the sign. From the fourth length on the number is the
    difference from the length two before.
    """
    data = np.frombuffer(b"".join(texts), np.uint8).astype(np.int64) - 48
    ends_of_text = np.cumsum([len(t) for t in texts], dtype=np.int64)
    if len(data) and (data.min() < 0 or data.max() > 63):
        bad = int(np.argmax((data < 0) | (data > 63)))
        raise DataError(
            f"{names[int(np.searchsorted(ends_of_text, bad, 'right'))]}: counts hold the character "
            f"{chr(int(data[bad]) + 48)!r}; compressed run lengths use '0' to 'o'"
        )
    final = (data & 32) == 0
    for n, end in enumerate(ends_of_text):
        if len(texts[n]) and not final[end - 1]:
            raise DataError(f"{names[n]}: counts end in the middle of a number")
    last = np.flatnonzero(final)
    if not len(last):
        return np.empty(0, np.int64), np.zeros(len(texts), np.int64)
    begin = np.concatenate(([0], last[:-1] + 1))
    digit = np.arange(len(data)) - np.repeat(begin, last - begin + 1)
    if digit.max() > 10:
        raise DataError(f"{names[0]} or one after it: counts hold a number beyond 2^55")
    value = np.add.reduceat((data & 31) << (5 * digit), begin)
    value -= np.where(data[last] & 16, np.int64(1) << (5 * (last - begin + 1)), 0)
    ends = np.searchsorted(last, ends_of_text)  # numbers that are complete before each text's end
    begins = np.concatenate(([0], ends[:-1]))
    place = np.arange(len(value)) - np.repeat(begins, np.diff(ends, prepend=0))
    # Differences become lengths by adding up every second number of each text, the first left out.
    for odd in (0, 1):
        chosen = np.flatnonzero((place % 2 == odd) & (place > 0))
        if len(chosen):
            total = np.cumsum(value[chosen])
            opens = place[chosen] == 2 - odd
            base = (total - value[chosen])[opens]
            value[chosen] = total - base[np.cumsum(opens) - 1]
    return value, ends
