"""Losses of salient-object networks: structure, smoothness, and the boundary of depth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


def structure_loss(logits: Tensor, saliency: Tensor, window: int = 31) -> Tensor:
    """Cross-entropy and 1 − IoU, both with more weight near outlines (Wei, Wang, Huang, 2020, section 3.3).

    A pixel weighs 1 + 5 · the difference between its label and the mean label of the window around it. UC-Net's
    released code asks for the cross-entropy of each pixel with ``reduce='none'``, which torch reads as "true": a mean
    over the batch comes back, and the weights cancel out. Here they weigh.

    Args:
        logits: (B, 1, H, W).
        saliency: (B, 1, H, W) in [0, 1].
        window: side of the window, odd, px; 31 for pictures of 352 px.

    Returns:
        (B,), one value a picture.

    Raises:
        ValueError: for shapes that differ or an even window.
    """
    if logits.shape != saliency.shape:
        raise ValueError(
            f"logits has shape {tuple(logits.shape)} and saliency {tuple(saliency.shape)}; they must be alike"
        )
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window}; it must be odd and at least 1")
    logits = logits.float()
    around = F.avg_pool2d(saliency, window, stride=1, padding=window // 2)
    weight = 1 + 5 * (around - saliency).abs()
    entropy = F.binary_cross_entropy_with_logits(logits, saliency, reduction="none")
    weighted = (weight * entropy).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    probability = logits.sigmoid()
    both = (probability * saliency * weight).sum((1, 2, 3))
    either = ((probability + saliency) * weight).sum((1, 2, 3))
    return weighted + 1 - (both + 1) / (either - both + 1)


def gradients(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Sobel gradients of maps (B, 1, H, W) along x and y, divided by 8 so that a ramp of 1 a pixel gives 1."""
    kernel = maps.new_tensor(SOBEL)[None, None] / 8
    padded = F.pad(maps, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernel), F.conv2d(padded, kernel.transpose(2, 3))


def smoothness_loss(saliency: Tensor, guide: Tensor, alpha: float = 10.0) -> Tensor:
    """Gradients of a prediction, forgiven where the guide has gradients too (Zhang et al., 2020, section 3.4).

    The sum over x and y of ψ(gradient · exp(−alpha · gradient of the guide)), ψ(s) = √(s² + 10⁻⁶), averaged over
    the pixels. The paper's guide is the brightness of the image; the released code's is the annotation.

    Args:
        saliency: predicted probability (B, 1, H, W).
        guide: (B, 1, H, W).
        alpha: how soon the guide forgives.

    Returns:
        (B,), one value a picture.
    """
    total = saliency.new_zeros(len(saliency))
    for own, guiding in zip(gradients(saliency.float()), gradients(guide.float()), strict=True):
        weighed = own * torch.exp(-alpha * guiding.abs())
        total = total + (weighed**2 + 1e-6).sqrt().mean((1, 2, 3))
    return total


def boundary_iou_loss(depth: Tensor, brightness: Tensor, sharpness: float = 20.0) -> Tensor:
    """1 − Dice of the boundaries of two maps: depth should change where the image does.

    A boundary is tanh(sharpness · gradient's length), as in Luo et al. (2017, section 3.3), whose loss UC-Net takes
    over and calls an IoU.

    Args:
        depth: (B, 1, H, W).
        brightness: of the image, (B, 1, H, W).
        sharpness: how soon a gradient counts as a boundary.

    Returns:
        (B,), in [0, 1].
    """
    edges = []
    for maps in (depth, brightness):
        along_x, along_y = gradients(maps.float())
        edges.append(torch.tanh(sharpness * (along_x**2 + along_y**2 + 1e-12).sqrt()))
    both = (edges[0] * edges[1]).sum((1, 2, 3))
    return 1 - 2 * both / (edges[0].sum((1, 2, 3)) + edges[1].sum((1, 2, 3)) + 1e-6)


def brightness(image: Tensor) -> Tensor:
    """Luma of an RGB image (B, 3, H, W) → (B, 1, H, W), with the weights of ITU-R BT.601."""
    weights = image.new_tensor([0.299, 0.587, 0.114])
    return (image * weights[:, None, None]).sum(1, keepdim=True)
