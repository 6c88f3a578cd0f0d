"""Our Faster R-CNN beside torchvision's: the same weights, the same pictures, one run.

    python benchmarks/faster_rcnn.py [--threads 2] [--repeats 5] [--device cuda]

Prints the median seconds of a prediction and of a training step (forward, backward, without the
optimiser) for ``fasterrcnn_resnet50_fpn`` with random weights, and for a small one with pictures of
128 px, and their ratio. The two take turns, so that a change of the machine's mood meets both.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
import torchvision
from torch import Tensor, nn

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


def work(small: bool, device: str) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Pictures and ten boxes in each."""
    generator = torch.Generator().manual_seed(1)
    side = (128, 128) if small else (400, 600)
    images = [torch.rand(3, *side, generator=generator) for _ in range(4 if small else 2)]
    targets = []
    for _ in images:
        corners = torch.rand(10, 2, 2, generator=generator) * torch.tensor(side[::-1])
        low, high = corners.amin(1), corners.amax(1) + 8
        boxes = torch.cat([low, high], 1).to(device)
        labels = torch.randint(1, 91, (10,), generator=generator).to(device)
        targets.append({"boxes": boxes, "labels": labels})
    return [image.to(device) for image in images], targets


def seconds(call: Callable[[], object], device: str) -> float:
    began = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measure(small: bool, device: str, repeats: int) -> None:
    images, targets = work(small, device)
    pair = models(small, device)

    def predict(model: nn.Module) -> None:
        with torch.inference_mode():
            model(images)

    def step(model: nn.Module) -> None:
        torch.manual_seed(0)
        model.zero_grad()
        sum(model(images, targets).values()).backward()

    for name, action in [("predict", predict), ("train", step)]:
        times: tuple[list[float], list[float]] = ([], [])
        for model in pair:
            model.train(name == "train")
            action(model)
        for _ in range(repeats):
            for model, own in zip(pair, times, strict=True):
                own.append(seconds(partial(action, model), device))
        theirs, ours = (statistics.median(t) for t in times)
        ratios = sorted(o / t for t, o in zip(*times, strict=True))
        print(
            f"{'small' if small else 'resnet50-fpn':<14}{name:<9}{theirs:>11.3f}{ours:>9.3f}"
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
    print(f"{'model':<14}{'':<9}{'torchvision':>11}{'ours':>9}{'ratio':>8}   range")
    for small in (True, False):
        measure(small, args.device, args.repeats)


if __name__ == "__main__":
    main()
