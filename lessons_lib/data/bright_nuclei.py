"""Nuclei of all microscopes in one form: bright on dark, one channel."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from .nuclei import KINDS, STAINED_BACKGROUND, Nuclei
from .nuclei_crops import NucleiCrops
from .picture_statistics import PictureStatistics, statistics_of
from .pictures import normalize_image, stretch


class BrightNuclei(Dataset):
    """Pictures or crops of nuclei as the network sees them: one channel, nuclei bright on dark."""

    def __init__(self, nuclei: Nuclei | NucleiCrops) -> None:
        self.nuclei = nuclei

    def __len__(self) -> int:
        return len(self.nuclei)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.nuclei[index]
        image = sample["image"]
        if isinstance(self.nuclei, Nuclei):  # crops are normalised with the limits of their picture
            image = normalize_image(image)
        return {**sample, "image": bright_nuclei(image, sample["kind"] == "stained")}


def training_crops(leave_out: str, **crops: Any) -> BrightNuclei:
    """Crops of the training pictures, without one kind of them if ``leave_out`` names one.

    Args:
        leave_out: one of :data:`~lessons_lib.data.nuclei.KINDS`, or ``""``.
        crops: of :class:`~lessons_lib.data.NucleiCrops`.
    """
    kinds = [kind for kind in KINDS if kind != leave_out]
    return BrightNuclei(NucleiCrops(Nuclei(split="train", kinds=kinds), **crops))


def held_out(leave_out: str) -> BrightNuclei:
    """The pictures that were not trained on; if a kind was left out, all of that kind."""
    return BrightNuclei(Nuclei(split="all", kinds=leave_out) if leave_out else Nuclei(split="test"))


def bright_nuclei(image: Tensor, stained: bool) -> Tensor:
    """Brightness (1, H, W) of a normalised (3, H, W), turned over where a dye makes nuclei dark.

    The square root brings out dim nuclei, of which some have a twentieth of the brightest's light.
    """
    gray = image.mean(0, keepdim=True)
    return (1 - gray if stained else gray).sqrt()


def prepare_nuclei(image: Tensor, statistics: PictureStatistics | None = None) -> Tensor:
    """A reader's picture, float (3, H, W) in [0, 1], as :class:`BrightNuclei` gives it.

    A bright background is taken for a stained specimen, as the data set's kinds are told apart. A part of a
    picture is judged and stretched by the ``statistics`` of the whole one; None means those of ``image``.
    """
    whole = statistics_of(image) if statistics is None else statistics
    stained = whole.median >= STAINED_BACKGROUND
    return bright_nuclei(stretch(image, whole.low, whole.high), stained)
