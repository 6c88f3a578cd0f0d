"""Region proposal network: where could there be an object? (Ren et al., NeurIPS 2015)"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .anchors import AnchorGenerator
from .boxes import box_iou, clip_boxes, full_precision
from .coder import BoxCoder
from .matching import match_boxes, sample_balanced
from .nms import batched_nms
from .pictures import PictureBatch
from .targets import Target

SMALLEST = 1e-3  # px; a proposal with a shorter side is dropped, as torchvision does


@dataclass(frozen=True)
class RPNSettings:
    """Settings of a region proposal network; the defaults are those of torchvision's COCO models.

    Attributes:
        high, low: IoU from which an anchor is an object, below which it is background.
        samples: anchors of a picture that enter the loss.
        positive_share: largest share of them that are objects.
        before_nms: proposals of each level that go into NMS, while training and when predicting.
        after_nms: proposals of a picture that come out of it, likewise.
        nms_threshold: IoU above which the worse proposal goes.
    """

    high: float = 0.7
    low: float = 0.3
    samples: int = 256
    positive_share: float = 0.5
    before_nms: tuple[int, int] = (2000, 1000)
    after_nms: tuple[int, int] = (2000, 1000)
    nms_threshold: float = 0.7


class RPNHead(nn.Module):
    """One 3 × 3 convolution, then for each anchor of a cell a score and four moves.

    Args:
        channels: of the maps.
        anchors: in a cell.

    Shapes: (B, channels, h, w) → scores (B, anchors, h, w) and moves (B, 4 · anchors, h, w).
    """

    def __init__(self, channels: int, anchors: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.cls_logits = nn.Conv2d(channels, anchors, 1)
        self.bbox_pred = nn.Conv2d(channels, 4 * anchors, 1)
        for name, value in self.named_parameters():
            nn.init.zeros_(value) if name.endswith("bias") else nn.init.normal_(value, std=0.01)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        shared = F.relu(self.conv(features))
        return self.cls_logits(shared), self.bbox_pred(shared)


class RegionProposalNetwork(nn.Module):
    """Anchors, scored and moved: proposals, and the loss that teaches it.

    As in torchvision, and unlike the paper (section 3.3), anchors that cross the picture's border learn
    too, and the box term is divided by the sampled anchors, not by all places.

    Args:
        anchors: the anchors of every level.
        channels: of the maps.
        settings: see :class:`RPNSettings`.
    """

    def __init__(
        self, anchors: AnchorGenerator, channels: int, settings: RPNSettings = RPNSettings()
    ) -> None:
        super().__init__()
        self.anchors, self.settings = anchors, settings
        self.coder = BoxCoder((1.0, 1.0, 1.0, 1.0))
        self.head = RPNHead(channels, anchors.count)

    def forward(
        self,
        maps: Mapping[str, Tensor],
        pictures: PictureBatch,
        targets: Sequence[Target] | None = None,
    ) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Proposals (N, 4) of each picture, best first, and in training the terms of the loss.

        Args:
            maps: (B, C, h, w) by name, finest first, one for each level of the anchors.
            pictures: what the maps were made from.
            targets: in training, cleaned, with ``boxes`` in the pixels of ``pictures``.
        """
        levels = list(maps.values())
        raw = [self.head(level) for level in levels]
        # cells row by row, the anchors of a cell together, as the anchor generator lists them
        scores = [full_precision(s.permute(0, 2, 3, 1).flatten(1)) for s, _ in raw]
        moves = [full_precision(m.permute(0, 2, 3, 1).reshape(len(m), -1, 4)) for _, m in raw]
        height, width = pictures.tensor.shape[-2:]
        anchors = self.anchors(levels, (height, width))
        with torch.no_grad():
            proposals = self._proposals(scores, moves, anchors, pictures.sizes)
        if targets is None:
            return proposals, {}
        return proposals, self._loss(
            torch.cat(scores, 1), torch.cat(moves, 1), torch.cat(anchors), targets
        )

    def _proposals(
        self,
        scores: Sequence[Tensor],
        moves: Sequence[Tensor],
        anchors: Sequence[Tensor],
        sizes: Sequence[tuple[int, int]],
    ) -> list[Tensor]:
        mode = 0 if self.training else 1
        most = self.settings.before_nms[mode]
        best, boxes, level_of = [], [], []
        for number, (score, move, anchor) in enumerate(zip(scores, moves, anchors, strict=True)):
            score, index = score.topk(min(most, score.shape[1]), 1)
            chosen = move.gather(1, index[..., None].expand(-1, -1, 4))
            decoded = self.coder.decode(chosen.flatten(0, 1), anchor[index.flatten()])
            best.append(score.sigmoid())
            boxes.append(decoded.view(*index.shape, 4))
            level_of.append(torch.full_like(index[0], number))
        all_scores, all_boxes, level = torch.cat(best, 1), torch.cat(boxes, 1), torch.cat(level_of)
        result = []
        for box, score, size in zip(all_boxes, all_scores, sizes, strict=True):
            box = clip_boxes(box, size)
            keep = (box[:, 2:] - box[:, :2] >= SMALLEST).all(1)
            box, score, own = box[keep], score[keep], level[keep]
            order = batched_nms(box, score, own, self.settings.nms_threshold)
            result.append(box[order[: self.settings.after_nms[mode]]])
        return result

    def _loss(
        self, scores: Tensor, moves: Tensor, anchors: Tensor, targets: Sequence[Target]
    ) -> dict[str, Tensor]:
        """Cross-entropy of the sampled anchors, smooth L1 of the positive ones, both over all sampled."""
        s = self.settings
        losses, moved, wanted, count = [], [], [], 0
        for score, move, target in zip(scores, moves, targets, strict=True):
            truth = target["boxes"]
            matches = match_boxes(box_iou(truth, anchors), s.high, s.low, keep_best=True)
            positive, negative = sample_balanced(matches, s.samples, s.positive_share)
            labels = torch.cat([torch.ones_like(positive), torch.zeros_like(negative)])
            chosen = torch.cat([positive, negative])
            losses.append(
                F.binary_cross_entropy_with_logits(score[chosen], labels.float(), reduction="sum")
            )
            moved.append(move[positive])
            wanted.append(self.coder.encode(truth[matches[positive]], anchors[positive]))
            count += len(chosen)
        box = F.smooth_l1_loss(torch.cat(moved), torch.cat(wanted), beta=1 / 9, reduction="sum")
        return {"rpn_objectness": torch.stack(losses).sum() / count, "rpn_box": box / count}
