"""Two detectors with the same weights side by side: the same pictures, taking turns, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

HEADING = f"{'model':<19}{'':<9}{'torchvision':>11}{'ours':>9}{'ratio':>8}   range"


def boxed_pictures(
    count: int, side: tuple[int, int], device: str
) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Random pictures of ``side`` (height, width), px, and ten boxes of 90 classes in each."""
    generator = torch.Generator().manual_seed(1)
    images = [torch.rand(3, *side, generator=generator) for _ in range(count)]
    targets = []
    for _ in images:
        corners = torch.rand(10, 2, 2, generator=generator) * torch.tensor(side[::-1])
        low, high = corners.amin(1), corners.amax(1) + 8
        boxes = torch.cat([low, high], 1).to(device)
        labels = torch.randint(1, 91, (10,), generator=generator).to(device)
        targets.append({"boxes": boxes, "labels": labels})
    return [image.to(device) for image in images], targets


def seconds(call: Callable[[], object], device: str) -> float:
    """Wall time of a call."""
    began = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def compare(
    name: str,
    pair: tuple[nn.Module, nn.Module],
    images: Sequence[Tensor],
    targets: Sequence[dict[str, Tensor]],
    device: str,
    repeats: int,
) -> None:
    """Prints the median seconds of a prediction and of a training step of both, and their ratio.

    The two take turns, so that a change of the machine's mood meets both.
    """

    def predict(model: nn.Module) -> None:
        with torch.inference_mode():
            model(images)

    def step(model: nn.Module) -> None:
        torch.manual_seed(0)
        model.zero_grad()
        sum(model(images, targets).values()).backward()

    for what, action in [("predict", predict), ("train", step)]:
        times: tuple[list[float], list[float]] = ([], [])
        for model in pair:
            model.train(what == "train")
            action(model)
        for _ in range(repeats):
            for model, own in zip(pair, times, strict=True):
                own.append(seconds(partial(action, model), device))
        theirs, ours = (statistics.median(t) for t in times)
        ratios = sorted(o / t for t, o in zip(*times, strict=True))
        print(
            f"{name:<19}{what:<9}{theirs:>11.3f}{ours:>9.3f}"
            f"{statistics.median(ratios):>8.2f}   {ratios[0]:.2f} to {ratios[-1]:.2f}"
        )
