"""Pictures of any size as one batch, and boxes back to where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lessons_lib.data.imagenet import IMAGENET_MEAN, IMAGENET_STD


@dataclass(frozen=True)
class PictureBatch:
    """Normalised, scaled pictures in the upper left corners of one tensor.

    Attributes:
        tensor: float (B, 3, H, W), 0 where a picture does not reach.
        sizes: (height, width) of each picture in it, px.
        original_sizes: those before scaling.
    """

    tensor: Tensor
    sizes: list[tuple[int, int]]
    original_sizes: list[tuple[int, int]]


@dataclass(frozen=True)
class PictureScaler:
    """How pictures enter a detector: the field's usual preparation.

    Attributes:
        shorter: length that the shorter side is scaled to, px; of several one is drawn for each
            training picture, and the last is used to predict; none leaves pictures as they are.
        longer: length that the longer side must not exceed, px.
        fixed: (height, width) that every picture is brought to, whatever its form, px; then ``shorter``
            and ``longer`` do not count.
        mean, std: of the three channels; values become (value - mean) / std.
        divisor: height and width of the batch are multiples of this, px.
    """

    shorter: tuple[int, ...] = ()
    longer: int = 1333
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    divisor: int = 32
    fixed: tuple[int, int] | None = None

    def __call__(
        self, images: Sequence[Tensor] | Tensor, *, training: bool = False
    ) -> PictureBatch:
        """A batch of images, each float (3, H, W) in [0, 1].

        Raises:
            ValueError: for no image, another shape, an empty picture, or whole numbers.
        """
        if len(images) == 0:
            raise ValueError("images is empty; it must hold at least one picture")
        for image in images:
            if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape:
                raise ValueError(
                    f"an image has the shape {tuple(image.shape)}; it must be (3, H, W), not empty"
                )
            if not image.is_floating_point():
                raise ValueError(f"an image is {image.dtype}; it must be floating point in [0, 1]")
        scaled = [self._scale(self._normalize(image), training) for image in images]
        sizes = [(int(s.shape[1]), int(s.shape[2])) for s in scaled]
        height, width = (
            -(-max(side) // self.divisor) * self.divisor for side in zip(*sizes, strict=True)
        )
        tensor = scaled[0].new_zeros((len(scaled), 3, height, width))
        for row, (image, size) in enumerate(zip(scaled, sizes, strict=True)):
            tensor[row, :, : size[0], : size[1]] = image
        original = [(int(i.shape[1]), int(i.shape[2])) for i in images]
        return PictureBatch(tensor, sizes, original)

    def _normalize(self, image: Tensor) -> Tensor:
        mean, std = (image.new_tensor(v)[:, None, None] for v in (self.mean, self.std))
        return (image - mean) / std

    def _scale(self, image: Tensor, training: bool) -> Tensor:
        if self.fixed is not None:
            return F.interpolate(image[None], self.fixed, mode="bilinear", align_corners=False)[0]
        if not self.shorter:
            return image
        shorter = self.shorter[-1]
        if training:  # drawn as torchvision draws it, so that one seed gives both the same
            shorter = self.shorter[int(torch.empty(1).uniform_(0, len(self.shorter)))]
        sides = image.shape[1:]
        factor = min(shorter / min(sides), self.longer / max(sides))
        return F.interpolate(
            image[None],
            scale_factor=factor,
            mode="bilinear",
            align_corners=False,
            recompute_scale_factor=True,
        )[0]


def resize_boxes(boxes: Tensor, before: tuple[int, int], after: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) of a picture that is scaled from ``before`` to ``after``, (height, width)."""
    y, x = (new / old for new, old in zip(after, before, strict=True))
    return boxes * boxes.new_tensor([x, y, x, y])
