"""The second stage: what is in a proposal, and where exactly? (Girshick, ICCV 2015)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .boxes import box_iou, clip_boxes, full_precision
from .coder import BoxCoder, split_like
from .matching import match_boxes, sample_balanced
from .nms import batched_nms
from .targets import Target

SMALLEST = 1e-2  # px; a detection with a shorter side is dropped, as torchvision does


@dataclass(frozen=True)
class RoISettings:
    """Settings of a second stage; the defaults are those of torchvision's COCO models.

    Attributes:
        threshold: IoU from which a proposal belongs to an object; below it is background.
        samples: proposals of a picture that enter the loss.
        positive_share: largest share of them that belong to objects.
        weights: of the box coder.
        score_threshold: detections must score more.
        nms_threshold: IoU above which the worse of two detections of one class goes.
        detections: most of them in a picture.
    """

    threshold: float = 0.5
    samples: int = 512
    positive_share: float = 0.25
    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    detections: int = 100


class TwoLayerHead(nn.Module):
    """Two dense layers upon pooled features (N, C, k, k): (N, width).

    Args:
        in_features: C k².
        width: of both layers.
        dropout: share of their outputs that is left out in training.
    """

    def __init__(self, in_features: int, width: int = 1024, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.width, self.dropout = width, dropout
        self.fc6 = nn.Linear(in_features, width)
        self.fc7 = nn.Linear(width, width)

    def forward(self, features: Tensor) -> Tensor:
        hidden = F.dropout(F.relu(self.fc6(features.flatten(1))), self.dropout, self.training)
        return F.dropout(F.relu(self.fc7(hidden)), self.dropout, self.training)


class BoxPredictor(nn.Module):
    """For each proposal a score for every class and four moves for every class.

    Shapes: (N, width) → (N, num_classes), (N, 4 · num_classes), the background's among them.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(width, num_classes)
        self.bbox_pred = nn.Linear(width, 4 * num_classes)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.cls_score(features), self.bbox_pred(features)


class Samples(NamedTuple):
    """Proposals to learn from.

    Attributes:
        boxes: (N, 4) of each picture, px.
        matches: int64 (N,) of each picture: the object that a proposal belongs to; below 0 to none.
        labels: int64 (sum of N,), 0 = background.
        moves: (sum of N, 4), what leads from a proposal to its object.
    """

    boxes: list[Tensor]
    matches: list[Tensor]
    labels: Tensor
    moves: Tensor

    def positive(self) -> tuple[list[Tensor], list[Tensor]]:
        """Those that belong to objects: boxes (P, 4) and objects (P,) of each picture."""
        keep = [matches >= 0 for matches in self.matches]
        return (
            [boxes[k] for boxes, k in zip(self.boxes, keep, strict=True)],
            [matches[k] for matches, k in zip(self.matches, keep, strict=True)],
        )


class RoIBranch(nn.Module):
    """What a second stage may say of an object besides its class and box: its mask, its keypoints."""

    def losses(
        self,
        maps: Mapping[str, Tensor],
        samples: Samples,
        targets: Sequence[Target],
        size: tuple[int, int],
    ) -> dict[str, Tensor]:
        """Terms of the loss, learned from the proposals that belong to objects."""
        raise NotImplementedError

    def extend(
        self, maps: Mapping[str, Tensor], found: list[dict[str, Tensor]], size: tuple[int, int]
    ) -> list[dict[str, Tensor]]:
        """The detections with an entry more."""
        raise NotImplementedError


