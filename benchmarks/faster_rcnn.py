"""Our Faster R-CNN beside torchvision's: the same weights, the same pictures, one run.

    python benchmarks/faster_rcnn.py [--threads 2] [--repeats 5] [--device cuda]

Prints the median seconds of a prediction and of a training step (forward, backward, without the
optimiser) for ``fasterrcnn_resnet50_fpn`` with random weights, and for a small one with pictures of
128 px, and their ratio. The two take turns, so that a change of the machine's mood meets both.
"""

from __future__ import annotations

import argparse

import torch
import torchvision
from beside import HEADING, boxed_pictures, compare
from torch import nn

from lessons_lib.detection import FasterRCNN


def models(small: bool, device: str) -> tuple[nn.Module, nn.Module]:
    """torchvision's model and our copy; the small one has ResNet-18 and few proposals."""
    torch.manual_seed(0)
    backbone = torchvision.models.detection.backbone_utils.resnet_fpn_backbone(
        backbone_name="resnet18" if small else "resnet50",
        weights=None,
        trainable_layers=5,
        norm_layer=torchvision.ops.FrozenBatchNorm2d,
    )
    sizes = {"min_size": 128, "max_size": 128} if small else {"min_size": 400, "max_size": 640}
    theirs = torchvision.models.detection.FasterRCNN(backbone, 91, **sizes).to(device)
    for name, buffer in theirs.named_buffers():
        if "bn" in name and name.endswith("weight"):  # keeps sixteen residual blocks calm
            buffer.mul_(0.4)
    nn.init.normal_(theirs.roi_heads.box_predictor.cls_score.weight, std=0.1)
    return theirs, FasterRCNN.from_torchvision(theirs)


def measure(small: bool, device: str, repeats: int) -> None:
    images, targets = (
        boxed_pictures(4, (128, 128), device) if small else boxed_pictures(2, (400, 600), device)
    )
    compare(
        "small" if small else "resnet50-fpn",
        models(small, device),
        images,
        targets,
        device,
        repeats,
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
    for small in (True, False):
        measure(small, args.device, args.repeats)


if __name__ == "__main__":
    main()
