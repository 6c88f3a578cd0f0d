"""Faster R-CNN trained in four steps, as its paper did before it was trained at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .faster_rcnn import FasterRCNN, scale_targets
from .targets import Target


class FourStepFasterRCNN(nn.Module):
    """Alternating training (Ren et al., NeurIPS 2015, section 3.2), one part after another:

    1. a region proposal network with a backbone of its own;
    2. a detector with another backbone, on the proposals of the first;
    3. the proposal layers upon the detector's backbone, which stays as it is;
    4. the detector's own layers, on those proposals; the backbone still stays.

    What predicts is the second network, whose two parts share one backbone by then. The paper starts
    both backbones from ImageNet's weights; here they start from nothing. Parts of the network get no
    gradient in a step, so it trains in one process.

    Args:
        first: gives the proposals of step 2, and is not needed afterwards.
        second: of the same kind.
        part_steps: training steps of each part; after four times as many the last one goes on.
    """

    taken: Tensor

    def __init__(self, first: FasterRCNN, second: FasterRCNN, part_steps: int) -> None:
        super().__init__()
        if part_steps < 1:
            raise ValueError(f"part_steps is {part_steps}; it must be at least 1")
        self.first, self.second, self.part_steps = first, second, part_steps
        self.register_buffer("taken", torch.zeros((), dtype=torch.int64))

    def forward(
        self, images: Sequence[Tensor] | Tensor, targets: Sequence[Target] | None = None
    ) -> Any:
        """As :meth:`FasterRCNN.forward <lessons_lib.detection.FasterRCNN.forward>`; in training mode each
        call counts as one step, and only the terms of its part are returned."""
        if not self.training:
            return self.second(images)
        part = min(4, 1 + int(self.taken) // self.part_steps)
        self.taken += 1
        # a network that is not trained normalises with the statistics that it has
        self.first.train(part == 1)
        self.second.train(part > 1)
        self.second.backbone.train(part == 2)
        net = self.first if part == 1 else self.second
        pictures = net.scaler(images, training=True)
        cleaned = scale_targets(targets, pictures, net.num_classes)
        with torch.set_grad_enabled(part < 3):
            maps = net.backbone(pictures.tensor)
        if part in (1, 3):
            return net.rpn(maps, pictures, cleaned)[1]
        with torch.no_grad():
            if part == 2:
                proposals, _ = self.first.rpn(self.first.backbone(pictures.tensor), pictures)
            else:
                proposals, _ = net.rpn(maps, pictures)
        return net.roi_heads(maps, proposals, pictures.sizes, cleaned)[1]