class RoIHeads(nn.Module):
    """Pools a feature for each proposal, classifies it, and moves its box.

    As torchvision has it, and unlike Fast R-CNN's paper: background is every proposal below the
    threshold, not only those of an IoU of 0.1 or more; the true boxes are among the proposals; smooth
    L1 turns at 1/9; moves are scaled by fixed weights and not by their standard deviation.

    Args:
        pool: from maps, proposals of each picture and the size of the batch to (sum of N, C, k, k).
        head: from pooled features to (N, width).
        width: of what ``head`` returns.
        num_classes: with the background.
        settings: see :class:`RoISettings`.
        branch: what is predicted besides; it looks at the detections, after NMS.
    """

    def __init__(
        self,
        pool: nn.Module,
        head: nn.Module,
        width: int,
        num_classes: int,
        settings: RoISettings = RoISettings(),
        branch: RoIBranch | None = None,
    ) -> None:
        super().__init__()
        self.pool, self.settings, self.branch = pool, settings, branch
        self.coder = BoxCoder(settings.weights)
        self.box_head = head
        self.box_predictor = BoxPredictor(width, num_classes)

    def forward(
        self,
        maps: Mapping[str, Tensor],
        proposals: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
        targets: Sequence[Target] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Detections of each picture without ``targets``, else the terms of the loss.

        Args:
            maps: (B, C, h, w) by name.
            proposals: (N, 4) of each picture, px.
            sizes: height and width of each picture, px.
            targets: cleaned, with ``boxes`` and ``labels``, and what the branch learns from.

        Returns:
            ``boxes`` (N, 4), ``labels`` (N,), ``scores`` (N,) by falling score, and no terms; or no
            detections and the terms ``class`` and ``box``. The branch adds to either.
        """
        whole = max(s[0] for s in sizes), max(s[1] for s in sizes)
        if targets is not None:
            samples = self.sample(proposals, targets)
            outputs = self.predict(maps, samples.boxes, whole)
            terms = box_losses(*outputs, samples.labels, samples.moves)
            if self.branch is not None:
                terms |= self.branch.losses(maps, samples, targets, whole)
            return [], terms
        logits, moves = self.predict(maps, proposals, whole)
        boxes = self.coder.decode(moves, torch.cat(list(proposals)))
        scores = logits.softmax(1)
        parts = zip(split_like(boxes, proposals), split_like(scores, proposals), sizes, strict=True)
        found = [detections(b, s, size, self.settings) for b, s, size in parts]
        return (found if self.branch is None else self.branch.extend(maps, found, whole)), {}

    def predict(
        self, maps: Mapping[str, Tensor], proposals: Sequence[Tensor], size: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """Scores (sum of N, num_classes) and moves (sum of N, 4 · num_classes) of all proposals."""
        logits, moves = self.box_predictor(self.box_head(self.pool(maps, proposals, size)))
        return full_precision(logits), full_precision(moves)

    @torch.no_grad()
    def sample(self, proposals: Sequence[Tensor], targets: Sequence[Target]) -> Samples:
        """Proposals to learn from.

        The true boxes are added to the proposals, so that there is something to learn from at first.
        """
        s = self.settings
        chosen, objects, labels, wanted = [], [], [], []
        for boxes, target in zip(proposals, targets, strict=True):
            truth = target["boxes"].to(boxes.dtype)
            boxes = torch.cat([boxes, truth])
            matches = match_boxes(box_iou(truth, boxes), s.threshold, s.threshold)
            # in the order of the proposals, so that the sums are those of torchvision
            index = torch.cat(sample_balanced(matches, s.samples, s.positive_share)).sort()[0]
            boxes, matches = boxes[index], matches[index]
            positive = matches >= 0
            label = torch.zeros_like(matches)
            label[positive] = target["labels"][matches[positive]]
            move = torch.zeros_like(boxes)
            move[positive] = self.coder.encode(truth[matches[positive]], boxes[positive])
            chosen.append(boxes)
            objects.append(matches)
            labels.append(label)
            wanted.append(move)
        return Samples(chosen, objects, torch.cat(labels), torch.cat(wanted))


def box_losses(logits: Tensor, moves: Tensor, labels: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """The multi-task loss of Fast R-CNN (section 2.3): cross-entropy, and smooth L1 of the true class's box.

    Args:
        logits: (N, num_classes).
        moves: (N, 4 · num_classes).
        labels: int64 (N,), 0 = background.
        wanted: (N, 4), what the moves of the true class should be.

    Returns:
        ``class``, a mean over the proposals, and ``box``, a sum over those that belong to objects
        divided by the number of all: a picture with few objects has little to say about boxes.
        Smooth L1 turns at 1/9, as in torchvision; the paper's at 1.
    """
    if not len(labels):
        return {"class": logits.sum(), "box": moves.sum()}
    positive = (labels > 0).nonzero()[:, 0]
    own = moves.view(len(moves), -1, 4)[positive, labels[positive]]
    box = F.smooth_l1_loss(own, wanted[positive], beta=1 / 9, reduction="sum")
    return {"class": F.cross_entropy(logits, labels), "box": box / len(labels)}


def detections(
    boxes: Tensor, scores: Tensor, size: tuple[int, int], settings: RoISettings
) -> dict[str, Tensor]:
    """What is left of the boxes of all classes after thresholds and NMS.

    Args:
        boxes: (N, num_classes, 4), each class's own.
        scores: (N, num_classes); the first is the background's.
        size: height and width of the picture, px.
        settings: ``score_threshold``, ``nms_threshold`` and ``detections`` are used.
    """
    count, num_classes = scores.shape
    boxes = clip_boxes(boxes, size)[:, 1:].reshape(-1, 4)
    labels = torch.arange(1, num_classes, device=scores.device).expand(count, -1).flatten()
    scores = scores[:, 1:].flatten()
    keep = (scores > settings.score_threshold) & (boxes[:, 2:] - boxes[:, :2] >= SMALLEST).all(1)
    boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
    best = batched_nms(boxes, scores, labels, settings.nms_threshold)[: settings.detections]
    return {"boxes": boxes[best], "labels": labels[best], "scores": scores[best]}
