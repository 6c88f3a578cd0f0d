"""What the loaders and ``lessons data check`` share: one rule for sizes, one report."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from .errors import DataError


@dataclass
class Report:
    """What a check found: counts over the readable pictures, one line a problem, and one for everything
    that is no problem but worth knowing.
    """

    pictures: int = 0
    instances: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check_size(path: Path, size: tuple[int, ...], image: Path, expected: tuple[int, ...]) -> None:
    """Raise DataError if a label picture's (H, W) is not its picture's."""
    if tuple(size) != tuple(expected):
        found, wanted = (f"{shape[1]}×{shape[0]}" for shape in (size, expected))
        raise DataError(f"{path}: is {found}, but its picture {image} is {wanted} (width×height)")
