"""Handwritten digits of scikit-learn: small, real, and there without a download."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor
from torch.utils.data import Dataset

from .arguments import check_least


class Digit(TypedDict):
    """One sample of :class:`Digits`."""

    image: Tensor
    label: Tensor
    id: str


class Digits(Dataset[Digit]):
    """1,797 handwritten digits of 8 x 8 px, as they come with scikit-learn.

    The test part of *Optical Recognition of Handwritten Digits* (Alpaydin and Kaynak, UCI Machine
    Learning Repository, 1998, CC BY 4.0), by 13 writers; each pixel counts the ink of 4 x 4 px of the original.

    The rule of the split: of the pictures of one class, in the order of the file, every fourth is held
    out (the 4th, the 8th, …). That gives 1,352 pictures to train on and 445 to test with. Both hold
    digits of the same writers; for unknown hands, expect less.

    Args:
        split: ``"train"``, ``"test"`` (the held-out quarter) or ``"all"``.
        length: number of samples; sample ``i`` is picture ``i`` modulo the number of pictures. ``None`` takes
            each picture once.
        max_shift: samples are moved by up to so many px in each direction, zeros coming in from
            outside; drawn from ``(seed, i)`` and nothing else. 0 moves nothing.
        seed: of the shifts.

    Each sample holds ``image`` float32 (1, 8, 8) in [0, 1], ink bright; ``label`` int64 scalar, 0 to
    9; and ``id``, which names the row of the file.

    Raises:
        ValueError: for an unknown split, or numbers that are too small.
    """

    CLASSES = tuple("0123456789")

    def __init__(
        self,
        split: Literal["train", "test", "all"] = "all",
        *,
        length: int | None = None,
        max_shift: int = 0,
        seed: int = 0,
    ) -> None:
        if split not in ("train", "test", "all"):
            raise ValueError(f'split is {split!r}; it must be "train", "test" or "all"')
        check_least(length=(length or 0, 0), max_shift=(max_shift, 0), seed=(seed, 0))
        images, labels = _file()
        held_out = np.zeros(len(labels), bool)
        for label in range(10):
            held_out[np.flatnonzero(labels == label)[3::4]] = True
        chosen = {"train": ~held_out, "test": held_out, "all": held_out | True}[split]
        self.split = split
        self.rows = np.flatnonzero(chosen)
        self.images = torch.from_numpy(images[chosen])[:, None]  # (N, 1, 8, 8)
        self.labels = torch.from_numpy(labels[chosen])  # (N,)
        self.length = len(self.rows) if length is None else length
        self.max_shift = max_shift
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Digit:
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; it must be in 0..{self.length - 1}")
        number = index % len(self.rows)
        image = self.images[number]
        if self.max_shift:
            rng = np.random.default_rng((self.seed, index))
            down, right = rng.integers(-self.max_shift, self.max_shift + 1, 2)
            image = shift(image, int(down), int(right))
        return {
            "image": image.clone(),
            "label": self.labels[number],
            "id": f"digits-{self.rows[number]}",
        }


def shift(image: Tensor, down: int, right: int) -> Tensor:
    """Moves pictures (…, H, W) by whole pixels; zeros come in, what leaves is lost."""
    height, width = image.shape[-2:]
    moved = torch.zeros_like(image)
    top, left = max(0, down), max(0, right)
    rows, columns = max(0, height - abs(down)), max(0, width - abs(right))
    from_top, from_left = max(0, -down), max(0, -right)
    moved[..., top : top + rows, left : left + columns] = image[
        ..., from_top : from_top + rows, from_left : from_left + columns
    ]
    return moved


@lru_cache(maxsize=1)
def _file() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Pictures float32 (1797, 8, 8) in [0, 1] and labels int64 (1797,)."""
    bunch = load_digits()
    return (bunch.images / 16).astype(np.float32), bunch.target.astype(np.int64)
