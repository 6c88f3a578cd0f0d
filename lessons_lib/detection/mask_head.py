"""The mask branch: which pixels of a box belong to the object? (He, Gkioxari, Dollár and Girshick, ICCV 2017)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from .boxes import full_precision
from .coder import split_like
from .roi_heads import RoIBranch, Samples
from .targets import Target

MaskLoss = Literal["sigmoid", "softmax"]
MASK_LOSSES = ("sigmoid", "softmax")
CHUNK = 1 << 24
"""Pixels that are pasted at once: 64 MiB of floats."""


class MaskHead(nn.Module):
    """Four 3 × 3 convolutions, one that doubles the size, and a mask for every class (figure 4, right).

    Args:
        channels: of the pooled features.
        num_classes: with the background, whose mask only the softmax uses.
        width: channels of all layers; the paper has 256.
        depth: convolutions before the doubling.

    Shapes: (N, channels, m, m) → logits (N, num_classes, 2 m, 2 m).
    """

    def __init__(
        self, channels: int, num_classes: int, width: int = 256, *, depth: int = 4
    ) -> None:
        super().__init__()
        before = [channels, *[width] * depth]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before[k], width, 3, padding=1) for k in range(depth)
        )
        self.conv5_mask = nn.ConvTranspose2d(before[-1], width, 2, stride=2)
        self.mask_fcn_logits = nn.Conv2d(width, num_classes, 1)
        for name, value in self.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_normal_(value, mode="fan_out", nonlinearity="relu")
            elif name.startswith("convolutions"):  # the last two keep torch's, as torchvision's do
                nn.init.zeros_(value)

    def forward(self, features: Tensor) -> Tensor:
        for convolution in self.convolutions:
            features = F.relu(convolution(features))
        return self.mask_fcn_logits(F.relu(self.conv5_mask(features)))


class MaskBranch(RoIBranch):
    """Pools a feature for each object, of a finer grid than its box needs, and draws its mask.

    In training it looks at the proposals that belong to objects; afterwards at the detections, whose
    boxes are better than their proposals.

    Args:
        pool: as in :class:`~lessons_lib.detection.RoIHeads`; the paper has 14 cells to a side.
        head: upon it.
        loss: see :func:`mask_loss`.
        aligned: see :func:`mask_targets`.
    """

    def __init__(
        self,
        pool: nn.Module,
        head: MaskHead,
        loss: MaskLoss = "sigmoid",
        *,
        aligned: bool = False,
    ) -> None:
        super().__init__()
        if loss not in MASK_LOSSES:
            raise ValueError(f"loss is {loss!r}; it must be one of {', '.join(MASK_LOSSES)}")
        self.pool, self.head, self.loss, self.aligned = pool, head, loss, aligned

    def losses(
        self,
        maps: Mapping[str, Tensor],
        samples: Samples,
        targets: Sequence[Target],
        size: tuple[int, int],
    ) -> dict[str, Tensor]:
        boxes, objects = samples.positive()
        logits = full_precision(self.head(self.pool(maps, boxes, size)))
        truth = [t["masks"] for t in targets]
        wanted = mask_targets(truth, boxes, objects, logits.shape[-1], aligned=self.aligned)
        labels = samples.labels[samples.labels > 0]
        return {"mask": mask_loss(logits, labels, wanted, self.loss)}

    def extend(
        self, maps: Mapping[str, Tensor], found: list[dict[str, Tensor]], size: tuple[int, int]
    ) -> list[dict[str, Tensor]]:
        """The detections with ``mask_probabilities`` (N, m, m), each over its own box."""
        boxes = [one["boxes"] for one in found]
        logits = full_precision(self.head(self.pool(maps, boxes, size)))
        labels = torch.cat([one["labels"] for one in found])
        grids = split_like(mask_probabilities(logits, labels, self.loss), boxes)
        return [{**one, "mask_probabilities": g} for one, g in zip(found, grids, strict=True)]


def mask_targets(
    masks: Sequence[Tensor],
    boxes: Sequence[Tensor],
    objects: Sequence[Tensor],
    size: int,
    *,
    aligned: bool = False,
) -> Tensor:
    """What a mask should be in each proposal: its object's mask, cut out and scaled by RoIAlign.

    torchvision reads the mask as if the value of a pixel stood at its upper left corner, so that all
    targets are half a pixel off: little for COCO's things, much for one of 40 px. ``aligned`` reads
    it in the pixel's middle.

    Args:
        masks: bool (T, H, W) of each picture.
        boxes: (P, 4) of each picture, px.
        objects: int64 (P,) of each picture, row of ``masks``.
        size: cells to a side.
        aligned: whether a pixel's value stands in its middle.

    Returns:
        float (sum of P, size, size): the share of each cell that the object fills.
    """
    cut = [boxes[0].new_zeros((0, size, size))]
    for mask, box, index in zip(masks, boxes, objects, strict=True):
        if len(box):
            rois = torch.cat([index[:, None].to(box.dtype), box], 1)
            truth = mask[:, None].to(box.dtype)
            cut.append(torchvision.ops.roi_align(truth, rois, size, aligned=aligned)[:, 0])
    return torch.cat(cut)


def mask_loss(logits: Tensor, labels: Tensor, wanted: Tensor, kind: MaskLoss = "sigmoid") -> Tensor:
    """Mean over all cells of all proposals that belong to objects (section 3).

    ``sigmoid``: binary cross-entropy of the mask of the true class; the other classes' masks are left
    alone, so that they do not compete: which class it is, is for the class branch to say. ``softmax``:
    each cell chooses among all classes and the background, as in semantic segmentation (table 2b);
    a cell of which the object fills the share t counts as t of its class and 1 - t of the background.

    Args:
        logits: (P, num_classes, m, m).
        labels: int64 (P,), from 1 on.
        wanted: (P, m, m) in [0, 1].
    """
    if not len(labels):
        return logits.sum() * 0
    row = torch.arange(len(labels), device=labels.device)
    if kind == "sigmoid":
        return F.binary_cross_entropy_with_logits(logits[row, labels], wanted)
    log = logits.log_softmax(1)
    return -(wanted * log[row, labels] + (1 - wanted) * log[:, 0]).mean()


def mask_probabilities(logits: Tensor, labels: Tensor, kind: MaskLoss = "sigmoid") -> Tensor:
    """Probability (N, m, m) of each cell that it belongs to the object of the class in ``labels``."""
    row = torch.arange(len(labels), device=labels.device)
    if kind == "sigmoid":
        return logits[row, labels].sigmoid()
    return logits.softmax(1)[row, labels]


def paste_masks(
    probabilities: Tensor,
    boxes: Tensor,
    size: tuple[int, int],
    threshold: float | None = 0.5,
    *,
    aligned: bool = False,
) -> Tensor:
    """Puts the small masks into their boxes in a picture: bilinear interpolation, then a threshold.

    As torchvision does it: a border of zeros one cell wide is put round each mask, and its box grows
    in proportion, so that masks end softly; then the box is cut to whole pixels, both ends included,
    unless ``aligned``: then each pixel reads the mask where its own middle lies.
    Bilinear interpolation is separable, so each mask is a product of three small matrices, rows ×
    mask × columns, and there is no loop over masks. They are pasted some at a time, so that besides
    the result no more than about 200 MiB are needed.

    Args:
        probabilities: (N, m, m).
        boxes: (N, 4), px.
        size: (height, width) of the picture.
        threshold: a pixel belongs to an object if its probability is greater.
        aligned: whether boxes stay as they are; for masks learned with :func:`mask_targets`'s ``aligned``.

    Returns:
        bool (N, height, width), or the probabilities, 0 outside of the box, if ``threshold`` is ``None``.
    """
    height, width = size
    padded = F.pad(probabilities, (1, 1, 1, 1))
    cells = padded.shape[-1]
    centre = (boxes[:, 2:] + boxes[:, :2]) * 0.5
    half = (boxes[:, 2:] - boxes[:, :2]) * 0.5 * (cells / (cells - 2))
    if aligned:
        first, pixels = centre - half, (2 * half).clamp(min=1e-3)
    else:  # torchvision cuts towards 0
        first = (centre - half).long()
        pixels = ((centre + half).long() - first + 1).clamp(min=1)
    result = probabilities.new_empty(
        (len(boxes), height, width), dtype=None if threshold is None else torch.bool
    )
    step = max(1, CHUNK // max(1, height * width))
    for n in range(0, len(boxes), step):
        rows = slice(n, n + step)
        down = _weights(first[rows, 1], pixels[rows, 1], height, cells, padded.dtype)
        across = _weights(first[rows, 0], pixels[rows, 0], width, cells, padded.dtype)
        pasted = down @ padded[rows] @ across.mT
        result[rows] = pasted if threshold is None else pasted > threshold
    return result


def _weights(first: Tensor, pixels: Tensor, length: int, cells: int, dtype: torch.dtype) -> Tensor:
    """What each cell of a mask adds to each pixel of an axis: (N, length, cells).

    The middle of pixel p lies at (p - first + 1/2) · cells / pixels - 1/2, counted in cells; a cell adds
    1 less its distance from there, or nothing.
    """
    middle = (torch.arange(length, device=first.device) - first[:, None]).to(dtype) + 0.5
    at = middle * (cells / pixels.to(dtype))[:, None] - 0.5
    cell = torch.arange(cells, device=first.device, dtype=dtype)
    weights = (1 - (at.clamp(0, cells - 1)[..., None] - cell).abs()).clamp(min=0)
    return weights * ((middle >= 0) & (middle < pixels[:, None]))[..., None]
