"""Networks made for classification, as named stages that the systems of the book build on.

Each is a module from an image (B, C, H, W) to a dict of feature maps, ``out_channels`` says how many
channels each map has and ``strides`` how far its cells are apart, px. The large ones are
torchvision's, with its parameter names, so that its weights load; the small ones are for scenes that
two processor cores can train on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

VGG_POOLS = {"pool1": 4, "pool2": 9, "pool3": 16, "pool4": 23, "pool5": 30}
"""Where torchvision's ``vgg16().features`` has its five max-poolings."""


class VGG16(nn.Module):
    """VGG16's thirteen convolutions, without its classifier (Simonyan and Zisserman, 2015, column D).

    The parameters are those of ``torchvision.models.vgg16().features``, by the same names.

    Args:
        padding: of the first convolution; FCN pads by 100 so that no part of a picture is lost.
        ceil_mode: whether pooling keeps a last odd row and column, as Caffe did; torchvision drops it.

    Shapes: (B, 3, H, W) → ``pool1`` (B, 64, …) to ``pool5`` (B, 512, …), strides 2 to 32.
    """

    strides: Mapping[str, int] = {name: 2**k for k, name in enumerate(VGG_POOLS, 1)}
    out_channels: Mapping[str, int] = dict(zip(VGG_POOLS, (64, 128, 256, 512, 512), strict=True))

    def __init__(self, *, padding: int = 1, ceil_mode: bool = True) -> None:
        super().__init__()
        if padding < 0:
            raise ValueError(f"padding is {padding}; it must be at least 0")
        self.features = torchvision.models.vgg16(weights=None).features
        self.features[0].padding = (padding, padding)
        for index in VGG_POOLS.values():
            self.features[index].ceil_mode = ceil_mode

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        maps, x, start = {}, image, 0
        for name, index in VGG_POOLS.items():
            maps[name] = x = self.features[start : index + 1](x)
            start = index + 1
        return maps


