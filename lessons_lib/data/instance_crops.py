"""Training crops of pictures with instances, all of one size, each a pure function of (seed, index)."""

from collections.abc import Sequence
from typing import Any, Protocol

import cv2
import numpy as np
import skimage.measure
import torch
from torch.utils.data import Dataset

from .instances import renumber
from .pictures import percentile_limits


class InstancePictures(Protocol):
    """Pictures with their instances, such as :class:`~lessons_lib.data.InstanceFolder`."""

    @property
    def ids(self) -> list[str]:
        """The id of each picture."""

    def __len__(self) -> int: ...

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Pixels as stored, uint8 or uint16 (H, W) or (H, W, 3), and instances, integers (H, W)."""


class InstanceCrops(Dataset[dict[str, Any]]):
    """Random square crops of pictures with instances.

    Item k is a pure function of (seed, k): the same in every epoch, worker and process. For fresh
    crops in every epoch make ``length`` as long as the whole training. All pictures are decoded
    once, when the object is made, and kept as they are stored: a gray pixel of 8 bits takes 3 bytes with
    its label, one in colour 5, and 2 more where a picture has more than 65,535 instances.

    ``crops[k]`` is a dict: ``image`` float32 (3, size, size) in [0, 1], ``instances`` int64 (size,
    size) with ids 1..K, and ``id`` "<picture id>#<k>".

    A picture smaller than the crop is continued by its mirror image (without repeating the edge);
    an instance and its mirror image are two instances unless they touch.

    Args:
        pictures: The pictures.
        size: Side of the crop in pixels.
        length: Number of items; None means the number of pictures.
        seed: Any whole number from 0.
        augment: Random scale, turns by 90°, flips, gain and gamma; without it only
            picture and place are random.
        scale: Range of the enlargement, drawn evenly on a log scale; 0.7 shows more and smaller
            objects. Labels by nearest neighbour, images by area (smaller) or linear (larger).
        min_area: Instances of which the crop's border leaves fewer pixels become background.
        normalize: Apply :func:`~lessons_lib.data.normalize_image`'s rule with the limits of the
            whole picture (not of the crop), as prediction does.
        weights: How often each picture is drawn, in relation to the others; None draws all alike.

    Raises:
        ValueError: No pictures, or an argument out of range.
        DataError: A broken file.
    """

    def __init__(
        self,
        pictures: InstancePictures,
        size: int = 128,
        length: int | None = None,
        seed: int = 0,
        augment: bool = True,
        scale: tuple[float, float] = (0.7, 1.4),
        min_area: int = 8,
        normalize: bool = True,
        weights: Sequence[float] | None = None,
    ) -> None:
        if len(pictures) == 0:
            raise ValueError("pictures is empty; expected at least one picture")
        if size < 1 or seed < 0 or (length is not None and length < 0):
            raise ValueError(
                f"size={size}, length={length}, seed={seed}; expected size >= 1, others >= 0"
            )
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f"scale is {scale}; expected 0 < low <= high")
        share = np.ones(len(pictures)) if weights is None else np.asarray(weights, np.float64)
        if share.shape != (len(pictures),) or not (share >= 0).all() or not share.sum() > 0:
            raise ValueError(
                f"weights is {weights}; expected {len(pictures)} numbers, at least 0, not all 0"
            )
        self._probability = share / share.sum()
        self.size, self.seed, self.augment = size, seed, augment
        self.length = len(pictures) if length is None else length
        self.scale, self.min_area = scale, min_area
        self.ids = pictures.ids
        self._pixels: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._limits: list[tuple[float, float]] = []
        for index in range(len(pictures)):
            pixels, labels = pictures.read(index)
            self._pixels.append(pixels)
            self._labels.append(labels.astype(np.uint16) if labels.max() < 65536 else labels)
            limits = percentile_limits(pixels) if normalize else (0.0, np.iinfo(pixels.dtype).max)
            self._limits.append(limits)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.sample(index)[0]

    def sample(self, index: int) -> tuple[dict[str, Any], int]:
        """Item ``index``, and which of the pictures it was cut from."""
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; expected 0 to {self.length - 1}")
        rng = np.random.default_rng((self.seed, index))
        which = int(rng.choice(len(self.ids), p=self._probability))
        image, labels = self._crop(which, rng)
        labels = renumber(labels, self.min_area)
        if self.augment:
            turns, flip = int(rng.integers(4)), bool(rng.integers(2))
            image, labels = (np.rot90(array, turns) for array in (image, labels))
            if flip:
                image, labels = image[:, ::-1], labels[:, ::-1]
            image = jitter(image, rng)
        planes = (
            np.broadcast_to(image, (3, *image.shape))
            if image.ndim == 2
            else image.transpose(2, 0, 1)
        )
        sample = {
            "image": torch.from_numpy(np.ascontiguousarray(planes)),
            "instances": torch.from_numpy(labels.astype(np.int64)),
            "id": f"{self.ids[which]}#{index}",
        }
        return sample, which

    def _crop(self, which: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A window of picture ``which``: float32 (size, size[, 3]) in [0, 1], and its labels."""
        pixels, labels = self._pixels[which], self._labels[which]
        low, high = np.log(self.scale)
        scale = float(np.exp(rng.uniform(low, high))) if self.augment else 1.0
        side = max(1, round(self.size / scale))
        rows, columns = (_window(length, side, rng) for length in labels.shape)
        window = pixels[np.ix_(_mirror(rows, len(pixels)), _mirror(columns, pixels.shape[1]))]
        darkest, brightest = self._limits[which]
        image = (window.astype(np.float32) - darkest) / max(brightest - darkest, 1e-12)
        image = np.clip(image, 0, 1, out=image)
        if side != self.size:
            how = cv2.INTER_AREA if side > self.size else cv2.INTER_LINEAR
            image = cv2.resize(image, (self.size, self.size), interpolation=how)
        nearest = np.floor((np.arange(self.size) + 0.5) * side / self.size).astype(int)
        return image, _labels_at(labels, rows[nearest], columns[nearest])


def jitter(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random gamma (0.7 to 1.4) and gain (± 20 %), clipped to [0, 1].

    No offset: dim nuclei are a few hundredths brighter than the ground, and one that is pushed below
    0 would be a nucleus in the labels but not in the picture.
    """
    gamma = np.exp(rng.uniform(np.log(0.7), np.log(1.4)))
    gain = rng.uniform(0.8, 1.2)
    return np.clip(image ** np.float32(gamma) * np.float32(gain), 0, 1)


def _window(length: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """``side`` positions in a row, at a random place inside 0..length-1, or around all of it."""
    room = length - side
    start = int(rng.integers(room + 1)) if room >= 0 else -int(rng.integers(-room + 1))
    return np.arange(start, start + side)


def _mirror(positions: np.ndarray, length: int) -> np.ndarray:
    """Positions outside 0..length-1 mirrored at the edge pixels, as often as it takes."""
    if length == 1:
        return np.zeros_like(positions)
    folded = np.abs(positions) % (2 * length - 2)
    return np.where(folded < length, folded, 2 * length - 2 - folded)


def _labels_at(labels: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Labels at rows × columns, mirrored outside; mirror images that touch nothing get new ids."""
    height, width = labels.shape
    result = labels[np.ix_(_mirror(rows, height), _mirror(columns, width))].astype(np.int32)
    inside = np.outer((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
    if inside.all():
        return result
    pieces = skimage.measure.label(result, background=0, connectivity=2)
    is_copy = np.bincount(pieces.ravel(), inside.ravel()) == 0
    return np.where(is_copy[pieces], result.max() + pieces, result)
