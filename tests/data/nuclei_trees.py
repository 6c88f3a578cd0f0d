"""Small folders of nuclei in their two true layouts, for the tests."""

from pathlib import Path

import cv2
import numpy as np

Picture = tuple[np.ndarray, np.ndarray]  # pixels uint8 (H, W) or RGB (H, W, 3), labels (H, W)


def blobs(seed: int, size: tuple[int, int] = (60, 80), count: int = 5) -> Picture:
    """Bright discs on a dark ground, some of which touch or hide others."""
    rng = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[:height, :width]
    labels = np.zeros(size, np.int32)
    for number in range(1, count + 1):
        cy, cx = rng.uniform(8, height - 8), rng.uniform(8, width - 8)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(4, 8) ** 2] = number
    pixels = np.where(labels > 0, 180, 12) + rng.integers(0, 20, size)
    ids = np.unique(labels[labels > 0])
    return pixels.astype(np.uint8), np.searchsorted(ids, labels, side="right").astype(np.int32)


def stained(seed: int, size: tuple[int, int] = (60, 80)) -> Picture:
    """Dark discs on a bright purple ground."""
    gray, labels = blobs(seed, size)
    light = 255 - gray.astype(int)
    return np.stack([light, light * 3 // 4, light], axis=2).astype(np.uint8), labels


def save(path: Path, pixels: np.ndarray) -> None:
    """Write pixels, RGB or RGBA where in colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if pixels.ndim == 3:
        code = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
        pixels = cv2.cvtColor(pixels, code)
    encoded, data = cv2.imencode(path.suffix, pixels)
    assert encoded
    path.write_bytes(data.tobytes())


def merged_tree(folder: Path, pictures: dict[str, Picture]) -> Path:
    for name, (pixels, labels) in pictures.items():
        save(folder / "images" / f"{name}.png", pixels)
        save(folder / "labels" / f"{name}.png", labels.astype(np.uint16))
    return folder


def original_tree(folder: Path, pictures: dict[str, Picture]) -> Path:
    """RGBA pictures and one mask a nucleus, as BBBC038 has them."""
    for name, (pixels, labels) in pictures.items():
        rgb = pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2)
        alpha = np.full((*labels.shape, 1), 255, np.uint8)
        save(folder / name / "images" / f"{name}.png", np.concatenate([rgb, alpha], axis=2))
        (folder / name / "masks").mkdir()
        for number in range(1, labels.max() + 1):
            mask = np.where(labels == number, 255, 0).astype(np.uint8)
            save(folder / name / "masks" / f"{number:03d}.png", mask)
    return folder


def example() -> dict[str, Picture]:
    """Eight gray pictures, four large ones and four stained ones."""
    pictures = {f"small{i}": blobs(i) for i in range(8)}
    pictures |= {f"large{i}": blobs(10 + i, (320, 330), 20) for i in range(4)}
    return pictures | {f"purple{i}": stained(20 + i) for i in range(4)}
