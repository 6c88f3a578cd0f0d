"""A sliding-window detector: linear SVMs on histograms of oriented gradients (Dalal and Triggs, 2005)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.detection.boxes import box_iou, clip_boxes
from lessons_lib.detection.hog import hog
from lessons_lib.detection.matching import BACKGROUND, match_boxes
from lessons_lib.detection.nms import batched_nms


@dataclass(frozen=True)
class Template:
    """What one SVM looks for: a class, and the size of the thing at the pyramid's first level.

    Attributes:
        label: the class, from 1 on.
        height, width: of the thing, px.
    """

    label: int
    height: float
    width: float


class HOGDetector(nn.Module):
    """One linear SVM a template, slid over the HOG of a picture at several sizes.

    The score of a window is w · x + b with the window's HOG x. For all windows of a picture at once this
    is a convolution of the HOG map with w as its kernel.

    Args:
        templates: sizes and classes of what is looked for. Things smaller than their template are not
            found: the pyramid only makes pictures smaller.
        scales: of the pyramid, 1 first, falling; the windows' sides grow by the inverse.
        cell, block, bins: of the HOG; ``cell`` is also the step from window to window, px.
        margin: ground round the thing that a window shows too, in cells.
        score_threshold: detections below it are dropped. An SVM's margin is at -1 and 1.
        nms_threshold: IoU above which the worse of two boxes of a class goes.
        detections: most a picture.
        positive_weight: how much more a window with a thing weighs in the loss than one without.
        regularization: λ in λ/2 · w·w, which is added to the loss.

    ``model(images)`` with images (B, C, H, W) or a list of (C, H, W) gives for each a dict with ``boxes``
    (N, 4), ``labels`` (N,) and ``scores`` (N,), scores falling. In training mode ``model(images,
    targets)`` gives the terms of the loss (:meth:`losses`).

    Raises:
        ValueError: without templates, or for scales that do not fall from 1.
    """

    def __init__(
        self,
        templates: Sequence[Template],
        *,
        scales: Sequence[float] = (1.0, 0.87, 0.76, 0.66, 0.57, 0.5),
        cell: int = 4,
        block: int = 2,
        bins: int = 9,
        margin: int = 1,
        score_threshold: float = -0.8,
        nms_threshold: float = 0.3,
        detections: int = 50,
        positive_weight: float = 5.0,
        regularization: float = 0.1,
    ) -> None:
        super().__init__()
        if not templates:
            raise ValueError("templates is empty; there must be at least one")
        falling = all(a > b > 0 for a, b in pairwise(scales))
        if not scales or scales[0] != 1 or not falling:
            raise ValueError(f"scales is {tuple(scales)}; it must start with 1 and fall")
        self.templates = tuple(templates)
        self.scales = tuple(scales)
        self.cell, self.block, self.bins, self.margin = cell, block, bins, margin
        self.score_threshold = score_threshold
        self.nms_threshold = nms_threshold
        self.detections = detections
        self.positive_weight = positive_weight
        self.regularization = regularization
        self.weights = nn.ParameterList(
            torch.zeros(block * block * bins, *self._window(t)) for t in templates
        )
        self.bias = nn.Parameter(torch.full((len(templates),), -1.0))

    def _window(self, template: Template) -> tuple[int, int]:
        """Rows and columns of blocks in the template's window."""
        height, width = (
            round(side / self.cell) + 2 * self.margin for side in (template.height, template.width)
        )
        return height - self.block + 1, width - self.block + 1

    def features(self, images: Tensor) -> list[Tensor]:
        """The HOG maps (B, block² bins, rows, columns) of each level of the pyramid."""
        maps = []
        side = (self.margin + 1) * self.cell
        for scale in self.scales:
            level = images
            if scale != 1:
                size = [max(1, round(scale * n)) for n in images.shape[-2:]]
                level = F.interpolate(images, size, mode="bilinear", antialias=True)
            level = F.pad(level, [side] * 4, mode="replicate")
            blocks = hog(level, self.cell, self.block, self.bins)
            maps.append(blocks.flatten(3).permute(0, 3, 1, 2).contiguous())
        return maps

    def scores(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """For each template the scores (B, windows) of all its windows, level after level."""
        result = []
        for w, b in zip(self.weights, self.bias, strict=True):
            levels = [F.conv2d(m, w[None], b[None]).flatten(1) for m in maps if _fits(w, m)]
            result.append(torch.cat([w.new_zeros(len(maps[0]), 0), *levels], 1))
        return result

    def windows(self, maps: Sequence[Tensor], size: Sequence[int]) -> list[Tensor]:
        """For each template the boxes (windows, 4) of the things that its windows would hold, px."""
        result = []
        for template, weight in zip(self.templates, self.weights, strict=True):
            half = weight.new_tensor([template.width, template.height]) / 2
            rows, columns = (n + self.block - 1 for n in weight.shape[1:])  # cells of a window
            boxes = [weight.new_zeros(0, 4)]
            for scale, level in zip(self.scales, maps, strict=True):
                if not _fits(weight, level):
                    continue
                y, x = torch.meshgrid(
                    torch.arange(level.shape[2] - weight.shape[1] + 1),
                    torch.arange(level.shape[3] - weight.shape[2] + 1),
                    indexing="ij",
                )
                corner = torch.stack([x, y], -1).reshape(-1, 2).to(weight) - (self.margin + 1)
                middle = (corner + weight.new_tensor([columns, rows]) / 2) * self.cell
                # a level's size is rounded to whole pixels
                growth = weight.new_tensor(
                    [n / max(1, round(scale * n)) for n in (size[1], size[0])]
                )
                boxes.append(torch.cat([(middle - half) * growth, (middle + half) * growth], 1))
            result.append(torch.cat(boxes))
        return result

    def forward(
        self,
        images: Tensor | Sequence[Tensor],
        targets: Sequence[Mapping[str, Tensor]] | None = None,
    ) -> list[dict[str, Tensor]] | dict[str, Tensor]:
        if self.training:
            if targets is None:
                raise ValueError("targets is None; a detector in training mode needs them")
            return self.losses(torch.stack(list(images)), targets)
        return [self._detect(image[None]) for image in images]

    def _detect(self, image: Tensor) -> dict[str, Tensor]:
        """Every window that scores enough, less those that a better one of its class overlaps."""
        maps = self.features(image)
        found_boxes, found_scores, found_labels = [], [], []
        for template, scores, boxes in zip(
            self.templates, self.scores(maps), self.windows(maps, image.shape[-2:]), strict=True
        ):
            good = scores[0] > self.score_threshold
            found_boxes.append(boxes[good])
            found_scores.append(scores[0, good])
            found_labels.append(
                torch.full_like(found_scores[-1], template.label, dtype=torch.int64)
            )
        scores, labels = torch.cat(found_scores), torch.cat(found_labels)
        boxes = clip_boxes(torch.cat(found_boxes), (image.shape[2], image.shape[3]))
        keep = batched_nms(boxes, scores, labels, self.nms_threshold)[: self.detections]
        return {"boxes": boxes[keep], "labels": labels[keep], "scores": scores[keep]}

    def losses(
        self,
        images: Tensor,
        targets: Sequence[Mapping[str, Tensor]],
        maps: list[Tensor] | None = None,
    ) -> dict[str, Tensor]:
        """The objective of a linear SVM: ``hinge`` and ``norm``, to be added.

        ``hinge`` is max(0, 1 - y s)² of all windows of all templates, summed, a mean over the pictures.
        Windows beyond the margin cost nothing and have no gradient; what is left are the hard negatives
        that the paper collects in a second round. Departure: the paper's hinge is not squared.

        Args:
            images: (B, C, H, W).
            targets: for each image ``boxes`` (N, 4) and ``labels`` (N,).
            maps: the images' :meth:`features`, if they are known.
        """
        maps = self.features(images) if maps is None else maps
        all_scores = self.scores(maps)
        all_windows = self.windows(maps, images.shape[-2:])
        total = images.new_zeros(())
        for template, scores, windows in zip(self.templates, all_scores, all_windows, strict=True):
            for one, target in zip(scores, targets, strict=True):
                sign = self.signs(windows, target["boxes"][target["labels"] == template.label])
                hinge = (1 - sign * one).clamp(min=0).square() * sign.abs()
                total = total + hinge[sign < 0].sum() + self.positive_weight * hinge[sign > 0].sum()
        norm = sum(w.square().sum() for w in self.weights)
        return {"hinge": total / len(images), "norm": self.regularization / 2 * norm}

    @staticmethod
    def signs(windows: Tensor, truth: Tensor) -> Tensor:
        """What each window (N, 4) has to be for things (T, 4): 1, -1, or 0 where it does not matter.

        1 from an IoU of 0.6, and for the best window of a thing from 0.4; -1 below 0.3.
        """
        iou = box_iou(truth, windows)
        matches = match_boxes(iou, 0.6, 0.3)
        sign = torch.where(matches >= 0, 1.0, torch.where(matches == BACKGROUND, -1.0, 0.0))
        if len(truth):
            best = iou.amax(1, keepdim=True)
            sign[((iou == best) & (best > 0.4)).any(0)] = 1.0
        return sign


def _fits(weight: Tensor, level: Tensor) -> bool:
    """Whether a level's map holds a window at all."""
    return weight.shape[1] <= level.shape[2] and weight.shape[2] <= level.shape[3]


def fit_templates(
    boxes: Tensor, labels: Tensor, *, quantile: float = 0.05, elongated: float = 1.5
) -> list[Template]:
    """Templates from training boxes: one a class, or two where things lie and stand.

    A template has the median proportions of its things, and the size of a small one, since the pyramid
    only makes pictures smaller.

    Args:
        boxes: (N, 4).
        labels: int64 (N,).
        quantile: share of things whose longer side is smaller than the template's.
        elongated: ratio of the sides from which on a thing lies or stands.

    Raises:
        ValueError: without boxes.
    """
    if not len(boxes):
        raise ValueError("boxes is empty; there must be at least one")
    width, height = (boxes[:, 2:] - boxes[:, :2]).double().unbind(1)
    longer = torch.maximum(width, height)
    # lying 1, standing -1; a class is split if most of its things do one or the other
    posture = (width > elongated * height).long() - (height > elongated * width).long()
    templates = []
    for label in labels.unique().tolist():
        of_class = labels == label
        split = posture[of_class].abs().double().mean() > 0.5
        groups = [of_class & (posture == p) for p in (1, -1)] if split else [of_class]
        for group in groups:
            if not group.any():
                continue
            side = torch.quantile(longer[group], quantile)
            templates.append(
                Template(
                    label,
                    height=float((height / longer)[group].median() * side),
                    width=float((width / longer)[group].median() * side),
                )
            )
    return templates
