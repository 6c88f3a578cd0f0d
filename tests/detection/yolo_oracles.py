"""What the tests of the YOLO detectors share: targets, and overlaps as plain arithmetic."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def target(boxes: list[list[float]], labels: list[int], **more: Tensor) -> dict[str, Tensor]:
    return {
        "boxes": torch.tensor(boxes).reshape(-1, 4).float(),
        "labels": torch.tensor(labels, dtype=torch.int64),
        **more,
    }


def random_targets(
    count: int, height: int, width: int, classes: int, generator: torch.Generator, most: int = 5
) -> list[dict[str, Tensor]]:
    """Targets with up to ``most`` boxes each, within the picture."""
    targets = []
    for _ in range(count):
        number = int(torch.randint(1, most + 1, (1,), generator=generator))
        corners = torch.rand(number, 2, 2, generator=generator).sort(1)[0]
        boxes = corners.flatten(1) * torch.tensor([width, height] * 2)
        boxes[:, 2:] += 1
        labels = torch.randint(1, classes + 1, (number,), generator=generator)
        targets.append({"boxes": boxes.clamp(max=min(height, width)), "labels": labels})
    return targets


def iou_of(a: Sequence[float], b: Sequence[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union if union > 0 else 0.0


AWKWARD = {
    "no boxes": target([], []),
    "a box of zero size": target([[10.0, 10, 40, 40], [20, 20, 20, 20]], [1, 2]),
    "nothing but zero size": target([[20.0, 20, 20, 20]], [2]),
    "partly outside": target([[-30.0, -30, 20, 20], [50, 50, 200, 200]], [1, 2]),
    "wholly outside": target([[300.0, 300, 400, 400]], [3]),
    "a crowd": target(
        [[0.0, 0, 60, 60], [5, 5, 25, 25]], [1, 1], crowd=torch.tensor([True, False])
    ),
    "the whole picture": target([[0.0, 0, 64, 64]], [5]),
    "a corner": target([[62.0, 62, 64, 64]], [4]),
    "smaller than a pixel": target([[10.2, 10.2, 10.4, 10.4]], [1]),
    "twice the same": target([[8.0, 8, 30, 30], [8, 8, 30, 30]], [1, 2]),
}
