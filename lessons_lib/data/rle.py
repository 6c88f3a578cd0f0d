"""COCO's run lengths (RLE) of one mask: write, read, compress, from polygons, area and IoU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from .count_runs import decompress
from .errors import DataError
from .mask_runs import MaskRuns, intersections, read_segmentations


class RLE(TypedDict):
    """A mask as COCO writes it: ``size`` (height, width) and ``counts``.

    ``counts`` are the lengths of runs of 0 and 1 in turn, down the columns, first of 0: a list of
    integers, or the same compressed to a text (:func:`compress_counts`).
    """

    size: list[int]
    counts: list[int] | str | bytes


def encode_rle(mask: ArrayLike | Tensor, compress: bool = False) -> RLE:
    """The run lengths of a mask.

    Args:
        mask: bool (H, W), or integers that are 0 or 1.
        compress: whether ``counts`` is a text, as in COCO's result files, and not a list.

    Raises:
        DataError: for another shape or other values.
    """
    array = mask.detach().cpu().numpy() if isinstance(mask, Tensor) else np.asarray(mask)
    if array.ndim != 2:
        raise DataError(f"mask has shape {array.shape}; it must be (H, W)")
    if array.dtype.kind not in "biu" or (array.size and (array.min() < 0 or array.max() > 1)):
        raise DataError(f"mask is {array.dtype}; it must be bool, or integers that are 0 or 1")
    flat = array.astype(bool).ravel(order="F")
    changes = np.flatnonzero(np.diff(flat, prepend=False))
    counts = np.diff(np.concatenate(([0], changes, [flat.size]))).tolist()
    return {"size": list(array.shape), "counts": compress_counts(counts) if compress else counts}


def decode_rle(rle: RLE) -> NDArray[np.bool_]:
    """The mask bool (H, W) of run lengths, compressed or not.

    Raises:
        DataError: for run lengths that do not add up to the size, or text that is none.
    """
    runs = _read([rle], "rle")
    height, width = int(runs.height[0]), int(runs.width[0])
    change = np.zeros(height * width + 1, np.int8)
    np.add.at(change, runs.start, 1)
    np.add.at(change, runs.stop, -1)
    return np.cumsum(change[:-1]).astype(bool).reshape((height, width), order="F")


def compress_counts(counts: Sequence[int]) -> str:
    """Run lengths as COCO's text: differences from the length two before, five bits a character.

    The first three lengths are written as they are. The lowest five bits come first; the sixth bit of
    a character says that more follow; 48 is added to make it printable.

    Raises:
        DataError: for lengths that are not integers, 0 or more.
    """
    characters = []
    for n, count in enumerate(counts):
        if isinstance(count, bool) or not isinstance(count, (int, np.integer)) or count < 0:
            raise DataError(f"counts[{n}] is {count!r}; it must be an integer, 0 or more")
        rest = int(count) - (int(counts[n - 2]) if n > 2 else 0)
        more = True
        while more:
            bits = rest & 31
            rest >>= 5
            more = rest != (-1 if bits & 16 else 0)
            characters.append(chr(bits + 32 * more + 48))
    return "".join(characters)


def decompress_counts(text: str | bytes) -> list[int]:
    """The run lengths of COCO's compressed text: what :func:`compress_counts` undoes.

    Raises:
        DataError: for other characters, a number without an end, or a negative length.
    """
    data = text.encode("latin-1", "replace") if isinstance(text, str) else text
    counts = decompress([data], ["text"])[0]
    if len(counts) and counts.min() < 0:
        raise DataError(f"text: run length {int(counts.argmin())} is negative")
    return counts.tolist()


def polygons_to_rle(polygons: Sequence[Sequence[float]], size: tuple[int, int]) -> RLE:
    """The union of polygons, filled by COCO's rule, so that every pixel is as in COCO's own tools.

    Args:
        polygons: each a flat list of corners ``[x1, y1, x2, y2, …]``, px; a whole number is the left or
            upper side of a pixel.
        size: (height, width) of the picture, px; what lies outside is cut off.

    Raises:
        DataError: for fewer than three corners, or numbers that are not finite.
    """
    if not isinstance(polygons, (list, tuple)):
        raise DataError(
            f"polygons is a {type(polygons).__name__}; it must be a list of lists of corners"
        )
    height, width = _size(size, "size")
    runs = read_segmentations([polygons], [(height, width)], ["polygons"])
    return {"size": [height, width], "counts": runs.counts(0)}


def rle_area(rle: RLE) -> int:
    """Pixels of a mask."""
    return int(_read([rle], "rle").area[0])


def rle_box(rle: RLE) -> tuple[int, int, int, int]:
    """The box x1, y1, x2, y2 around a mask, px, the last two exclusive; zeros for an empty mask."""
    x1, y1, x2, y2 = _read([rle], "rle").boxes[0].tolist()
    return x1, y1, x2, y2


def rle_iou(
    a: Sequence[RLE], b: Sequence[RLE], crowd: ArrayLike | None = None
) -> NDArray[np.float64]:
    """IoU of every mask of a with every mask of b, float64 (N, M).

    Args:
        a, b: run lengths of N and M masks of one size.
        crowd: bool (M,): which of b are crowds, whose IoU is the share of a's mask inside, as COCO
            has it.

    Raises:
        DataError: for masks of several sizes, and as :func:`decode_rle`.
    """
    of_a, of_b = _read(a, "a"), _read(b, "b")
    sizes = {(int(h), int(w)) for runs in (of_a, of_b) for h, w in zip(runs.height, runs.width)}  # noqa: B905
    if len(sizes) > 1:
        raise DataError(f"a and b hold masks of the sizes {sorted(sizes)}; they must be one")
    crowds = np.zeros(len(b), bool) if crowd is None else np.asarray(crowd, bool)
    if crowds.shape != (len(b),):
        raise DataError(f"crowd has shape {crowds.shape}; it must be ({len(b)},)")
    i, j = (index.ravel() for index in np.indices((len(a), len(b))))
    shared = intersections(of_a, of_b, i, j).reshape(len(a), len(b))
    area = of_a.area[:, None]
    union = np.where(crowds, area, area + of_b.area - shared)
    return np.divide(shared, union, out=np.zeros(shared.shape), where=shared > 0)


def _read(rles: Sequence[Any], name: str) -> MaskRuns:
    names = [f"{name}[{n}]" if len(rles) > 1 else name for n in range(len(rles))]
    for rle, called in zip(rles, names, strict=True):
        if not isinstance(rle, dict) or not {"size", "counts"} <= rle.keys():
            raise DataError(f"{called} must be a dict with size and counts")
    sizes = [_size(rle["size"], f"{called}: size") for rle, called in zip(rles, names, strict=True)]
    return read_segmentations(rles, sizes, names)


def _size(size: Any, name: str) -> tuple[int, int]:
    if (
        not isinstance(size, (list, tuple))
        or len(size) != 2
        or not all(isinstance(v, (int, np.integer)) and v >= 0 for v in size)
    ):
        raise DataError(f"{name} is {size!r}; it must be (height, width) in pixels")
    return int(size[0]), int(size[1])
