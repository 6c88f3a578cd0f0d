"""Real broken depth: table scenes photographed twice, once with glass and once with the glass painted.

Sajjan, Moore, Pan, Nagaraja, Lee, Zeng, Song, *ClearGrasp: 3D Shape Estimation of Transparent Objects for
Manipulation*, ICRA 2020; https://github.com/Shreeyak/cleargrasp.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
from tqdm import tqdm

from .checks import Report, check_size
from .errors import DataError
from .files import picture_size, read_pixels, to_tensor
from .picture_sets import Part, Pictures, data_folder

MILLIMETRES = 1000.0
ENDINGS = {
    "image": "-transparent-rgb-img.jpg",
    "depth": "-transparent-depth-mm.png",
    "true_depth": "-opaque-depth-mm.png",
    "mask": "-mask.png",
}


@dataclass(frozen=True)
class GlassScene:
    """The four files of one scene."""

    id: str
    image: Path
    depth: Path
    true_depth: Path
    truth: Path
    scale: tuple[int, int] | None

    def size(self) -> tuple[int, int]:
        """(height, width) of a sample."""
        return self.scale or picture_size(self.image)

    def read(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Pixels as stored, depth and true depth float32 (H, W) in metres, and the mask bool (H, W).

        Raises:
            DataError: A file is missing or broken, of another type, or of another size than the picture.
        """
        pixels, mask = read_pixels(self.image), read_pixels(self.truth)
        depths = [read_millimetres(path) for path in (self.depth, self.true_depth)]
        if mask.ndim != 2:
            raise DataError(f"{self.truth}: is in colour; expected one channel")
        found = zip((self.depth, self.true_depth, self.truth), (*depths, mask), strict=True)
        for path, array in found:
            check_size(path, array.shape, self.image, pixels.shape[:2])
        return pixels, depths[0], depths[1], mask > np.iinfo(mask.dtype).max // 2

    def sample(self) -> dict[str, Any]:
        """``image``, ``depth``, ``true_depth``, ``mask`` and ``id``."""
        pixels, broken, true, mask = self.read()
        image = to_tensor(pixels)
        if self.scale:
            height, width = self.scale
            small = cv2.resize(
                image.permute(1, 2, 0).numpy(), (width, height), interpolation=cv2.INTER_AREA
            )
            image = torch.from_numpy(np.ascontiguousarray(small.transpose(2, 0, 1)))
            broken, true = (shrink_depth(depth, self.scale) for depth in (broken, true))
            shares = cv2.resize(
                mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA
            )
            mask = shares > 0.5
        return {
            "image": image,
            "depth": torch.from_numpy(broken)[None],
            "true_depth": torch.from_numpy(true)[None],
            "mask": torch.from_numpy(mask)[None],
            "id": self.id,
        }


class ClearGrasp(Pictures):
    """Four scenes on a table, 1280×720, by a RealSense D435 that glass confuses.

    ``dataset[i]`` is a dict: ``image`` float32 (3, H, W) in [0, 1], ``depth`` float32 (1, H, W) in metres, as the
    sensor gave it (0 = no measurement, wrong or missing on what is transparent), ``true_depth`` float32 (1, H, W)
    in metres, of the same things painted opaque (0 where that measurement failed too), ``mask`` bool (1, H, W),
    the transparent things, and ``id`` str. The mask is of objects of interest; nobody asked where people look.

    What to measure a repair on is ``mask & (true_depth > 0)``; on the rest the two depths agree to a few
    millimetres.

    Layout: ``<id>-transparent-rgb-img.jpg``, ``<id>-transparent-depth-mm.png``, ``<id>-opaque-depth-mm.png`` (16
    bits, in millimetres) and ``<id>-mask.png``. The originals, in ``data/sample_dataset/real-val/d435`` of the
    repository, have depth as EXR (metres, 16-bit floats) in ``…-depth-img.exr``; as OpenCV 5 reads no EXR, turn
    those into PNG, in millimetres, with any program that does.

    Args:
        root: Folder of the files; None means ``lessons_lib.data.root() / "rgbd_cleargrasp"``.
        size: (height, width) to shrink all to; None keeps them. The picture is averaged; a depth is the median of the
            measured ones of its part of the picture, 0 if fewer than half are measured; the mask is that of
            the majority.
        download: Only raises, if nothing is there, and says where to look.

    Raises:
        FileNotFoundError: No data there; says how to get them.
        DataError: A file is missing or broken, or sizes differ; names the file.
        DownloadError: ``download`` is set and nothing is there.
        ValueError: ``size`` is no pair of whole numbers from 1.
    """

    NAME: ClassVar[str] = "cleargrasp"
    CLASSES: ClassVar[tuple[str, ...]] = ("background", "transparent")
    PALETTE: ClassVar[np.ndarray] = np.array([(0, 0, 0), (86, 180, 233)], np.uint8)

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        size: tuple[int, int] | None = None,
        download: bool = False,
    ) -> None:
        if size is not None and not (
            len(size) == 2 and all(type(n) is int and n > 0 for n in size)
        ):
            raise ValueError(f"size is {size}; expected (height, width), whole numbers from 1")
        folder = data_folder(self.NAME, root, download)
        super().__init__(folder, "all", find_scenes(folder, size))


