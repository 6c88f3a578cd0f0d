"""DepthCorrectionNet: a better depth map from a broken one and the image beside it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .losses import boundary_iou_loss, brightness
from .saliency_net import Encoder, enlarge, normalized_convolution

EXTREMES = (0.02, 0.98)
"""What depth is held to before its logit is taken, so that a correction can still move it."""


class DepthCorrectionNet(nn.Module):
    """An encoder, and four convolutions over its stages enlarged and concatenated (Zhang et al., 2020, section 3.3).

    Two departures. The last convolutions also see the image and the depth themselves, and what they give is added to
    the logit of the depth where there is one: the network begins with what the sensor says and learns to correct it;
    the paper does not say how its decoder keeps fine detail. And all that it sees of the depth is a median of the
    measured values around each pixel: what is asked of it later is the sensor's own, noisy value, and the noise of
    a single pixel cannot be copied from the median of 25.

    Args:
        backbone: of :class:`~lessons_lib.saliency.Encoder`.
        channels: of the decoder.
        median: side of the median's window, odd, px; 1 shows the network the depth as it is.

    ``forward(image (B, 3, H, W), depth (B, 1, H, W))`` → refined nearness (B, 1, H, W) in (0, 1). ``depth`` is
    relative, 1 = nearest, 0 = not measured.
    """

    def __init__(self, backbone: str = "vgg16", channels: int = 32, *, median: int = 5) -> None:
        super().__init__()
        self.median = median
        self.encoder = Encoder(backbone, 4)
        self.reduce = nn.ModuleList(
            nn.Conv2d(width, channels, 1) for width in self.encoder.channels
        )
        self.mix = normalized_convolution(channels * len(self.encoder.channels), channels, 3)
        self.last = nn.Sequential(
            normalized_convolution(channels + 4, channels, 3),
            normalized_convolution(channels, channels, 3),
            nn.Conv2d(channels, 1, 3, padding=1),
        )

    def forward(self, image: Tensor, depth: Tensor) -> Tensor:
        depth = measured_median(depth, self.median)
        both = torch.cat([image, depth], 1)
        maps = self.encoder(both)
        size = maps[0].shape[-2:]
        parts = [enlarge(reduce(x), size) for reduce, x in zip(self.reduce, maps, strict=True)]
        features = enlarge(self.mix(torch.cat(parts, 1)), image.shape[-2:])
        measured = torch.logit(depth.clamp(*EXTREMES)) * (depth > 0)
        return (self.last(torch.cat([features, both], 1)) + measured).sigmoid()


def measured_median(depth: Tensor, window: int) -> Tensor:
    """Median of the measured values (those above 0) around each pixel; 0 where the window holds none.

    Of an even number of values the lower one of the middle two is taken. Beyond the border the outermost pixels go on.

    Args:
        depth: (B, 1, H, W), 0 = not measured.
        window: side, odd, px.

    Raises:
        ValueError: for a window that is even or below 1.
    """
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window}; it must be odd and at least 1")
    if window == 1:
        return depth
    reach = window // 2
    padded = F.pad(depth, (reach, reach, reach, reach), mode="replicate")
    around = padded.unfold(2, window, 1).unfold(3, window, 1).flatten(4)  # (B, 1, H, W, window²)
    median = torch.where(around > 0, around, torch.nan).nanmedian(-1).values
    return torch.nan_to_num(median, nan=0.0)


def depth_loss(
    refined: Tensor, target: Tensor, image: Tensor, boundary: float = 1.0
) -> dict[str, Tensor]:
    """Smooth L1 to the target where there is one, and the boundary loss against the image.

    UC-Net's target is the sensor's own depth, as no better one is known (Zhang et al., 2020, section 3.3). The paper
    does not speak of pixels without measurement; here they ask for nothing.

    Args:
        refined: (B, 1, H, W).
        target: relative depth (B, 1, H, W); 0 or NaN = unknown.
        image: (B, 3, H, W).
        boundary: weight of the boundary loss.

    Returns:
        ``depth`` and ``depth_boundary``, (B,) each.
    """
    known = target > 0
    target = target.where(known, 0.0)  # NaN times 0 would be NaN
    error = F.smooth_l1_loss(refined.float(), target, reduction="none", beta=0.02)
    near = (error * known).sum((1, 2, 3)) / known.sum((1, 2, 3)).clamp(min=1)
    return {
        "depth": near,
        "depth_boundary": boundary * boundary_iou_loss(refined, brightness(image)),
    }


def hide_blocks(depth: Tensor, share: float = 0.15, side: int = 8) -> Tensor:
    """Depth with random blocks set to 0, "not measured": what a network has to fill in, it cannot copy.

    Args:
        depth: (B, 1, H, W).
        share: probability that a block is hidden.
        side: of a block, px.

    Draws from torch's global generator, as dropout does.
    """
    height, width = depth.shape[-2:]
    cells = torch.rand(len(depth), 1, -(-height // side), -(-width // side), device=depth.device)
    keep = (cells >= share).repeat_interleave(side, 2).repeat_interleave(side, 3)
    return depth * keep[..., :height, :width]
