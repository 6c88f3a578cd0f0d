"""Random transforms of a picture and its labels together, each sample a function of (seed, index)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as F

IGNORE = 255
LABELS = ("semantic", "instances", "depth")  # never interpolated

Sample = dict[str, Any]
Transform = Callable[[Sample], Sample]


class Augmented(Dataset[Sample]):
    """Randomly transformed samples of another data set.

    Item i is a function of ``(seed, i)`` and of nothing else: which picture it is, and every random
    choice of the transform. Pictures come in rounds: items 0..n-1 show each of the n pictures once, in
    random order, items n..2n-1 once more in another order, and so on. For fresh samples throughout a
    training make ``length`` as long as the whole training.

    The transform may be any of ``torchvision.transforms.v2``, or any function of a dict of
    ``tv_tensors``. It gets ``image`` as ``Image`` and ``semantic``, ``instances`` and ``depth`` as
    ``Mask``, as far as the sample has them. Masks go through torchvision's geometry by nearest
    neighbour and are left alone by colour changes. Its random numbers may come from torch's, NumPy's
    or Python's global generators: all three are seeded inside and put back afterwards.

    **What is outside the picture.** A rotated or small picture leaves pixels that were never seen.
    torchvision fills them with 0, unless told otherwise: don't tell it otherwise. Semantic labels are
    handed over one higher, with 0 for "ignore", so they come back as ``ignore`` = 255 there; instances are 0,
    background; depth is 0, no measurement; the image is 0, black.

    Args:
        dataset: samples with ``image`` float32 (C, H, W) and labels (H, W), ``depth`` (1, H, W).
        transform: see above, for instance :func:`random_scale_crop`.
        length: number of items; None means the number of pictures.
        seed: any whole number from 0.

    Each item is a dict: ``image`` float32, ``semantic`` and ``instances`` int64, ``depth`` float32, as far
    as the sample has them, ``id`` "<id of the sample>#<i>", and all else in the sample that is no
    tensor. Other tensors, such as boxes, would no longer fit the picture and are left out.

    Raises:
        ValueError: no pictures, or a negative length or seed.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        transform: Transform,
        length: int | None = None,
        seed: int = 0,
    ) -> None:
        self.pictures = len(dataset)  # type: ignore[arg-type]
        if self.pictures == 0:
            raise ValueError("dataset is empty; expected at least one picture")
        self.length = self.pictures if length is None else length
        if self.length < 0 or seed < 0:
            raise ValueError(f"length is {length}, seed is {seed}; both must be at least 0")
        self.dataset, self.transform, self.seed = dataset, transform, seed
        self._round = -1
        self._order = np.empty(0, np.int64)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.length:
            raise IndexError(f"index is {index}; expected 0 to {self.length - 1}")
        original = self.dataset[self.picture(index)]
        with seeded(self.seed, index):
            changed = self.transform(wrap(original))
        sample = {key: value for key, value in original.items() if not isinstance(value, Tensor)}
        sample.update(unwrap(changed))
        if "id" in sample:
            sample["id"] = f"{sample['id']}#{index}"
        return sample

    def picture(self, index: int) -> int:
        """Which picture of the data set item ``index`` is made of."""
        number, place = divmod(index, self.pictures)
        if number != self._round:
            self._order = np.random.default_rng((self.seed, number)).permutation(self.pictures)
            self._round = number
        return int(self._order[place])


@contextmanager
def seeded(*key: int) -> Iterator[None]:
    """Inside, the global generators of torch (CPU), NumPy and Python are seeded by a key of numbers.

    The three seeds are drawn from NumPy's ``SeedSequence(key)``, so that neighbouring keys have
    nothing in common. Outside, the generators are as they were.
    """
    numbers = np.random.SeedSequence(key).generate_state(3, np.uint64)
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        try:
            torch.random.default_generator.manual_seed(int(numbers[0] >> np.uint64(1)))
            np.random.seed(int(numbers[1] >> np.uint64(32)))  # noqa: NPY002
            random.seed(int(numbers[2]))
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


def wrap(sample: Sample) -> Sample:
    """A sample's tensors as ``tv_tensors``; semantic labels one higher, 0 for "ignore"."""
    wrapped: Sample = {"image": tv_tensors.Image(sample["image"])}
    for name in LABELS:
        if name in sample:
            labels = sample[name]
            if name == "semantic":
                labels = torch.where(labels == IGNORE, 0, labels + 1)
            wrapped[name] = tv_tensors.Mask(labels)
    return wrapped


def unwrap(wrapped: Sample) -> Sample:
    """The plain tensors again."""
    sample = {name: value.as_subclass(Tensor).contiguous() for name, value in wrapped.items()}
    if "semantic" in sample:
        labels = sample["semantic"]
        sample["semantic"] = torch.where(labels == 0, IGNORE, labels - 1)
    return sample


