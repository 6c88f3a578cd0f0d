"""Training crops around objects, for :class:`~lessons_lib.data.Augmented`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torchvision.transforms.v2 import functional as F

from .transforms import Sample, uniform, window_start


@dataclass(frozen=True)
class ObjectCrop:
    """See :func:`object_crop`, which makes it."""

    size: int
    flip: bool

    def __call__(self, sample: Sample) -> Sample:
        top, left = self.place(sample["instances"])
        sample = {name: F.crop(v, top, left, self.size, self.size) for name, v in sample.items()}
        if self.flip and uniform(0, 1) < 0.5:
            sample = {name: F.horizontal_flip(value) for name, value in sample.items()}
        return sample

    def place(self, instances: torch.Tensor) -> tuple[int, int]:
        """Upper left corner of a crop around one instance, inside the picture where it can be."""
        ids = torch.unique(instances)
        ids = ids[ids > 0]
        if len(ids) == 0:
            return window_start(instances.shape[-2], self.size), window_start(
                instances.shape[-1], self.size
            )
        chosen = ids[int(torch.randint(len(ids), ()))]
        middle = (instances == chosen).nonzero()[:, -2:].double().mean(0)
        top, left = (
            int(min(max(float(centre) - self.size / 2, 0), max(length - self.size, 0)))
            for centre, length in zip(middle, instances.shape[-2:], strict=True)
        )
        return top, left


def object_crop(size: int, flip: bool = True) -> ObjectCrop:
    """A square crop around a random instance of the picture, for :class:`~lessons_lib.data.Augmented`.

    Neven et al., *Instance Segmentation by Jointly Optimizing Spatial Embeddings and Clustering Bandwidth*,
    CVPR 2019, section 4: the crop's middle is the mean of the instance's pixels, moved inside the picture where it
    would stick out. They draw from all objects of all pictures alike; here the picture comes first, then one
    of its objects, so that a crowded street is seen no more often than an empty one. A picture without instances
    is cropped at a random place, one smaller than the crop is continued by black pixels with the class 255.

    Args:
        size: side of the crop, px.
        flip: mirror left and right in half of the crops.

    Raises:
        ValueError: for a size below 1.
    """
    if size < 1:
        raise ValueError(f"size is {size}; it must be at least 1")
    return ObjectCrop(size, flip)
