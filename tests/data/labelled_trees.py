"""What the tests of data sets with a class for every pixel share: random pictures, the command."""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from lessons_lib.data.cli import add_arguments, run


def noise(seed: int, size: tuple[int, int]) -> np.ndarray:
    """A picture in which no pixel is gray, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 60, (*size, 3)) + np.array([20, 90, 160])).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, palette: np.ndarray | None = None) -> None:
    """Write with Pillow; with a palette as a palette PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels)
    if palette is not None:
        picture.putpalette(palette.ravel().tolist())
    picture.save(path)


def cut(path: Path, count: int = 30) -> None:
    """Take the last bytes of a file away."""
    path.write_bytes(path.read_bytes()[:-count])


def lessons_data(*arguments: object) -> int:
    """``lessons data …``; returns the exit code."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(argument) for argument in arguments]))
