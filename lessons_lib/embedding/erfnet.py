"""ERFNet (Romera, Alvarez, Bergasa, Arroyo, 2018), plain and with the heads of spatial embeddings.

Romera, Alvarez, Bergasa and Arroyo, *ERFNet: Efficient Residual Factorized ConvNet for Real-Time Semantic
Segmentation*, IEEE Transactions on Intelligent Transportation Systems 19(1), 2018.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.semantic.unet import pad_to_multiple

EPSILON = 1e-3
"""Of the batch normalisation, as in the authors' code; PyTorch's own is 1e-5."""


class Downsampler(nn.Module):
    """Halves height and width: a 3 x 3 convolution of stride 2 and a 2 x 2 max-pooling, side by side.

    The pooling hands on the input's channels, the convolution adds the missing ones. Figure 3 of the
    paper, which took the block from ENet.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(in_channels, out_channels - in_channels, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(out_channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        halves = [self.convolve(x), F.max_pool2d(x, 2)]
        return F.relu(self.norm(torch.cat(halves, dim=1)))


class NonBottleneck1D(nn.Module):
    """A residual block whose two 3 x 3 convolutions are each a 3 x 1 and a 1 x 3, with a ReLU between.

    Figure 2 (c) of the paper. 12 C² weights instead of 18 C², and one more ReLU in each pair. The second
    pair is dilated. Dropout comes before the addition.

    Args:
        channels: C, which the block keeps.
        dilation: of the second pair; 2 lets it see 5 pixels instead of 3.
        dropout: share of the channels that are set to 0 in training. As in the authors' code, a channel
            is dropped as a whole (``Dropout2d``); the paper says "dropout".
    """

    def __init__(self, channels: int, dilation: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        d = dilation
        self.first = nn.Sequential(
            nn.Conv2d(channels, channels, (3, 1), padding=(1, 0)),
            nn.ReLU(),
            nn.Conv2d(channels, channels, (1, 3), padding=(0, 1)),
            nn.BatchNorm2d(channels, eps=EPSILON),
            nn.ReLU(),
        )
        self.second = nn.Sequential(
            nn.Conv2d(channels, channels, (3, 1), padding=(d, 0), dilation=(d, 1)),
            nn.ReLU(),
            nn.Conv2d(channels, channels, (1, 3), padding=(0, d), dilation=(1, d)),
            nn.BatchNorm2d(channels, eps=EPSILON),
            nn.Dropout2d(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class Upsampler(nn.Module):
    """Doubles height and width: a 3 x 3 transposed convolution of stride 2, normalised, with a ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolve = nn.ConvTranspose2d(
            in_channels, out_channels, 3, stride=2, padding=1, output_padding=1
        )
        self.norm = nn.BatchNorm2d(out_channels, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.convolve(x)))


class ERFNetEncoder(nn.Sequential):
    """Layers 1 to 16 of table I: (B, in_channels, H, W) → (B, 128, H/8, W/8), H and W multiples of 8."""

    def __init__(self, in_channels: int = 3) -> None:
        if not 1 <= in_channels < 16:
            raise ValueError(f"in_channels is {in_channels}; it must be in 1..15")
        super().__init__(
            Downsampler(in_channels, 16),
            Downsampler(16, 64),
            *(NonBottleneck1D(64, dropout=0.03) for _ in range(5)),
            Downsampler(64, 128),
            *(NonBottleneck1D(128, d, dropout=0.3) for _ in range(2) for d in (2, 4, 8, 16)),
        )


class ERFNetDecoder(nn.Sequential):
    """Layers 17 to 23 of table I: (B, 128, H/8, W/8) → (B, out_channels, H, W)."""

    def __init__(self, out_channels: int) -> None:
        if out_channels < 1:
            raise ValueError(f"out_channels is {out_channels}; it must be at least 1")
        super().__init__(
            Upsampler(128, 64),
            NonBottleneck1D(64),
            NonBottleneck1D(64),
            Upsampler(64, 16),
            NonBottleneck1D(16),
            NonBottleneck1D(16),
            nn.ConvTranspose2d(16, out_channels, 2, stride=2),
        )

    @property
    def last(self) -> nn.ConvTranspose2d:
        """The last layer: each pixel of the half-size map becomes 2 x 2 pixels."""
        layer = self[-1]
        assert isinstance(layer, nn.ConvTranspose2d)
        return layer


class ERFNet(nn.Module):
    """A class for every pixel, with 2.06 million parameters (3 channels in, 20 classes).

    Table I of the paper, for 3 x 512 x 1024:

    ======  ===================================================  ===============
    layers  what                                                 output
    ======  ===================================================  ===============
    1       Downsampler                                          16 x 256 x 512
    2       Downsampler                                          64 x 128 x 256
    3-7     5 Non-bottleneck-1D, dropout 0.03                    64 x 128 x 256
    8       Downsampler                                          128 x 64 x 128
    9-16    8 Non-bottleneck-1D, dropout 0.3, the second pair    128 x 64 x 128
            dilated by 2, 4, 8, 16, 2, 4, 8, 16
    17      Upsampler                                            64 x 128 x 256
    18-19   2 Non-bottleneck-1D                                  64 x 128 x 256
    20      Upsampler                                            16 x 256 x 512
    21-22   2 Non-bottleneck-1D                                  16 x 256 x 512
    23      2 x 2 transposed convolution of stride 2             classes x 512 x 1024
    ======  ===================================================  ===============

    There are no skips from encoder to decoder. The details that the paper leaves open are as in the
    authors' code: where the bias is (everywhere), ``Dropout2d``, an epsilon of 0.001, and the decoder's
    kernels of 3, 3 and 2 pixels.

    Args:
        in_channels: channels of the image.
        classes: number of classes.

    ``forward(image (B, in_channels, H, W))`` → ``{"semantic": (B, classes, H, W) scores}``, for any H and
    W: the picture is extended on the right and below to multiples of 8 (mirrored where it is large
    enough, else by repeating its border), and the scores are cut back.

    Raises:
        ValueError: for ``in_channels`` out of 1..15 (the first layer makes 16 of them) or no class.
    """

    def __init__(self, in_channels: int = 3, classes: int = 20) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes is {classes}; it must be at least 1")
        self.encoder = ERFNetEncoder(in_channels)
        self.decoder = ERFNetDecoder(classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        height, width = image.shape[-2:]
        scores = self.decoder(self.encoder(pad_to_multiple(image, 8)))
        return {"semantic": scores[..., :height, :width]}


class SpatialERFNet(nn.Module):
    """ERFNet's encoder with two decoders: where a pixel points and how far, and how central it is.

    The "branched ERFNet" of Neven, De Brabandere, Proesmans and Van Gool, *Instance Segmentation by Jointly
    Optimizing Spatial Embeddings and Clustering Bandwidth*, CVPR 2019, section 4. The first decoder begins
    with offsets of 0 and raw sigmas of 1, whatever the picture shows: the weights of its last layer begin at 0,
    as in the authors' code.

    Args:
        in_channels: channels of the image.
        classes: K, number of classes of things, the background not included; a seed map each.
        sigma_channels: S: 0 = none (a fixed margin), 1 = a circle, 2 = an ellipse.

    ``forward(image (B, in_channels, H, W))`` → ``{"offset": (B, 2, H, W), "sigma": (B, S, H, W), "seed":
    (B, K, H, W)}``, all raw, offsets x then y, for any H and W as :class:`ERFNet`.

    Raises:
        ValueError: for an argument out of range.
    """

    def __init__(self, in_channels: int = 3, classes: int = 1, *, sigma_channels: int = 2) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes is {classes}; it must be at least 1")
        if sigma_channels not in (0, 1, 2):
            raise ValueError(f"sigma_channels is {sigma_channels}; it must be 0, 1 or 2")
        self.encoder = ERFNetEncoder(in_channels)
        self.instance_decoder = ERFNetDecoder(2 + sigma_channels)
        self.seed_decoder = ERFNetDecoder(classes)
        with torch.no_grad():
            last = self.instance_decoder.last
            assert last.bias is not None
            last.weight.zero_()
            last.bias[:2] = 0
            last.bias[2:] = 1

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        height, width = image.shape[-2:]
        features = self.encoder(pad_to_multiple(image, 8))
        pull = self.instance_decoder(features)[..., :height, :width]
        seed = self.seed_decoder(features)[..., :height, :width]
        return {"offset": pull[:, :2], "sigma": pull[:, 2:], "seed": seed}
