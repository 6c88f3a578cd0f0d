"""From a box to another: what a box regressor learns to say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

LARGEST_LOG_SCALE = math.log(1000 / 16)


@dataclass(frozen=True)
class BoxCoder:
    """Moves and scales of a box, relative to its size (Girshick et al., CVPR 2014, appendix C).

    t = (wx (x - xa) / wa, wy (y - ya) / ha, ww log(w / wa), wh log(h / ha)) with centres x, y and
    sizes w, h of the wanted box and xa, ya, wa, ha of the box at hand. A shift is a share of the
    size, a scale is a logarithm, so that a network may say the same for small and large things.

    Attributes:
        weights: wx, wy, ww, wh; 10, 10, 5, 5 bring the targets of a second stage to a spread of
            about one, where the paper divides by their standard deviation. A region proposal
            network uses 1, 1, 1, 1.
    """

    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)

    def encode(self, truth: Tensor, boxes: Tensor) -> Tensor:
        """What leads from ``boxes`` (N, 4) to ``truth`` (N, 4), both of positive size: (N, 4)."""
        size, centre = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
        true_size, true_centre = truth[:, 2:] - truth[:, :2], (truth[:, 2:] + truth[:, :2]) / 2
        shift = (true_centre - centre) / size
        scale = (true_size / size).log()
        return torch.cat([shift, scale], 1) * shift.new_tensor(self.weights)

    def decode(self, deltas: Tensor, boxes: Tensor) -> Tensor:
        """Where ``deltas`` (N, 4 K), K of them a box, lead from ``boxes`` (N, 4): (N, K, 4).

        Scales are kept below 1000 / 16, as torchvision keeps them: exp must not overflow.
        """
        boxes = boxes.to(deltas.dtype)
        size, corner = boxes[:, None, 2:] - boxes[:, None, :2], boxes[:, None, :2]
        # the number of moves is written out, for 0 boxes leave it open
        moves = deltas.reshape(len(boxes), deltas.shape[1] // 4, 4) / deltas.new_tensor(
            self.weights
        )
        centre = moves[..., :2] * size + (corner + 0.5 * size)
        half = 0.5 * moves[..., 2:].clamp(max=LARGEST_LOG_SCALE).exp() * size
        return torch.cat([centre - half, centre + half], 2)


def split_like(values: Tensor, parts: Sequence[Tensor]) -> list[Tensor]:
    """Rows of ``values`` (sum of N, ...) as a list, as many each as the ``parts`` have."""
    return list(values.split([len(part) for part in parts]))
