"""The convolutions of the YOLO papers: 24 layers for v1, Darknet-19 for v2, Darknet-53 for v3."""

from __future__ import annotations

from torch import Tensor, nn

SLOPE = 0.1
"""What a leaky unit multiplies negative numbers with (Redmon et al., CVPR 2016, eq. 2)."""


class ConvBlock(nn.Sequential):
    """A convolution that keeps the size (or halves it), batch normalisation, a leaky unit.

    Args:
        in_channels, out_channels: of the convolution.
        kernel: its side, 1 or 3 in all but one layer of the papers.
        stride: 1, or 2 to halve height and width.
        normalize: batch normalisation in place of the bias, as from v2 on.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        normalize: bool = True,
    ) -> None:
        super().__init__(
            nn.Conv2d(
                in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=not normalize
            ),
            nn.BatchNorm2d(out_channels) if normalize else nn.Identity(),
            nn.LeakyReLU(SLOPE),
        )


Layer = tuple[int, int] | tuple[int, int, int] | None
"""Channels, kernel and, if not 1, stride of a convolution; ``None`` is 2 x 2 max pooling."""


def stack(layers: list[Layer], in_channels: int, *, normalize: bool = True) -> nn.Sequential:
    """Convolutions and poolings, one after another."""
    modules: list[nn.Module] = []
    for layer in layers:
        if layer is None:
            modules.append(nn.MaxPool2d(2))
        else:
            modules.append(ConvBlock(in_channels, *layer, normalize=normalize))
            in_channels = layer[0]
    return nn.Sequential(*modules)


class YOLOv1Convolutions(nn.Module):
    """The 24 convolutions of YOLO (Redmon et al., CVPR 2016, figure 3); no batch normalisation.

    Shapes: (B, 3, H, W) → ``c6`` (B, 1024, H / 64, W / 64); 448 px become 7 x 7 cells.
    """

    out_channels = {"c6": 1024}  # noqa: RUF012
    strides = {"c6": 64}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        # fmt: off
        layers: list[Layer] = [
            (64, 7, 2), None,
            (192, 3), None,
            (128, 1), (256, 3), (256, 1), (512, 3), None,
            *([(256, 1), (512, 3)] * 4), (512, 1), (1024, 3), None,
            *([(512, 1), (1024, 3)] * 2), (1024, 3), (1024, 3, 2),
            (1024, 3), (1024, 3),
        ]
        # fmt: on
        self.layers = stack(layers, 3, normalize=False)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"c6": self.layers(image)}


class Darknet19(nn.Module):
    """Darknet-19 without its classifier: 18 convolutions (Redmon and Farhadi, CVPR 2017, table 6).

    Shapes: (B, 3, H, W) → ``c4`` (B, 512, H / 16, W / 16) and ``c5`` (B, 1024, H / 32, W / 32).
    """

    out_channels = {"c4": 512, "c5": 1024}  # noqa: RUF012
    strides = {"c4": 16, "c5": 32}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        # fmt: off
        layers: list[Layer] = [
            (32, 3), None,
            (64, 3), None,
            (128, 3), (64, 1), (128, 3), None,
            (256, 3), (128, 1), (256, 3), None,
            (512, 3), (256, 1), (512, 3), (256, 1), (512, 3),
        ]
        # fmt: on
        self.fine = stack(layers, 3)
        self.coarse = stack([None, (1024, 3), (512, 1), (1024, 3), (512, 1), (1024, 3)], 512)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        fine = self.fine(image)
        return {"c4": fine, "c5": self.coarse(fine)}


class DarknetBlock(nn.Module):
    """Half the channels by 1 x 1, back by 3 x 3, and what came in is added."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = stack([(channels // 2, 1), (channels, 3)], channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Darknet53(nn.Module):
    """Darknet-53 without its classifier: 52 convolutions (Redmon and Farhadi, 2018, table 1).

    Shapes: (B, 3, H, W) → ``c3``, ``c4``, ``c5`` with 256, 512, 1024 channels and strides 8, 16, 32.
    """

    out_channels = {"c3": 256, "c4": 512, "c5": 1024}  # noqa: RUF012
    strides = {"c3": 8, "c4": 16, "c5": 32}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBlock(3, 32, 3)
        self.stages = nn.ModuleList()
        channels = 32
        for blocks in (1, 2, 8, 8, 4):
            down = ConvBlock(channels, 2 * channels, 3, 2)
            channels *= 2
            self.stages.append(
                nn.Sequential(down, *(DarknetBlock(channels) for _ in range(blocks)))
            )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.stem(image)
        maps = {}
        for number, stage in enumerate(self.stages, start=1):
            maps[f"c{number}"] = x = stage(x)
        return {name: maps[name] for name in self.out_channels}
