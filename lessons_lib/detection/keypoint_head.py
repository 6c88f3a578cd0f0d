"""The keypoint branch: a place for each keypoint of a box (He et al., ICCV 2017, section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .boxes import full_precision
from .coder import split_like
from .roi_heads import RoIBranch, Samples
from .targets import Target


class KeypointHead(nn.Module):
    """Eight 3 × 3 convolutions, one that doubles the size, and bilinear doubling: a map a keypoint.

    Args:
        channels: of the pooled features.
        keypoints: kinds of keypoints, K; COCO's people have 17.
        width: channels of the convolutions.
        depth: their number.

    Shapes: (N, channels, m, m) → (N, K, 4 m, 4 m); of 14 × 14 features 56 × 56 places, since points need
    finer maps than masks.
    """

    def __init__(self, channels: int, keypoints: int, width: int = 512, *, depth: int = 8) -> None:
        super().__init__()
        before = [channels, *[width] * depth]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before[k], width, 3, padding=1) for k in range(depth)
        )
        self.kps_score_lowres = nn.ConvTranspose2d(before[-1], keypoints, 4, stride=2, padding=1)
        for name, value in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(value)
            else:
                nn.init.kaiming_normal_(value, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Tensor) -> Tensor:
        for convolution in self.convolutions:
            features = F.relu(convolution(features))
        maps = self.kps_score_lowres(features)
        return F.interpolate(maps, scale_factor=2.0, mode="bilinear", align_corners=False)


class KeypointBranch(RoIBranch):
    """Pools a feature for each object and scores every place of its box for each keypoint.

    Args:
        pool: as in :class:`~lessons_lib.detection.RoIHeads`; the paper has 14 cells to a side.
        head: upon it.
    """

    def __init__(self, pool: nn.Module, head: KeypointHead) -> None:
        super().__init__()
        self.pool, self.head = pool, head

    def losses(
        self,
        maps: Mapping[str, Tensor],
        samples: Samples,
        targets: Sequence[Target],
        size: tuple[int, int],
    ) -> dict[str, Tensor]:
        boxes, objects = samples.positive()
        logits = full_precision(self.head(self.pool(maps, boxes, size)))
        truth = [t["keypoints"][k] for t, k in zip(targets, objects, strict=True)]
        wanted = keypoint_targets(torch.cat(truth), torch.cat(boxes), logits.shape[-1])
        return {"keypoint": keypoint_loss(logits, *wanted)}

    def extend(
        self, maps: Mapping[str, Tensor], found: list[dict[str, Tensor]], size: tuple[int, int]
    ) -> list[dict[str, Tensor]]:
        """The detections with ``keypoints`` (N, K, 3) and ``keypoint_scores`` (N, K)."""
        boxes = [one["boxes"] for one in found]
        heatmaps = full_precision(self.head(self.pool(maps, boxes, size)))
        points, scores = decode_heatmaps(heatmaps, torch.cat(boxes))
        parts = zip(found, split_like(points, boxes), split_like(scores, boxes), strict=True)
        return [{**one, "keypoints": p, "keypoint_scores": s} for one, p, s in parts]


def keypoint_targets(keypoints: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The one place of each box's map that a keypoint lies in.

    Args:
        keypoints: (P, K, 3): x, y, px, and visibility, 0 = not labelled.
        boxes: (P, 4), px.
        size: places to a side.

    Returns:
        int64 (P, K), row · size + column, and bool (P, K): whether it is labelled and lies in the box;
        one upon the right or lower border belongs to the last place.
    """
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    at = ((keypoints[..., :2] - low) * (size / (high - low))).floor().long()
    at = torch.where(keypoints[..., :2] == high, size - 1, at)
    valid = ((at >= 0) & (at < size)).all(2) & (keypoints[..., 2] > 0)
    return (at[..., 1] * size + at[..., 0]) * valid, valid


def keypoint_loss(logits: Tensor, places: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy over all places of a map, of which one is right; mean over the valid keypoints.

    A softmax over the places makes them compete: a keypoint is in one place. (For masks, by contrast,
    nothing competes.)

    Args:
        logits: (P, K, m, m).
        places, valid: as :func:`keypoint_targets` gives them.
    """
    if not bool(valid.any()):
        return logits.sum() * 0
    return F.cross_entropy(logits.flatten(2)[valid], places[valid])


def decode_heatmaps(heatmaps: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The best place of each keypoint, in pixels: each map is scaled to its box, then its maximum taken.

    As torchvision does it: bicubic interpolation to a whole number of pixels, rounded up; the middle of
    the best pixel. Boxes differ in size, so this is a loop over detections; a model gives at most a
    hundred a picture.

    Args:
        heatmaps: logits (N, K, m, m).
        boxes: (N, 4), px.

    Returns:
        (N, K, 3): x, y and 1, as COCO writes points that are seen; and (N, K), the logits at these places.
    """
    keypoints = heatmaps.shape[1]
    points = heatmaps.new_ones((len(boxes), keypoints, 3))
    scores = heatmaps.new_zeros((len(boxes), keypoints))
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    cells = sides.ceil().long()
    for n, (width, height) in enumerate(cells.tolist()):
        scaled = F.interpolate(heatmaps[n][:, None], (height, width), mode="bicubic")
        scores[n], best = scaled.flatten(1).max(1)
        middle = torch.stack([best % width, best // width], 1) + 0.5
        points[n, :, :2] = middle * (sides[n] / cells[n]) + boxes[n, :2]
    return points, scores
