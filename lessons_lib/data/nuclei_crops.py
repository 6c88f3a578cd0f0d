"""Training crops of the nuclei, all of one size, each a pure function of (seed, index)."""

from collections import Counter
from typing import Any

from .instance_crops import InstanceCrops
from .nuclei import Nuclei


class NucleiCrops(InstanceCrops):
    """Random square crops of :class:`~lessons_lib.data.Nuclei`.

    What :class:`~lessons_lib.data.InstanceCrops` gives, with the picture's ``kind``, a str, and with a say in
    how often pictures of each kind are drawn.

    Args:
        nuclei: The pictures.
        balance: A kind with n pictures is drawn with probability ∝ n ** (1 - balance): 0 draws all
            pictures alike, 1 all kinds alike.
        size, length, seed, augment, scale, min_area, normalize: As for the base class.

    Raises:
        ValueError: No pictures, or an argument out of range.
        DataError: A broken file.
    """

    def __init__(
        self,
        nuclei: Nuclei,
        size: int = 128,
        length: int | None = None,
        seed: int = 0,
        augment: bool = True,
        scale: tuple[float, float] = (0.7, 1.4),
        balance: float = 0.5,
        min_area: int = 8,
        normalize: bool = True,
    ) -> None:
        if len(nuclei) == 0:
            raise ValueError("nuclei is empty; expected at least one picture")
        if not 0 <= balance <= 1:
            raise ValueError(f"balance is {balance}; expected 0 to 1")
        self.kinds = nuclei.kinds
        counts = Counter(self.kinds)
        weights = [counts[kind] ** -balance for kind in self.kinds]
        super().__init__(nuclei, size, length, seed, augment, scale, min_area, normalize, weights)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample, which = self.sample(index)
        return {**sample, "kind": self.kinds[which]}
