"""U-Net (Ronneberger, Fischer, Brox, 2015)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Padding = Literal["same", "valid"]
Skips = Literal["concatenate", "sum", "none"]


class DoubleConvolution(nn.Module):
    """Two 3 x 3 convolutions, each followed by batch normalisation (optional) and a ReLU.

    The paper has no normalisation, which was a few months old. ``normalize=False`` gives its block.
    """

    def __init__(self, in_channels: int, out_channels: int, padding: Padding, normalize: bool):
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (in_channels, out_channels):
            pad = 1 if padding == "same" else 0
            layers.append(nn.Conv2d(channels, out_channels, 3, padding=pad, bias=not normalize))
            if normalize:
                layers.append(nn.BatchNorm2d(out_channels))
            layers.append(nn.ReLU(inplace=True))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class UpBlock(nn.Module):
    """Doubles height and width, halves the channels, joins the skip, convolves twice."""

    def __init__(
        self, in_channels: int, out_channels: int, padding: Padding, normalize: bool, skips: Skips
    ):
        super().__init__()
        self.skips = skips
        self.up = nn.ConvTranspose2d(in_channels, out_channels, 2, stride=2)
        joined = 2 * out_channels if skips == "concatenate" else out_channels
        self.convolve = DoubleConvolution(joined, out_channels, padding, normalize)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = self.up(x)  # (B, out, 2h, 2w)
        skip = centre_crop(skip, x.shape[-2], x.shape[-1])
        if self.skips == "concatenate":
            x = torch.cat([skip, x], dim=1)
        elif self.skips == "sum":
            x = x + skip
        return self.convolve(x)


def centre_crop(x: Tensor, height: int, width: int) -> Tensor:
    """The middle (B, C, height, width) of x: "copy and crop" of the paper's figure 1."""
    top, left = (x.shape[-2] - height) // 2, (x.shape[-1] - width) // 2
    return x[..., top : top + height, left : left + width]


class UNetTrunk(nn.Module):
    """U-Net up to its last feature map, for networks that put their own heads on it.

    Args:
        in_channels: channels of the image.
        base_channels: channels of the first level; each level down doubles them (paper: 64).
        depth: number of times the map is halved (paper: 4).
        padding: ``"same"`` keeps height and width; ``"valid"`` is the paper's, which loses a border.
        skips: how a level's features join on the way up; the paper concatenates.
        normalize: batch normalisation after each convolution.

    Shapes: (B, in_channels, H, W) → (B, base_channels, H', W'). With ``"same"``, any H and W:
    the picture is extended on the right and below to a multiple of 2^depth (mirrored where it is
    large enough, else by repeating its border) and cut back.

    Raises:
        ValueError: for an unknown option, or a picture too small for ``"valid"``.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        base_channels: int = 64,
        depth: int = 4,
        padding: Padding = "same",
        skips: Skips = "concatenate",
        normalize: bool = True,
    ) -> None:
        super().__init__()
        for name, value in [
            ("in_channels", in_channels),
            ("base_channels", base_channels),
            ("depth", depth),
        ]:
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if padding not in ("same", "valid"):
            raise ValueError(f'padding is {padding!r}; it must be "same" or "valid"')
        if skips not in ("concatenate", "sum", "none"):
            raise ValueError(f'skips is {skips!r}; it must be "concatenate", "sum" or "none"')
        self.depth = depth
        self.padding = padding
        self.out_channels = base_channels
        channels = [base_channels * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            DoubleConvolution(a, b, padding, normalize)
            for a, b in zip([in_channels, *channels], channels, strict=False)
        )
        self.up = nn.ModuleList(
            UpBlock(channels[level + 1], channels[level], padding, normalize, skips)
            for level in reversed(range(depth))
        )

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        if self.padding == "same":
            image = pad_to_multiple(image, 2**self.depth)
        else:
            self._check_valid_size(height, width)
        levels = [self.down[0](image)]
        for convolve in self.down[1:]:
            levels.append(convolve(F.max_pool2d(levels[-1], 2)))
        x = levels.pop()
        for join in self.up:
            x = join(x, levels.pop())
        return x[..., :height, :width] if self.padding == "same" else x

    def _check_valid_size(self, height: int, width: int) -> None:
        """Every max-pooling needs an even map, and the lowest level must keep a pixel."""
        for name, size in [("height", height), ("width", width)]:
            rest = size
            for _ in range(self.depth):
                rest -= 4
                if rest < 2 or rest % 2:
                    raise ValueError(
                        f'the image\'s {name} is {size}; with padding="valid" and depth {self.depth} '
                        f"each of the {self.depth} halvings must meet an even size of at least 2 "
                        f"(572 is the paper's)"
                    )
                rest //= 2
            if rest < 5:
                raise ValueError(f"the image's {name} is {size}; nothing is left at the bottom")


def pad_to_multiple(image: Tensor, multiple: int) -> Tensor:
    """Extends (B, C, H, W) on the right and below until H and W are multiples of ``multiple``."""
    bottom, right = -image.shape[-2] % multiple, -image.shape[-1] % multiple
    if not bottom and not right:
        return image
    mirrored = bottom < image.shape[-2] and right < image.shape[-1]
    return F.pad(image, (0, right, 0, bottom), mode="reflect" if mirrored else "replicate")


class UNet(nn.Module):
    """U-Net with a 1 x 1 convolution to ``out_channels`` scores per pixel.

    Args as :class:`UNetTrunk`. Shapes: (B, in_channels, H, W) → (B, out_channels, H', W'); H' = H
    and W' = W with ``padding="same"``, 572 → 388 with ``"valid"`` as in the paper's figure 1. The
    output is ``{"semantic": scores}``.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        base_channels: int = 64,
        depth: int = 4,
        padding: Padding = "same",
        skips: Skips = "concatenate",
        normalize: bool = True,
    ) -> None:
        super().__init__()
        self.trunk = UNetTrunk(
            in_channels,
            base_channels=base_channels,
            depth=depth,
            padding=padding,
            skips=skips,
            normalize=normalize,
        )
        self.head = nn.Conv2d(base_channels, out_channels, 1)

    @property
    def margin(self) -> int:
        """How far a pixel's score may depend on others, px: see :func:`~lessons_lib.semantic.tiles`.

        A block of 2^depth pixels on the pooling's grid depends on 6 * 2^depth - 2 pixels beside it (two
        convolutions of 3 x 3 a level, and the cells of the coarser levels); rounded up to a multiple
        of 2^depth, so that tiles stay on the grid. Unpadded convolutions lose 6 * 2^depth - 4 on each
        side (92 at the paper's depth of 4): their grid begins two pixels further in.
        """
        return 6 * 2**self.trunk.depth

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"semantic": self.head(self.trunk(image))}
