"""Fully convolutional networks (Long, Shelhamer and Darrell, 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.backbones import VGG16, SmallVGG
from lessons_lib.convolution import bilinear_kernel

PAPER_PADDING = 100
# How far the paper's padding shifts each map against the next, in cells of the finer one: what the
# released networks cut off. The tests derive these numbers from the centres of the receptive fields.
CROP_POOL4, CROP_POOL3 = 5, 9
CROP_IMAGE = {32: 19, 16: 27, 8: 31}


class FCN(nn.Module):
    """A classifier made convolutional, with summed skips: FCN-32s, FCN-16s or FCN-8s.

    With ``backbone="vgg16"`` it is the paper's network: VGG16 whose fully connected layers have
    become a 7 x 7 and a 1 x 1 convolution. Its first convolution pads by 100, pooling rounds up, and
    what that adds is cropped again: a 375 x 500 picture (height x width) has 12 x 16 scores, which
    the transposed convolution of FCN-32s makes 416 x 544.

    ``backbone="small"`` is for pictures of a hundred pixels: :class:`~lessons_lib.backbones.SmallVGG`,
    whose maps stay aligned with the picture, so nothing has to be cropped but the last odd cells. A
    3 x 3 convolution stands for the 7 x 7, and batch normalisation for dropout and pretraining.

    Args:
        classes: number of classes, background included.
        stride: 32, 16 or 8: that of the finest scores that are used.
        backbone: ``"vgg16"`` or ``"small"``.
        learn_upsampling: whether the transposed convolutions, which begin bilinear, are trained. The
            paper trains all but the last; the networks that its authors released train none.
        hidden: channels of the two layers that were fully connected; by default 4096, or 256 in the
            small one.

    Shapes: (B, 3, H, W) → ``{"semantic": (B, classes, H, W)}``.

    Raises:
        ValueError: for an unknown option.
    """

    def __init__(
        self,
        classes: int,
        stride: int = 8,
        *,
        backbone: Literal["vgg16", "small"] = "vgg16",
        learn_upsampling: bool = True,
        hidden: int | None = None,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ValueError(f"classes is {classes}; it must be at least 1")
        if stride not in CROP_IMAGE:
            raise ValueError(f"stride is {stride}; it must be 32, 16 or 8")
        if backbone not in ("vgg16", "small"):
            raise ValueError(f'backbone is {backbone!r}; it must be "vgg16" or "small"')
        self.stride = stride
        self.padded = backbone == "vgg16"
        self.backbone: VGG16 | SmallVGG
        if backbone == "vgg16":
            self.backbone = VGG16(padding=PAPER_PADDING, ceil_mode=True)
            hidden = hidden or 4096
            self.classifier = nn.Sequential(
                nn.Conv2d(512, hidden, 7),
                nn.ReLU(inplace=True),
                nn.Dropout2d(0.5),
                nn.Conv2d(hidden, hidden, 1),
                nn.ReLU(inplace=True),
                nn.Dropout2d(0.5),
            )
        else:
            self.backbone = SmallVGG()
            hidden = hidden or 256
            self.classifier = nn.Sequential(
                nn.Conv2d(self.backbone.out_channels["pool5"], hidden, 3, padding=1, bias=False),
                nn.BatchNorm2d(hidden),
                nn.ReLU(inplace=True),
            )
        self.score = nn.Conv2d(hidden, classes, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)  # type: ignore[arg-type]
        if stride <= 16:
            self.score_pool4 = self._skip_scores("pool4", classes)
            self.up_pool4 = self._upsampling(classes, 2, learn_upsampling)
        if stride <= 8:
            self.score_pool3 = self._skip_scores("pool3", classes)
            self.up_pool3 = self._upsampling(classes, 2, learn_upsampling)
        # the last one stays bilinear in the paper (section 4.3), and only it
        self.up_image = self._upsampling(classes, stride, learn_upsampling and not self.padded)

    def _skip_scores(self, name: str, classes: int) -> nn.Conv2d:
        """Scores of a skip, zero at first: the network begins as the coarser one."""
        score = nn.Conv2d(self.backbone.out_channels[name], classes, 1)
        nn.init.zeros_(score.weight)
        nn.init.zeros_(score.bias)  # type: ignore[arg-type]
        return score

    def _upsampling(self, classes: int, factor: int, learn: bool) -> nn.ConvTranspose2d:
        """A transposed convolution that begins as bilinear interpolation.

        The paper's crops its output afterwards; the small network's own padding does.
        """
        up = nn.ConvTranspose2d(
            classes,
            classes,
            2 * factor,
            factor,
            padding=0 if self.padded else factor // 2,
            bias=False,
        )
        with torch.no_grad():
            up.weight.copy_(bilinear_kernel(classes, 2 * factor))
        up.weight.requires_grad_(learn)
        return up

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        maps = self.backbone(image)
        scores = self.score(self.classifier(maps["pool5"]))  # (B, classes, H/32, W/32)
        if self.stride <= 16:
            scores = self._join(self.up_pool4(scores), self.score_pool4(maps["pool4"]), CROP_POOL4)
        if self.stride <= 8:
            scores = self._join(self.up_pool3(scores), self.score_pool3(maps["pool3"]), CROP_POOL3)
        height, width = image.shape[-2:]
        offset = CROP_IMAGE[self.stride] if self.padded else 0
        return {"semantic": crop(self.up_image(scores), offset, height, width)}

    def _join(self, scores: Tensor, skip: Tensor, offset: int) -> Tensor:
        """Sum of coarse and fine scores, where both are."""
        if self.padded:  # the padded border is wider in the finer map
            return scores + crop(skip, offset, *scores.shape[-2:])
        return crop(scores, 0, *skip.shape[-2:]) + skip  # pooling rounded up: a row may be too much

    def load_vgg16(self, state: Mapping[str, Tensor]) -> None:
        """Takes the weights of torchvision's ``vgg16``, its fully connected layers included.

        A fully connected layer on a 512 x 7 x 7 map is a 7 x 7 convolution with the same numbers,
        and the next one a 1 x 1 convolution (section 3.1).

        Args:
            state: ``torchvision.models.vgg16(weights=...).state_dict()``.

        Raises:
            ValueError: if this network is small, or ``hidden`` is not 4096.
        """
        layers = [layer for layer in self.classifier if isinstance(layer, nn.Conv2d)]
        if not self.padded or layers[0].out_channels != 4096:
            raise ValueError("VGG16's weights fit backbone='vgg16' with hidden=4096 only")
        features = {k: v for k, v in state.items() if k.startswith("features.")}
        self.backbone.load_state_dict(features)
        for layer, name in zip(layers, ("classifier.0", "classifier.3"), strict=True):
            weight = state[f"{name}.weight"].view(layer.weight.shape)
            layer.load_state_dict({"weight": weight, "bias": state[f"{name}.bias"]})


def crop(x: Tensor, offset: int, height: int, width: int) -> Tensor:
    """(B, C, height, width) of x from row and column ``offset`` on."""
    return x[..., offset : offset + height, offset : offset + width]


def semantic_loss(scores: Tensor, semantic: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy per pixel, averaged over the labelled pixels of each picture, then over pictures.

    Args:
        scores: (B, C, H, W).
        semantic: int64 (B, H, W); 255 is ignored.
        weight: (B, H, W), how much each pixel counts, such as U-Net's border weight map. The sum is
            still divided by the number of pixels, so weights above 1 raise the loss.

    Returns:
        a scalar; a picture without a labelled pixel counts as 0.
    """
    losses = F.cross_entropy(scores.float(), semantic, ignore_index=255, reduction="none")
    if weight is not None:
        losses = losses * weight
    labelled = (semantic != 255).flatten(1).sum(1).clamp(min=1)
    return (losses.flatten(1).sum(1) / labelled).mean()
