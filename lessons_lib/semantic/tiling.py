"""Overlap-tile inference: pictures of any size, piece by piece (Ronneberger et al., 2015, figure 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn


def tiles(
    model: Callable[[Tensor], Tensor], image: Tensor | np.ndarray, *, tile: int, margin: int
) -> Iterator[tuple[slice, slice, Tensor]]:
    """The scores of one tile after the other, so that memory holds one tile and never the picture.

    The network sees each tile with ``margin`` pixels of its surroundings on every side; beyond the
    picture's border these are mirrored. What it says about the margin is thrown away. Away from the
    picture's border the tiles together equal one pass over the whole picture *if* ``tile`` and
    ``margin`` are multiples of the network's largest stride and ``margin`` is at least as far as the
    network sees: see :attr:`~lessons_lib.semantic.UNet.margin`.

    Args:
        model: (1, C, h, w) → (1, K, h', w'): as large as its input, or smaller by the same on all
            sides, as unpadded convolutions make it.
        image: (C, H, W), of any size; an array may be a memory map, of which one tile is read at a time.
        tile: height and width of what is kept of each pass, px; at the right and lower border less.
        margin: px on each side.

    Yields:
        rows and columns of the tile, and its scores (K, rows, columns), on the model's device.

    Raises:
        ValueError: for sizes that are no sizes, or a model that loses more than the margin.
    """
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(
            f"image has shape {tuple(image.shape)}; it must be (C, H, W), none of them 0"
        )
    for name, value, least in [("tile", tile, 1), ("margin", margin, 0)]:
        if value < least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")
    height, width = image.shape[1:]
    side = tile + 2 * margin
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            rows, columns = (
                mirrored(top - margin, side, height),
                mirrored(left - margin, side, width),
            )
            scores = model(_cut(image, rows, columns)[None])[0]
            lost = side - scores.shape[-1]
            if scores.shape[-2] != scores.shape[-1] or lost % 2 or not 0 <= lost <= 2 * margin:
                raise ValueError(
                    f"margin is {margin}: the model makes {tuple(scores.shape[-2:])} of ({side}, {side}); "
                    f"it may lose the same on all sides, and at most the margin"
                )
            start = margin - lost // 2
            kept = scores[
                :, start : start + min(tile, height - top), start : start + min(tile, width - left)
            ]
            yield (
                slice(top, top + kept.shape[-2]),
                slice(left, left + kept.shape[-1]),
                kept,
            )


def predict_tiled(
    model: nn.Module,
    image: Tensor | np.ndarray,
    *,
    tile: int = 256,
    margin: int,
) -> Tensor:
    """The scores (K, H, W) of a picture (C, H, W), computed in tiles: see :func:`tiles`.

    Args:
        model: a network in evaluation mode whose outputs have ``"semantic"``; tiles go to its device.
        image: (C, H, W).
        tile: px.
        margin: px.

    Returns:
        float32 (K, H, W) on the CPU. For pictures whose scores do not fit in memory use
        :func:`tiles` and keep of each what you need, such as its ``argmax``.
    """
    device = next(model.parameters()).device

    def scores_of(batch: Tensor) -> Tensor:
        return model(batch.to(device))["semantic"]

    result: Tensor | None = None
    with torch.inference_mode():
        for rows, columns, scores in tiles(scores_of, image, tile=tile, margin=margin):
            if result is None:
                result = torch.empty((len(scores), *image.shape[1:]))
            result[:, rows, columns] = scores.float().cpu()
    assert result is not None  # a picture has at least one tile
    return result


def mirrored(start: int, length: int, size: int) -> np.ndarray:
    """Indices of ``length`` places from ``start`` on, mirrored at both ends of ``0 .. size - 1``.

    The border pixel itself is not doubled. A picture smaller than the margin is mirrored repeatedly.
    """
    period = max(1, 2 * (size - 1))
    place = np.abs(np.arange(start, start + length)) % period
    return np.minimum(place, period - place) if size > 1 else np.zeros(length, int)


def _cut(image: Tensor | np.ndarray, rows: np.ndarray, columns: np.ndarray) -> Tensor:
    """The picture at these rows and columns, (C, rows, columns); reads only the box around them."""
    top, left = int(rows.min()), int(columns.min())
    box = image[:, top : int(rows.max()) + 1, left : int(columns.max()) + 1]
    block = box if isinstance(box, Tensor) else torch.from_numpy(np.array(box))
    return block[:, torch.from_numpy(rows - top)][:, :, torch.from_numpy(columns - left)]
