"""What the synthetic data sets ask of their arguments."""

from __future__ import annotations


def check_least(**arguments: tuple[float, float]) -> None:
    """ValueError for the first argument below its least value; each is ``name=(value, least)``."""
    for name, (value, least) in arguments.items():
        if not value >= least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")


def check_order(**pairs: tuple[float, float]) -> None:
    """ValueError for the first range whose lower end is above its upper end."""
    for name, (low, high) in pairs.items():
        if high < low:
            raise ValueError(
                f"{name} is {(low, high)}; its first number must not exceed its second"
            )