def read_millimetres(path: Path) -> np.ndarray:
    """Depth float32 (H, W) in metres of a PNG of 16 bits in millimetres."""
    stored = read_pixels(path)
    if stored.dtype != np.uint16 or stored.ndim != 2:
        raise DataError(
            f"{path}: is {stored.dtype} {stored.shape}; expected depth in millimetres, 16 bits, one channel"
        )
    return stored.astype(np.float32) / np.float32(MILLIMETRES)


def shrink_depth(depth: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Depth at a smaller size, float32: the median of what is measured in each part of the map.

    A mean would invent depths between an object and what is behind it, and holes (0) would pull it forward. Every
    part is a rectangle; parts may share a row or column where the sizes do not divide.

    Args:
        depth: float32 (H, W), 0 = no measurement.
        size: (height, width), each at most that of the map.

    Returns:
        float32, 0 where fewer than half of a part are measured.

    Raises:
        ValueError: The size is larger than the map.
    """
    if size[0] > depth.shape[0] or size[1] > depth.shape[1]:
        raise ValueError(
            f"size is {tuple(size)}; it must be at most that of the map, {depth.shape}"
        )
    # windows of one size, rounded up, that begin where the parts do: all medians in one call
    height, width = (-(-whole // parts) for whole, parts in zip(depth.shape, size, strict=True))
    tops, lefts = (
        np.minimum(np.arange(parts) * whole // parts, whole - window)
        for whole, parts, window in zip(depth.shape, size, (height, width), strict=True)
    )
    rows = (tops[:, None] + np.arange(height))[:, None, :, None]
    columns = (lefts[:, None] + np.arange(width))[None, :, None, :]
    parts = depth[rows, columns].reshape(*size, height * width)
    parts = np.sort(np.where(parts > 0, parts, np.inf), axis=-1)
    measured = np.isfinite(parts).sum(-1)
    middle = np.take_along_axis(parts, (np.maximum(measured, 1)[..., None] - 1) // 2, axis=-1)
    enough = 2 * measured >= height * width
    result: np.ndarray = np.where(enough, middle[..., 0], 0).astype(np.float32)
    return result


def find_scenes(folder: Path, size: tuple[int, int] | None = None) -> Part:
    """All scenes; nothing is decoded.

    Raises:
        FileNotFoundError: There are none.
    """
    files = {
        kind: {path.name.removesuffix(end): path for path in folder.glob(f"*{end}")}
        for kind, end in ENDINGS.items()
    }
    everything = sorted(set().union(*files.values()))
    if not everything:
        raise FileNotFoundError(
            f"{folder}: no ClearGrasp scenes here. Put there, for every scene, "
            + ", ".join(f"<id>{end}" for end in ENDINGS.values())
            + "; the originals are in https://github.com/Shreeyak/cleargrasp, data/sample_dataset/real-val/d435"
        )
    scenes, problems = [], []
    for key in everything:
        absent = [ENDINGS[kind] for kind, known in files.items() if key not in known]
        problems += [f"{folder / (key + end)}: is missing" for end in absent]
        if not absent:
            image, depth, true_depth, mask = (files[kind][key] for kind in ENDINGS)
            scenes.append(GlassScene(key, image, depth, true_depth, mask, size))
    return Part("all", scenes, problems)


def check_scenes(folder: Path, progress: bool = True) -> Report:
    """Read every file of a folder and list all problems.

    Problems are: a missing or broken file, a depth that is not of 16 bits, another size than the picture's, a mask
    without anything in it, and a true depth that is not measured anywhere on the mask.

    Raises:
        FileNotFoundError: There is no scene in the folder.
    """
    part = find_scenes(folder)
    report = Report(problems=list(part.problems))
    for scene in tqdm(part.pictures, desc="check", unit="scene", disable=not progress):
        report.pictures += 1
        report.kinds["all"] += 1
        try:
            _, _, true, mask = scene.read()
        except DataError as error:
            report.problems.append(str(error))
            continue
        if not mask.any():
            report.problems.append(f"{scene.truth}: marks nothing")
        elif not (true[mask] > 0).any():
            report.problems.append(f"{scene.true_depth}: has no measurement where the mask is")
    return report
