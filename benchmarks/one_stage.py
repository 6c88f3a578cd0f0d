"""Our RetinaNet and SSD beside torchvision's: the same weights, the same pictures, one run.

    python benchmarks/one_stage.py [--threads 2] [--repeats 5] [--device cuda]

Prints the median seconds of a prediction and of a training step (forward, backward, without the
optimiser) for ``retinanet_resnet50_fpn`` and ``ssd300_vgg16`` with random weights, and their ratio.
"""

from __future__ import annotations

import argparse

import torch
import torchvision
from beside import HEADING, boxed_pictures, compare
from torch import nn

from lessons_lib.detection import SSD, RetinaNet


def retinanets(device: str) -> tuple[nn.Module, nn.Module]:
    """torchvision's RetinaNet and our copy, with scores that differ from place to place."""
    torch.manual_seed(0)
    backbone = torchvision.models.detection.backbone_utils.resnet_fpn_backbone(
        backbone_name="resnet50",
        weights=None,
        trainable_layers=5,
        returned_layers=[2, 3, 4],
        extra_blocks=torchvision.ops.feature_pyramid_network.LastLevelP6P7(256, 256),
        norm_layer=torchvision.ops.FrozenBatchNorm2d,
    )
    theirs = torchvision.models.detection.RetinaNet(backbone, 91, min_size=400, max_size=640)
    for name, buffer in theirs.named_buffers():
        if "bn" in name and name.endswith("weight"):  # keeps sixteen residual blocks calm
            buffer.mul_(0.4)
    nn.init.normal_(theirs.head.classification_head.cls_logits.bias, -4, 1)
    theirs = theirs.to(device)
    return theirs, RetinaNet.from_torchvision(theirs)


def ssds(device: str) -> tuple[nn.Module, nn.Module]:
    """torchvision's SSD300 and our copy."""
    torch.manual_seed(0)
    theirs = torchvision.models.detection.ssd300_vgg16(
        weights=None, weights_backbone=None, image_std=[0.229, 0.224, 0.225]
    )
    for layer in theirs.head.classification_head.module_list:
        nn.init.normal_(layer.bias)  # some of 91 classes exceed the threshold
    theirs = theirs.to(device)
    return theirs, SSD.from_torchvision(theirs)


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
    for name, build in (("retinanet resnet50", retinanets), ("ssd300 vgg16", ssds)):
        images, targets = boxed_pictures(2, (400, 600), args.device)
        compare(name, build(args.device), images, targets, args.device, args.repeats)


if __name__ == "__main__":
    main()
