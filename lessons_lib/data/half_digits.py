"""Digits of which one half is hidden: a question with more than one answer."""

from __future__ import annotations

from typing import Literal, TypedDict, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from .digits import Digits

Half = Literal["bottom", "top", "left", "right", "any"]
HALVES: tuple[Half, ...] = ("bottom", "top", "left", "right")


class HalfDigit(TypedDict):
    """One sample of :class:`HalfDigits`."""

    image: Tensor
    target: Tensor
    label: Tensor
    id: str


class HalfDigits(Dataset[HalfDigit]):
    """:class:`Digits` with one half of each picture hidden.

    Args:
        split, length, max_shift, seed: as :class:`Digits` has them.
        hidden: the half that nobody shows; ``"any"`` is drawn for each sample from ``(seed, i)``.

    Each sample holds ``image`` float32 (2, 8, 8): the visible half, 0 where it is hidden, and the mask, 1 where it is
    visible; ``target`` float32 (1, 8, 8), the whole digit; ``label`` and ``id``.

    Raises:
        ValueError: for an unknown half, and for what :class:`Digits` refuses.
    """

    def __init__(
        self,
        split: Literal["train", "test", "all"] = "all",
        *,
        hidden: Half = "bottom",
        length: int | None = None,
        max_shift: int = 0,
        seed: int = 0,
    ) -> None:
        if hidden not in get_args(Half):
            raise ValueError(f"hidden is {hidden!r}; it must be one of {get_args(Half)}")
        self.digits = Digits(split, length=length, max_shift=max_shift, seed=seed)
        self.hidden = hidden
        self.seed = seed
        self.masks = {half: visible_half(half) for half in HALVES}

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> HalfDigit:
        digit = self.digits[index]
        visible = self.masks[self._half(index)]
        return {
            "image": torch.cat([digit["image"] * visible, visible]),
            "target": digit["image"],
            "label": digit["label"],
            "id": digit["id"],
        }

    def _half(self, index: int) -> Half:
        if self.hidden != "any":
            return self.hidden
        # one number more than Digits draws its shift from, so that the two do not go together
        rng = np.random.default_rng((self.seed, index, 1))
        return HALVES[rng.integers(4)]


def visible_half(hidden: Half) -> Tensor:
    """The mask (1, 8, 8), 1 where a digit stays visible.

    Raises:
        ValueError: for none of the four halves.
    """
    if hidden not in HALVES:
        raise ValueError(f"hidden is {hidden!r}; it must be one of {HALVES}")
    visible = torch.ones(1, 8, 8)
    rows, columns = {
        "bottom": (slice(4, None), slice(None)),
        "top": (slice(None, 4), slice(None)),
        "left": (slice(None), slice(None, 4)),
        "right": (slice(None), slice(4, None)),
    }[hidden]
    visible[:, rows, columns] = 0
    return visible