class RandomScaleCrop:
    """See :func:`random_scale_crop`, which makes it."""

    def __init__(
        self,
        size: tuple[int, int],
        scale: tuple[float, float],
        flip: bool,
        rotate: float,
        blur: bool,
        jitter: float,
    ) -> None:
        self.size, self.scale, self.flip = size, scale, flip
        self.rotate, self.blur, self.jitter = rotate, blur, jitter

    def __call__(self, sample: Sample) -> Sample:
        height, width = sample["image"].shape[-2:]
        factor = uniform(*self.scale)
        target = (max(1, round(height * factor)), max(1, round(width * factor)))
        sample = {name: resize(value, target) for name, value in sample.items()}
        if self.rotate:
            angle = uniform(-self.rotate, self.rotate)
            smooth = InterpolationMode.BILINEAR  # of the image; masks take the nearest pixel
            sample = {k: F.rotate(v, angle, interpolation=smooth) for k, v in sample.items()}
        top, left = (
            window_start(found, wanted) for found, wanted in zip(target, self.size, strict=True)
        )
        sample = {k: F.crop(v, top, left, *self.size) for k, v in sample.items()}
        if self.flip and uniform(0, 1) < 0.5:
            sample = {k: F.horizontal_flip(v) for k, v in sample.items()}
        if self.blur and uniform(0, 1) < 0.5:
            sample["image"] = F.gaussian_blur(sample["image"], [5, 5], [uniform(0.1, 2)])
        if self.jitter:
            for change in (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation):
                strength = uniform(1 - self.jitter, 1 + self.jitter)
                sample["image"] = change(sample["image"], strength)
        return sample


def random_scale_crop(
    size: int | tuple[int, int],
    scale: tuple[float, float] = (0.5, 2.0),
    flip: bool = True,
    rotate: float = 0,
    blur: bool = False,
    jitter: float = 0,
) -> RandomScaleCrop:
    """Random size, mirror image, rotation and blur, then a crop at a random place, for :class:`Augmented`.

    The augmentation of Zhao et al., *Pyramid Scene Parsing Network*, CVPR 2017, section 4.1: mirror
    image and size for all data sets; rotation by ±10° and Gaussian blur (``rotate=10, blur=True``)
    for ADE20K and VOC. They don't say how often they blur: here half of the pictures, 5×5 pixels with σ
    of 0.1 to 2. A picture smaller than the crop lies at a random place in it.

    Args:
        size: height and width of the crop, or its side, px.
        scale: smallest and largest factor, drawn evenly.
        flip: mirror left and right in half of the pictures.
        rotate: largest angle to either side, degrees, drawn evenly.
        blur: Gaussian blur in half of the pictures.
        jitter: brightness, contrast and saturation are each multiplied by up to 1 ± jitter (RGB pictures).

    Raises:
        ValueError: for an argument out of range.
    """
    height, width = (size, size) if isinstance(size, int) else size
    if min(height, width) < 1:
        raise ValueError(f"size is {size}; it must be at least 1")
    if not 0 < scale[0] <= scale[1]:
        raise ValueError(f"scale is {scale}; it must be 0 < low <= high")
    if not 0 <= rotate <= 180:
        raise ValueError(f"rotate is {rotate}; it must be in 0..180 degrees")
    if not 0 <= jitter <= 1:
        raise ValueError(f"jitter is {jitter}; it must be in 0..1")
    return RandomScaleCrop((height, width), scale, flip, rotate, blur, jitter)


def resize(value: Tensor, size: tuple[int, int]) -> Tensor:
    """Image: bilinear, smoothed first where it shrinks. Mask: the pixel under the new pixel's centre.

    torchvision's own rule for masks takes the pixel under the new pixel's upper left corner, which
    shifts labels against the image by up to half a pixel.
    """
    if not isinstance(value, tv_tensors.Mask):
        return F.resize(value, list(size), interpolation=InterpolationMode.BILINEAR, antialias=True)
    rows, columns = (
        ((torch.arange(new) + 0.5) * (old / new)).long().clamp(max=old - 1)
        for old, new in zip(value.shape[-2:], size, strict=True)
    )
    plain = value.as_subclass(Tensor)
    return tv_tensors.Mask(plain.index_select(-2, rows).index_select(-1, columns))


def uniform(low: float, high: float) -> float:
    """A number drawn evenly from torch's global generator."""
    return low + (high - low) * float(torch.rand(()))


def window_start(length: int, window: int) -> int:
    """A random place for a window inside 0..length-1, or, if it is longer, around all of it."""
    room = length - window
    start = int(torch.randint(abs(room) + 1, ()))
    return start if room >= 0 else -start
