"""A picture of 10,000 x 10,000 pixels, from file to files: peak memory and time.

    python benchmarks/large_picture.py [--side 10000] [--recipe nuclei-spatial] [--kinds tiff png ...]

Draws a picture full of discs in several kinds of files and predicts each in a process of its own: label picture,
overlay, COCO JSON and table. Without --recipe a stand-in finds connected bright regions, which shows what everything
around the network needs; its count of objects must be right. The peak is of the whole process, libraries included
(the first column is what they take before the picture is opened).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
import torch
from skimage.measure import label
from timing import machine
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.data.picture_statistics import statistics_of
from lessons_lib.data.pictures import stretch
from lessons_lib.predict import predict_file
from lessons_lib.recipes import get_recipe
from lessons_lib.training import Recipe, load_weights

STEP = 40
KINDS = {
    "tiff": "gray, 8 bits, TIFF, not compressed",
    "deflated": "gray, 12 of 16 bits, TIFF, deflated",
    "png": "colour, 8 bits, PNG",
}
COLUMNS = ("libraries", "peak", "seconds", "objects")


class Brighter(nn.Module):
    """Foreground is what is brighter than 0.4 of the picture's range."""

    def __init__(self) -> None:
        super().__init__()
        self.threshold = nn.Parameter(torch.tensor(0.4), requires_grad=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"score": image - self.threshold}


class StandIn(Recipe):
    """Connected bright regions."""

    name = "stand-in"
    summary = "connected bright regions"
    score = "none"
    presets = {}  # noqa: RUF012

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return Brighter()

    def prepare(self, image: Tensor, options: Mapping[str, Any], statistics: Any = None) -> Tensor:
        whole = statistics_of(image) if statistics is None else statistics
        return stretch(image.amax(0, keepdim=True), whole.low, whole.high)

    def predict(
        self, outputs: dict[str, Tensor], options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        found = label(outputs["score"][0, 0].numpy() > 0, connectivity=1)
        return [{"instances": torch.from_numpy(found.astype(np.int64))}]

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        raise NotImplementedError

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        raise NotImplementedError

    def measure(self, prediction: Any, sample: Any, options: Any) -> dict[str, float]:
        raise NotImplementedError


def draw(side: int) -> np.ndarray:
    """A disc in every square of 40 x 40 px, of any size and brightness; uint8 (side, side)."""
    rng = np.random.default_rng(0)
    picture = np.full((side, side), 20, np.uint8)
    y, x = np.ogrid[:STEP, :STEP]
    for top in range(0, side - STEP + 1, STEP):
        for left in range(0, side - STEP + 1, STEP):
            radius = rng.uniform(6, 18)
            middle = rng.uniform(radius + 1, STEP - radius - 2, 2)
            disc = np.hypot(y - middle[0], x - middle[1]) < radius
            picture[top : top + STEP, left : left + STEP][disc] = rng.integers(120, 250)
    return picture


def write(kind: str, picture: np.ndarray, folder: Path) -> Path:
    path = folder / f"{kind}.{'png' if kind == 'png' else 'tif'}"
    if kind == "tiff":
        tifffile.imwrite(path, picture)
    elif kind == "deflated":
        twelve = picture.astype(np.uint16) * 16
        tifffile.imwrite(path, twelve, compression="zlib", rowsperstrip=64)
    else:
        cv2.imwrite(str(path), np.dstack([picture, picture // 2, picture]))
    return path


def predict(path: Path, name: str | None, tile: int) -> None:
    """What the process of its own does; prints a line of JSON."""
    recipe: Recipe = StandIn()
    model: nn.Module = Brighter()
    options: dict[str, Any] = {}
    if name:
        recipe = get_recipe(name)
        model, facts = load_weights(recipe)
        options = facts["options"]
    libraries, began = peak(), time.perf_counter()
    with tempfile.TemporaryDirectory() as out:
        told = predict_file(recipe, model, options, path, Path(out), tile=tile, progress=True)
    row = libraries, peak(), time.perf_counter() - began, int(told.split()[0])
    print(json.dumps(dict(zip(COLUMNS, row, strict=True))))


def peak() -> int:
    """The most memory that this process has had, MB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used // (2**20 if sys.platform == "darwin" else 2**10)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=10_000, help="px")
    parser.add_argument("--tile", type=int, default=1024, help="px")
    parser.add_argument("--recipe", help="default: a stand-in")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--predict", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.predict:
        predict(args.predict, args.recipe, args.tile)
        return
    print(machine())
    print(f"{args.side} x {args.side} px, tiles of {args.tile} px, {args.recipe or 'stand-in'}")
    print(f"{'':36}{'libraries':>11}{'peak':>11}{'seconds':>9}{'objects':>9}")
    with tempfile.TemporaryDirectory() as folder:
        picture = draw(args.side)
        for kind in args.kinds:
            path = write(kind, picture, Path(folder))
            chosen = ["--tile", str(args.tile), "--threads", str(args.threads)]
            chosen += ["--recipe", args.recipe] if args.recipe else []
            done = subprocess.run(
                [sys.executable, __file__, "--predict", str(path), *chosen],
                env={**os.environ, "OMP_NUM_THREADS": str(args.threads)},
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            row = json.loads(done.stdout)
            assert args.recipe or row["objects"] == (args.side // STEP) ** 2
            print(f"{KINDS[kind]:36}{row['libraries']:8} MB{row['peak']:8} MB{row['seconds']:9.0f}"
                  f"{row['objects']:9}", flush=True)  # fmt: skip
            path.unlink()


if __name__ == "__main__":
    main()
