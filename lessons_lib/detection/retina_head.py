"""RetinaNet's two subnets: a score for each class and four moves at every anchor (Lin et al., ICCV 2017)."""

from __future__ import annotations

import math

from torch import Tensor, nn

from .boxes import full_precision


class SubNet(nn.Module):
    """Four 3 × 3 convolutions and one that answers, the same for all levels (section 4).

    Args:
        channels: of the maps.
        outputs: channels of the answer: for every anchor of a cell its own, one anchor after another.
        answer: name of the last convolution.
        prior: what the sigmoid of a fresh answer shall be; ``None`` starts at 0 without a sigmoid.
        spread: standard deviation of fresh weights; ``None`` suits them to the channels (He et al.,
            2015), for with few channels 0.01 leaves nothing of a signal after four layers.

    Shapes: (B, channels, h, w) → (B, outputs, h, w).
    """

    def __init__(
        self,
        channels: int,
        outputs: int,
        answer: str,
        *,
        prior: float | None = None,
        spread: float | None = 0.01,
    ) -> None:
        super().__init__()
        inner = math.sqrt(2 / (9 * channels)) if spread is None else spread
        layers: list[nn.Module] = []
        for _ in range(4):
            layers += [convolution(channels, channels, inner), nn.ReLU(inplace=True)]
        self.conv, self.answer = nn.Sequential(*layers), answer
        last = convolution(channels, outputs, 0.01)
        if prior is not None and last.bias is not None:
            nn.init.constant_(last.bias, -math.log((1 - prior) / prior))
        self.add_module(answer, last)

    def forward(self, features: Tensor) -> Tensor:
        return getattr(self, self.answer)(self.conv(features))


def convolution(in_channels: int, out_channels: int, spread: float) -> nn.Conv2d:
    """3 × 3, its fresh weights with this standard deviation and its bias 0."""
    layer = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    nn.init.normal_(layer.weight, std=spread)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class RetinaHead(nn.Module):
    """What every anchor of a cell says: a logit for each class, and four moves.

    Args:
        channels: of the maps.
        anchors: in a cell.
        num_classes: with the background.
        prior: score of every class that a fresh network gives to every anchor, pi of section 4.1:
            with 0.01 the many easy anchors do not drown the first steps.
        spread: see :class:`SubNet`.
    """

    def __init__(
        self,
        channels: int,
        anchors: int,
        num_classes: int,
        *,
        prior: float = 0.01,
        spread: float | None = 0.01,
    ) -> None:
        super().__init__()
        if not 0 < prior < 1:
            raise ValueError(f"prior is {prior}; it must be between 0 and 1")
        self.num_classes = num_classes
        self.classification_head = SubNet(
            channels, anchors * num_classes, "cls_logits", prior=prior, spread=spread
        )
        self.regression_head = SubNet(channels, anchors * 4, "bbox_reg", spread=spread)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, anchors, num_classes) and moves (B, anchors, 4) of a level, cells row by row."""
        logits = by_anchor(self.classification_head(features), self.num_classes)
        return logits, by_anchor(self.regression_head(features), 4)


def by_anchor(answer: Tensor, values: int) -> Tensor:
    """(B, anchors of a cell · values, h, w) → (B, h · w · anchors of a cell, values), in full precision."""
    return full_precision(answer.permute(0, 2, 3, 1).reshape(len(answer), -1, values))
