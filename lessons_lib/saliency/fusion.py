"""Colours and depth brought together: before, after, or inside a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .dense_aspp import DILATIONS
from .saliency_net import Encoder, SaliencyNet, SideBySide, enlarge, normalized_convolution

FUSIONS = ("image", "early", "late", "cross")


class RGBDNet(nn.Module):
    """A deterministic network for salient objects, with one of three kinds of fusion.

    * ``"early"``: depth is a fourth channel of the image (DMRA's survey calls it input fusion; UC-Net does it).
    * ``"late"``: one network for colours, one for depth, each with a map of its own; the two logits are weighed by a
      1 x 1 convolution (result fusion).
    * ``"cross"``: one encoder each; at every stage the two are concatenated and mixed, and one decoder reads the
      mixtures (feature fusion, cross-level).
    * ``"image"``: no depth at all, to compare with.

    Args:
        fusion: one of the four.
        backbone, channels, dilations, dropout: of :class:`~lessons_lib.saliency.SaliencyNet`.

    ``forward(image (B, 3, H, W), depth (B, 1, H, W))`` → logits (B, 1, H, W); depth is relative, 1 = nearest, 0 = not
    measured.

    Raises:
        ValueError: for another fusion.
    """

    def __init__(
        self,
        fusion: str = "early",
        *,
        backbone: str = "vgg16",
        channels: int = 32,
        dilations: Sequence[int] = DILATIONS,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if fusion not in FUSIONS:
            raise ValueError(f"fusion is {fusion!r}; it must be one of {', '.join(FUSIONS)}")
        self.fusion = fusion

        def network(in_channels: int) -> SaliencyNet:
            return SaliencyNet(
                in_channels,
                backbone=backbone,
                channels=channels,
                dilations=dilations,
                dropout=dropout,
            )

        if fusion in ("image", "early"):
            self.network = network(3 if fusion == "image" else 4)
        elif fusion == "late":
            self.of_image, self.of_depth = network(3), network(1)
            self.weigh = nn.Conv2d(2, 1, 1)
        else:
            self.image_encoder, self.depth_encoder = Encoder(backbone, 3), Encoder(backbone, 1)
            widths = self.image_encoder.channels
            self.mixers = nn.ModuleList(
                normalized_convolution(2 * width, width, 1) for width in widths
            )
            self.decoder = SideBySide(widths, channels, dilations, dropout)
            self.head = nn.Conv2d(channels, 1, 1)

    def forward(self, image: Tensor, depth: Tensor) -> Tensor:
        if self.fusion == "image":
            return self.network(image)
        if self.fusion == "early":
            return self.network(torch.cat([image, depth], 1))
        if self.fusion == "late":
            return self.weigh(torch.cat([self.of_image(image), self.of_depth(depth)], 1))
        pairs = zip(self.image_encoder(image), self.depth_encoder(depth), strict=True)
        mixed = [mix(torch.cat(pair, 1)) for mix, pair in zip(self.mixers, pairs, strict=True)]
        return enlarge(self.head(self.decoder(mixed)), image.shape[-2:])
