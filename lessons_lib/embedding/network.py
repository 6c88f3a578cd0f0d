"""A U-Net with two heads: a class for each pixel, and a vector for each pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lessons_lib.semantic import UNetTrunk  # the one place where Part IV borrows from Part II


class EmbeddingUNet(nn.Module):
    """Predicts foreground scores and pixel embeddings side by side.

    A convolution does the same wherever it looks, so that two equal sticks in equal surroundings get
    equal vectors. Two extra input channels with the pixel's coordinates (Liu et al., 2018, CoordConv) let
    the network tell them apart.

    Args:
        in_channels: channels of the image.
        embedding_dim: D, length of a pixel's vector.
        classes: number of semantic classes, the background included.
        base_channels, depth, normalize: of the :class:`~lessons_lib.semantic.UNetTrunk`.
        coordinate_extent: pixels over which a coordinate channel rises from -1 to 1; the size of the
            training pictures. Past that it falls back to -1 and rises again (a triangle wave), so
            that larger pictures show the network no coordinate it was not trained on. 0 = no
            coordinate channels.

    ``forward(image (B, C, H, W))`` → ``{"semantic": (B, classes, H, W) scores, "embedding":
    (B, D, H, W)}``, for any H and W.

    Raises:
        ValueError: for sizes below 1.
    """

    def __init__(
        self,
        in_channels: int = 1,
        embedding_dim: int = 16,
        classes: int = 2,
        *,
        base_channels: int = 16,
        depth: int = 4,
        coordinate_extent: int = 256,
        normalize: bool = True,
    ) -> None:
        super().__init__()
        for name, value in [("embedding_dim", embedding_dim), ("classes", classes)]:
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if coordinate_extent != 0 and coordinate_extent < 2:
            raise ValueError(
                f"coordinate_extent is {coordinate_extent}; it must be 0 (none) or at least 2"
            )
        self.coordinate_extent = coordinate_extent
        extra = 2 if coordinate_extent else 0
        self.trunk = UNetTrunk(
            in_channels + extra, base_channels=base_channels, depth=depth, normalize=normalize
        )
        self.semantic_head = nn.Conv2d(base_channels, classes, 1)
        self.embedding_head = nn.Conv2d(base_channels, embedding_dim, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        if self.coordinate_extent:
            image = torch.cat([image, coordinates(image, self.coordinate_extent)], dim=1)
        features = self.trunk(image)
        return {
            "semantic": self.semantic_head(features),
            "embedding": self.embedding_head(features),
        }


def coordinates(image: Tensor, extent: int) -> Tensor:
    """Channels x and y for (B, C, H, W): triangle waves from -1 to 1, up over ``extent`` pixels."""
    batch, _, height, width = image.shape

    def ramp(size: int) -> Tensor:
        period = 2 * (extent - 1)
        position = torch.arange(size, device=image.device, dtype=torch.float32) % period
        return (1 - 2 * (position / (extent - 1) - 1).abs()).to(image.dtype)

    # at position 0 the wave is at -1, at extent - 1 it is at 1
    x = ramp(width).expand(batch, 1, height, width)
    y = ramp(height)[:, None].expand(batch, 1, height, width)
    return torch.cat([x, y], dim=1)
