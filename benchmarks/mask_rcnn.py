"""Our Mask R-CNN beside torchvision's: the same weights, the same pictures, one run.

    python benchmarks/mask_rcnn.py [--threads 2] [--repeats 5] [--device cuda]

Prints the median seconds of a prediction and of a training step (forward, backward, without the
optimiser) for ``maskrcnn_resnet50_fpn`` with random weights, and for a small one with pictures of 128 px;
then of pasting 100 masks into 800 × 1200 px; and their ratio. Ours are thresholded in that time, torchvision's
stay probabilities, except for the pasting alone. The two take turns, so that a change of the machine's mood
meets both.
"""

from __future__ import annotations

import argparse
import statistics

import torch
import torchvision
from beside import HEADING, boxed_pictures, compare, seconds
from torch import Tensor, nn
from torchvision.models.detection.roi_heads import paste_masks_in_image

from lessons_lib.detection import MaskRCNN
from lessons_lib.detection.mask_head import paste_masks


def models(small: bool, device: str) -> tuple[nn.Module, nn.Module]:
    """torchvision's model and our copy; the small one has ResNet-18."""
    torch.manual_seed(0)
    backbone = torchvision.models.detection.backbone_utils.resnet_fpn_backbone(
        backbone_name="resnet18" if small else "resnet50",
        weights=None,
        trainable_layers=5,
        norm_layer=torchvision.ops.FrozenBatchNorm2d,
    )
    sizes = {"min_size": 128, "max_size": 128} if small else {"min_size": 400, "max_size": 640}
    theirs = torchvision.models.detection.MaskRCNN(
        backbone,
        91,
        box_score_thresh=0.0,  # random heads are never sure; so there are 100 masks a picture
        **sizes,
    ).to(device)
    for name, buffer in theirs.named_buffers():
        if "bn" in name and name.endswith("weight"):  # keeps sixteen residual blocks calm
            buffer.mul_(0.4)
    nn.init.normal_(theirs.roi_heads.box_predictor.cls_score.weight, std=0.1)
    return theirs, MaskRCNN.from_torchvision(theirs)


def measure(small: bool, device: str, repeats: int) -> None:
    images, targets = (
        boxed_pictures(4, (128, 128), device) if small else boxed_pictures(2, (400, 600), device)
    )
    for image, target in zip(images, targets, strict=True):
        target["masks"] = ellipses(target["boxes"], (image.shape[1], image.shape[2]))
    pair = models(small, device)
    compare("small" if small else "resnet50-fpn", pair, images, targets, device, repeats)


def ellipses(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks bool (N, H, W) of the ellipses that touch the sides of the boxes (N, 4)."""
    y, x = (torch.arange(length, device=boxes.device) + 0.5 for length in size)
    x1, y1, x2, y2 = (side[:, None, None] for side in boxes.T)
    across = (2 * x[None, None] - x1 - x2) / (x2 - x1)
    down = (2 * y[None, :, None] - y1 - y2) / (y2 - y1)
    return across**2 + down**2 <= 1


def measure_pasting(device: str, repeats: int) -> None:
    """The last step alone; torchvision's probabilities are thresholded here, as ours are."""
    generator = torch.Generator().manual_seed(2)
    masks = torch.rand(100, 28, 28, generator=generator).to(device)
    corners = torch.rand(100, 2, 2, generator=generator) * torch.tensor([1200.0, 800.0])
    boxes = torch.cat([corners.amin(1), corners.amax(1) + 1], 1).to(device)
    calls = (
        lambda: paste_masks_in_image(masks[:, None], boxes, (800, 1200)) > 0.5,
        lambda: paste_masks(masks, boxes, (800, 1200)),
    )
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats + 1):
        for call, own in zip(calls, times, strict=True):
            own.append(seconds(call, device))
    theirs, ours = (statistics.median(t[1:]) for t in times)
    ratios = sorted(o / t for t, o in list(zip(*times, strict=True))[1:])
    print(
        f"{'100 masks':<18}{'paste':<9}{theirs:>11.3f}{ours:>9.3f}"
        f"{statistics.median(ratios):>8.2f}   {ratios[0]:.2f} to {ratios[-1]:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(
        f"torch {torch.__version__}, {args.device}, {args.threads} threads, {args.repeats} repeats"
    )
    print(HEADING)
    measure_pasting(args.device, args.repeats)
    for small in (True, False):
        measure(small, args.device, args.repeats)


if __name__ == "__main__":
    main()
