"""Pictures of a folder as a network sees them, large ones in parts."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.utils.data import Dataset

from .files import to_tensor
from .folder import InstanceFolder
from .instances import renumber
from .picture_statistics import count_statistics
from .pictures import stretch


@dataclass(frozen=True)
class _Part:
    picture: int
    rows: slice
    columns: slice


class ScaledParts(Dataset):
    """Pictures of a folder as the network sees them; large ones in parts, side by side.

    All parts are scaled by the percentiles of their whole picture. The last picture is kept.

    Args:
        folder: The pictures.
        side: Largest side of a part, px.
    """

    def __init__(self, folder: InstanceFolder, side: int) -> None:
        self.folder = folder
        self.parts = [
            _Part(index, rows, columns)
            for index, (height, width) in enumerate(folder.sizes)
            for rows in _cut(height, side)
            for columns in _cut(width, side)
        ]
        self._kept: tuple[int, Any] = (-1, None)

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        part = self.parts[index]
        if self._kept[0] != part.picture:
            pixels, instances = self.folder.read(part.picture)
            whole = count_statistics([pixels], pixels.dtype)
            self._kept = part.picture, (pixels, instances, whole)
        pixels, instances, whole = self._kept[1]
        image = to_tensor(pixels[part.rows, part.columns])
        labels = renumber(instances[part.rows, part.columns])
        name = self.folder.ids[part.picture]
        if instances.shape != labels.shape:
            name += (
                f"[{part.rows.start}:{part.rows.stop}, {part.columns.start}:{part.columns.stop}]"
            )
        return {
            "image": stretch(image, whole.low, whole.high),
            "instances": torch.from_numpy(labels).long(),
            "id": name,
        }


def _cut(length: int, side: int) -> list[slice]:
    """0..length-1 in parts of nearly equal length, none longer than ``side``."""
    count = -(-length // side)
    edges = [round(k * length / count) for k in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(edges)]
