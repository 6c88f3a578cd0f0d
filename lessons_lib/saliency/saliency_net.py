"""SaliencyNet: features of a picture and its depth, at the resolution of the first stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.backbones import VGG16, ResNet, SmallResNet

from .attention import ResidualChannelAttention
from .dense_aspp import DILATIONS, DenseASPP
from .latent_nets import Variant, check_variant

BACKBONES = ("small", "vgg16", "resnet50")


class Encoder(nn.Module):
    """A backbone for any number of input channels, as a list of maps, finest first.

    VGG16 and ResNet-50 take torchvision's weights, which are made for three channels: a 3 x 3 convolution before them
    goes from ``in_channels`` to 3, as in UC-Net's released code. The small one takes all channels as they are.

    Args:
        name: ``"small"``, ``"vgg16"`` or ``"resnet50"``.
        in_channels: of the input.

    ``forward(x (B, in_channels, H, W))`` → list of maps; ``channels`` says how many each has.

    Raises:
        ValueError: for another name.
    """

    def __init__(self, name: str, in_channels: int) -> None:
        super().__init__()
        if name not in BACKBONES:
            raise ValueError(f"backbone is {name!r}; it must be one of {', '.join(BACKBONES)}")
        self.name = name
        self.adapt: nn.Module = nn.Identity()
        self.backbone: nn.Module
        if name == "small":
            self.backbone = SmallResNet(in_channels, (16, 24, 32, 48), output_stride=16)
        else:
            self.adapt = nn.Conv2d(in_channels, 3, 3, padding=1)
            self.backbone = VGG16() if name == "vgg16" else ResNet("resnet50")
        widths: Mapping[str, int] = self.backbone.out_channels
        strides: Mapping[str, int] = self.backbone.strides
        self.channels, self.strides = tuple(widths.values()), tuple(strides.values())

    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Takes the weights of torchvision's classifier of the same name, its last layers aside.

        Args:
            state: as :func:`~lessons_lib.backbones.imagenet_weights` gives it.

        Raises:
            ValueError: for the small backbone, which torchvision does not have.
            RuntimeError: for weights of another network.
        """
        if self.name == "small":
            raise ValueError('backbone is "small"; ImageNet weights exist for vgg16 and resnet50')
        own = {k: v for k, v in state.items() if not k.startswith(("classifier.", "fc."))}
        self.backbone.load_state_dict(own)

    def forward(self, x: Tensor) -> list[Tensor]:
        return list(self.backbone(self.adapt(x)).values())


def normalized_convolution(in_channels: int, out_channels: int, kernel_size: int) -> nn.Sequential:
    """Convolution that keeps the size, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def enlarge(maps: Tensor, size: Sequence[int] | torch.Size) -> Tensor:
    """Bilinear, to the height and width of ``size``."""
    return F.interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


class SideBySide(nn.Module):
    """The paper's decoder: every stage through its DenseASPP, enlarged, concatenated, mixed.

    Args:
        widths: channels of the stages, finest first.
        channels: M, of each DenseASPP and of the output.
        dilations, dropout: of :class:`DenseASPP`.

    ``forward(list of maps)`` → (B, M, h, w), h and w those of the first map.
    """

    def __init__(
        self, widths: Sequence[int], channels: int, dilations: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            DenseASPP(width, channels, dilations, dropout) for width in widths
        )
        self.mix = nn.Sequential(
            normalized_convolution(len(widths) * channels, channels, 3), nn.Dropout2d(dropout)
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        size = maps[0].shape[-2:]
        parts = [enlarge(stage(x), size) for stage, x in zip(self.stages, maps, strict=True)]
        return self.mix(torch.cat(parts, 1))


class TopDown(nn.Module):
    """The released code's decoder: from the coarsest stage to the finest, with channel attention at each step.

    Stages are reduced to M channels by three convolutions and pass a DenseASPP. Then, coarsest first: enlarge what is
    there already, concatenate the next finer stage, weigh the channels, and reduce. In the released code everything
    that came before is concatenated again at each step; here only the result of the last step is. Nor do the released
    code's convolutions apply a ReLU after their batch normalisation (it is built and never called); ours do. And the
    released DenseASPP normalises and applies ReLU before each convolution; ours after.

    Arguments and shapes as in :class:`SideBySide`.
    """

    def __init__(
        self, widths: Sequence[int], channels: int, dilations: Sequence[int], dropout: float
    ) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                normalized_convolution(width, channels, 1),
                normalized_convolution(channels, channels, 3),
                normalized_convolution(channels, channels, 3),
                DenseASPP(channels, channels, dilations, dropout),
            )
            for width in widths
        )
        self.steps = nn.ModuleList(
            nn.Sequential(
                ResidualChannelAttention(2 * channels),
                normalized_convolution(2 * channels, channels, 1),
                normalized_convolution(channels, channels, 3),
                nn.Dropout2d(dropout),
            )
            for _ in widths[1:]
        )

    def forward(self, maps: list[Tensor]) -> Tensor:
        finer = [stage(x) for stage, x in zip(self.stages, maps, strict=True)]
        result = finer.pop()
        for step in self.steps:
            beside = finer.pop()
            result = step(torch.cat([beside, enlarge(result, beside.shape[-2:])], 1))
        return result


class SaliencyNet(nn.Module):
    """An encoder and one of the two decoders; and a saliency map where no latent variable follows.

    Args:
        in_channels: 4 for colours and depth; more where a latent vector comes in with them.
        variant: ``"paper"`` (:class:`SideBySide`) or ``"released"`` (:class:`TopDown`).
        backbone: of :class:`Encoder`.
        channels: M, 32 in both.
        dilations, dropout: of :class:`DenseASPP`.
        head: whether there is a last layer; UC-Net's prediction network takes its place.

    ``features(x (B, in_channels, H, W))`` → (B, M, h, w); ``forward(x)`` → logits (B, 1, H, W).

    Raises:
        ValueError: for an unknown variant or backbone.
    """

    def __init__(
        self,
        in_channels: int = 4,
        variant: Variant = "paper",
        *,
        backbone: str = "vgg16",
        channels: int = 32,
        dilations: Sequence[int] = DILATIONS,
        dropout: float = 0.0,
        head: bool = True,
    ) -> None:
        super().__init__()
        check_variant(variant)
        self.encoder = Encoder(backbone, in_channels)
        decoder = SideBySide if variant == "paper" else TopDown
        self.decoder = decoder(self.encoder.channels, channels, dilations, dropout)
        self.head = nn.Conv2d(channels, 1, 1) if head else nn.Identity()

    def features(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))

    def forward(self, x: Tensor) -> Tensor:
        return enlarge(self.head(self.features(x)), x.shape[-2:])