class SmallVGG(nn.Module):
    """VGG16's plan at a fiftieth of its size: one or two convolutions before each of five poolings.

    Batch normalisation, which VGG16 does not have, lets it learn from nothing in minutes.

    Args:
        in_channels: channels of the image.
        channels: of the five stages.

    Shapes: (B, in_channels, H, W) → ``pool1`` to ``pool5``, strides 2 to 32, sizes rounded up.
    """

    strides = VGG16.strides

    def __init__(
        self, in_channels: int = 3, channels: tuple[int, ...] = (16, 32, 64, 96, 128)
    ) -> None:
        super().__init__()
        if len(channels) != len(VGG_POOLS):
            raise ValueError(f"channels is {channels}; it must have {len(VGG_POOLS)} numbers")
        self.out_channels = dict(zip(VGG_POOLS, channels, strict=True))
        before = (in_channels, *channels)
        self.stages = nn.ModuleList(
            nn.Sequential(*_convolution(a, b), *_convolution(b, b), nn.MaxPool2d(2, ceil_mode=True))
            for a, b in zip(before, channels, strict=False)
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        maps, x = {}, image
        for name, stage in zip(VGG_POOLS, self.stages, strict=True):
            maps[name] = x = stage(x)
        return maps


def _convolution(in_channels: int, out_channels: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)


RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


class ResNet(nn.Module):
    """A residual network without its classifier (He, Zhang, Ren, Sun, 2016), dilated if asked.

    The parameters are those of torchvision's ResNets, by the same names. With ``output_stride`` 16
    or 8 the last one or two stages keep their resolution and dilate their convolutions instead of
    striding, so that every output sees as much as before (Yu and Koltun, 2016).

    Args:
        name: one of ``resnet18``, ``34``, ``50``, ``101``, ``152``.
        output_stride: 32, 16 or 8; below 32 from ``resnet50`` on, as in torchvision.
        frozen_norm: batch normalisation with fixed statistics and scale, as detectors fine-tune it.

    Shapes: (B, 3, H, W) → ``c2`` (stride 4) to ``c5`` (stride ``output_stride``).

    Raises:
        ValueError: for another name or stride.
    """

    def __init__(
        self, name: str = "resnet50", *, output_stride: int = 32, frozen_norm: bool = False
    ) -> None:
        super().__init__()
        if name not in RESNETS:
            raise ValueError(f"name is {name!r}; it must be one of {', '.join(RESNETS)}")
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride is {output_stride}; it must be 8, 16 or 32")
        if output_stride < 32 and name in ("resnet18", "resnet34"):
            raise ValueError(f"output_stride is {output_stride}; {name} only has 32")
        options: dict[str, Any] = {}
        if frozen_norm:
            options["norm_layer"] = torchvision.ops.FrozenBatchNorm2d
        if output_stride < 32:
            options["replace_stride_with_dilation"] = [False, output_stride == 8, True]
        net = torchvision.models.get_model(name, weights=None, **options)
        self.conv1, self.bn1, self.relu, self.maxpool = net.conv1, net.bn1, net.relu, net.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            net.layer1,
            net.layer2,
            net.layer3,
            net.layer4,
        )
        width = net.fc.in_features
        self.out_channels = {f"c{k}": width // 2 ** (5 - k) for k in (2, 3, 4, 5)}
        self.strides = {
            "c2": 4,
            "c3": 8,
            "c4": min(16, output_stride),
            "c5": output_stride,
        }

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        x = self.maxpool(self.relu(self.bn1(self.conv1(image))))
        maps = {}
        for name, layer in [
            ("c2", self.layer1),
            ("c3", self.layer2),
            ("c4", self.layer3),
            ("c5", self.layer4),
        ]:
            maps[name] = x = layer(x)
        return maps


class SmallResNet(nn.Module):
    """A residual network of four blocks; the last one strides, or is dilated by 2.

    With ``output_stride`` 8 its receptive field is 95 px: a cell knows the picture within 47 px and no
    further.

    Args:
        in_channels: channels of the image.
        channels: of the four blocks.
        output_stride: 8, for a prediction at every cell, or 16, for pyramids.

    Shapes: (B, in_channels, H, W) → ``c2`` (stride 2), ``c3`` (stride 4), ``c4`` (stride 8) and
    ``c5`` (stride ``output_stride``).

    Raises:
        ValueError: for another stride.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: tuple[int, int, int, int] = (16, 32, 48, 64),
        *,
        output_stride: int = 8,
    ) -> None:
        super().__init__()
        if output_stride not in (8, 16):
            raise ValueError(f"output_stride is {output_stride}; it must be 8 or 16")
        self.strides = {"c2": 2, "c3": 4, "c4": 8, "c5": output_stride}
        self.out_channels = dict(zip(self.strides, channels, strict=True))
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, channels[0], 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels[0]),
            nn.ReLU(inplace=True),
        )
        before = (channels[0], *channels)
        last = (1, 2) if output_stride == 8 else (2, 1)
        self.blocks = nn.ModuleList(
            ResidualBlock(before[k], channels[k], stride, dilation)
            for k, (stride, dilation) in enumerate([(1, 1), (2, 1), (2, 1), last])
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        maps, x = {}, self.stem(image)
        for name, block in zip(self.strides, self.blocks, strict=True):
            maps[name] = x = block(x)
        return maps


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut: ResNet's basic block.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        stride: of the first convolution.
        dilation: of the second; torchvision's stages begin undilated in the same way.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, dilation: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(
                out_channels, out_channels, 3, padding=dilation, dilation=dilation, bias=False
            ),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.residual(x) + self.shortcut(x))


def imagenet_weights(name: str) -> dict[str, Tensor]:
    """torchvision's ImageNet weights of ``vgg16`` or a ResNet, from its cache or downloaded.

    Raises:
        ValueError: for another name.
        RuntimeError: if they are not there and cannot be downloaded; says where to put the file.
    """
    if name not in ("vgg16", *RESNETS):
        raise ValueError(f"name is {name!r}; it must be vgg16 or one of {', '.join(RESNETS)}")
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    try:
        return weights.get_state_dict(progress=False, check_hash=True)
    except OSError as error:
        file = weights.url.rsplit("/", 1)[-1]
        raise RuntimeError(
            f"the ImageNet weights of {name} could not be fetched ({error}): put {weights.url} at "
            f"{torch.hub.get_dir()}/checkpoints/{file}, or train with pretrained=false"
        ) from error
