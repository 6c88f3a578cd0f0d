"""Detectors that are trained in stages: a network, then support vector machines, then regressors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from .boxes import box_iou
from .coder import BoxCoder, split_like
from .matching import match_boxes, sample_balanced
from .pictures import PictureBatch
from .proposals import Detections, RegionDetector, Search
from .roi_heads import RoISettings, TwoLayerHead, detections
from .targets import Target, clean_target

SVM_BACKGROUND = 0.3
"""A proposal that overlaps a class's objects by less is a negative for its SVM (R-CNN, section 2.3)."""
REGRESSION_IOU = 0.6
"""A proposal learns the box of the object that it overlaps by at least this (appendix C)."""
SVM_COST = 0.01
"""The SVM's C, for features of a mean length of 20; the paper has 0.001."""
RIDGE = 3000.0
"""Weight of the penalty on the regressors' weights; the paper has 1000."""

Floats = NDArray[np.float32]


class StagedDetector(RegionDetector):
    """What R-CNN and SPP-net share: everything after a proposal's pooled feature.

    Stage 1, by gradient: two dense layers and a softmax over classes and background. Stage 2, by
    :meth:`fit_stages`: for each class a linear SVM upon the second dense layer. Stage 3, there too:
    for each class a ridge regression from the pooled feature to the box. Before the stages are
    fitted the softmax gives the scores and boxes stay where they are.

    Args:
        backbone: the convolutions.
        feature_size: numbers of a pooled feature.
        num_classes: with the background.
        width: of the two dense layers.
        settings: of sampling and of detections.
        search: what finds proposals where none are given.
    """

    def __init__(
        self,
        backbone: nn.Module,
        feature_size: int,
        num_classes: int,
        width: int,
        settings: RoISettings,
        search: Search | None,
    ) -> None:
        super().__init__(num_classes, settings, search)
        self.backbone = backbone
        self.box_head = TwoLayerHead(feature_size, width)
        self.cls_score = nn.Linear(width, num_classes)
        self.svm = nn.Linear(width, num_classes - 1).requires_grad_(False)
        self.regressor = nn.Linear(feature_size, 4 * (num_classes - 1)).requires_grad_(False)
        self.coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
        self.register_buffer("fitted", torch.tensor(False))

    @abstractmethod
    def pooled(self, batch: PictureBatch, proposals: list[Tensor]) -> Tensor:
        """A feature for each proposal, (sum of N, feature_size)."""

    def losses(
        self, batch: PictureBatch, proposals: list[Tensor], targets: list[Target]
    ) -> dict[str, Tensor]:
        """Cross-entropy of classes and background over sampled proposals."""
        chosen, labels = self._sample(proposals, targets)
        if not len(labels):  # a batch without any box: nothing to learn, and no NaN either
            return {"class": 0 * self.cls_score.weight.sum()}
        logits = self.cls_score(self.box_head(self.pooled(batch, chosen)))
        return {"class": F.cross_entropy(logits.float(), labels)}

    @torch.no_grad()
    def _sample(
        self, proposals: list[Tensor], targets: list[Target]
    ) -> tuple[list[Tensor], Tensor]:
        """Some proposals of each picture, true boxes among them, and the labels of all."""
        s = self.settings
        chosen, labels = [], []
        for boxes, target in zip(proposals, targets, strict=True):
            truth = target["boxes"].to(boxes)
            boxes = torch.cat([boxes, truth])
            matches = match_boxes(box_iou(truth, boxes), s.threshold, s.threshold)
            positive, negative = sample_balanced(matches, s.samples, s.positive_share)
            chosen.append(boxes[torch.cat([positive, negative])])
            labels.append(target["labels"][matches[positive]])
            labels.append(torch.zeros_like(negative))
        return chosen, torch.cat(labels)

    def detect(self, batch: PictureBatch, proposals: list[Tensor]) -> Detections:
        """Each proposal's score for every class, its box moved, then NMS of each class."""
        boxes = torch.cat(proposals)
        features = self.pooled(batch, proposals)
        hidden = self.box_head(features)
        own = boxes[:, None].expand(-1, self.num_classes, -1)
        if bool(self.fitted):
            scores = self.svm(hidden).float().sigmoid()
            scores = torch.cat([1 - scores[:, :1], scores], 1)  # the first column is not used
            moved = self.coder.decode(self.regressor(features).float(), boxes)
            own = torch.cat([own[:, :1], moved], 1)
        else:
            scores = self.cls_score(hidden).float().softmax(1)
        parts = zip(
            split_like(own, proposals), split_like(scores, proposals), batch.sizes, strict=True
        )
        return [detections(b, s, size, self.settings) for b, s, size in parts]

    @torch.no_grad()
    def fit_stages(self, data: Any, *, seed: int = 0) -> dict[str, int]:
        """Fits the SVMs and the regressors to pictures with proposals.

        For the SVM of a class its true boxes are positive. Every other box, a proposal or the true
        box of another class, is negative if it overlaps all objects of the class by less than
        :data:`SVM_BACKGROUND`, and is left out otherwise. The regressor of a class learns
        from proposals that overlap an object of it by :data:`REGRESSION_IOU`.

        Args:
            data: samples with ``image``, ``boxes``, ``labels`` and ``proposals``.
            seed: of the order in which the SVM's solver goes through the samples.

        Returns:
            how many features, positives, and rows of regression there were.

        Raises:
            ValueError: if a class has no object in these pictures.
        """
        was_training = self.training
        self.eval()
        rows = list(self._features(data))
        self.train(was_training)
        hidden = np.concatenate([r["hidden"] for r in rows])
        overlap = np.concatenate([r["overlap"] for r in rows])
        true = np.concatenate([r["true"] for r in rows])
        near = np.concatenate([r["near_label"] for r in rows])
        pooled = np.concatenate([r["pooled"] for r in rows])
        moves = np.concatenate([r["moves"] for r in rows])
        for c in range(1, self.num_classes):
            positive, of_class = true == c, near == c
            if not positive.any() or not of_class.any():
                raise ValueError(
                    f"data holds no object of class {c}; each class needs at least one"
                )
            negative = (overlap[:, c - 1] < SVM_BACKGROUND) & ~positive
            weight, bias = fit_svm(hidden[positive], hidden[negative], seed)
            self.svm.weight[c - 1] = torch.from_numpy(weight)
            self.svm.bias[c - 1] = bias
            ridge = Ridge(RIDGE).fit(pooled[of_class].astype(np.float64), moves[of_class])
            at = slice(4 * (c - 1), 4 * c)
            self.regressor.weight[at] = torch.from_numpy(ridge.coef_).float()
            self.regressor.bias[at] = torch.from_numpy(ridge.intercept_).float()
        self.fitted.fill_(True)  # type: ignore[operator]
        return {"features": len(hidden), "positives": int((true > 0).sum()), "boxes": len(moves)}

    def _features(self, data: Any) -> Iterator[dict[str, NDArray[Any]]]:
        """Of each picture: dense features of proposals and true boxes, and what they are to learn."""
        device = self.cls_score.weight.device
        for k in range(len(data)):
            sample = data[k]
            target = {n: sample[n].to(device) for n in ("boxes", "labels", "crowd") if n in sample}
            target = clean_target(target, tuple(sample["image"].shape[1:]), self.num_classes)
            truth, labels = target["boxes"], target["labels"]
            boxes = torch.cat([sample["proposals"].to(device), truth])
            pooled = self.pooled(self.scaler([sample["image"].to(device)]), [boxes])
            iou = box_iou(truth, boxes)
            overlap = iou.new_zeros(len(boxes), self.num_classes - 1)
            for c in range(1, self.num_classes):
                if (labels == c).any():
                    overlap[:, c - 1] = iou[labels == c].amax(0)
            true = torch.zeros(len(boxes), dtype=torch.int64, device=device)
            true[len(boxes) - len(truth) :] = labels
            matches = match_boxes(iou, REGRESSION_IOU, REGRESSION_IOU)
            near = (matches >= 0).nonzero()[:, 0]
            found = matches[near]
            tensors = {
                "hidden": self.box_head(pooled),
                "overlap": overlap,
                "true": true,
                "near_label": labels[found],
                "pooled": pooled[near],
                "moves": self.coder.encode(truth[found], boxes[near]),
            }
            yield {name: value.float().cpu().numpy() for name, value in tensors.items()}


def fit_svm(positive: Floats, negative: Floats, seed: int) -> tuple[Floats, float]:
    """A linear SVM from all positives and the hard negatives (R-CNN, section 2.3).

    Begins with as many negatives as fit beside the positives ten times, and adds those that the SVM
    gets wrong or that lie within its margin, until there are none or four rounds are over. Features
    are divided by their mean length first, and the machine's weights brought back afterwards: the cost
    then does not depend on their scale.

    Args:
        positive, negative: (N, D) each, at least one row.
        seed: of the first negatives and of the solver.

    Returns:
        weights (D,) and bias of the score w · x + b.
    """
    length = float(np.linalg.norm(np.concatenate([positive, negative]), axis=1).mean()) / 20 or 1.0
    mixed = np.random.default_rng(seed).permutation(len(negative))
    chosen = np.zeros(len(negative), bool)
    chosen[mixed[: max(1000, 10 * len(positive))]] = True
    for _ in range(4):
        x = np.concatenate([positive, negative[chosen]]).astype(np.float64) / length
        y = np.arange(len(x)) < len(positive)
        machine = LinearSVC(C=SVM_COST, dual=False, intercept_scaling=10.0, random_state=seed).fit(
            x, y
        )
        weight, bias = machine.coef_[0] / length, float(machine.intercept_[0])
        hard = (negative @ weight + bias > -1) & ~chosen
        if not hard.any():
            break
        chosen |= hard
    return weight.astype(np.float32), bias
