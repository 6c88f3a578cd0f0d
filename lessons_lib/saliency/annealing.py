"""A weight that rises from 0 to 1 in the first steps of a training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lessons_lib.data.arguments import check_least


class KLWarmup(nn.Module):
    """KL annealing: the weight of the KL term rises in a line from 0 to 1 over so many steps.

    Bowman and others, 2016, section 3.1, raise it so that the decoder has learned to use z before z costs
    anything. The count of steps is a buffer: it lies in checkpoints, so that a resumed run goes on where it was.

    Args:
        steps: of the rise; 0 has weight 1 from the first.

    ``forward()`` → the weight, a scalar tensor. In training mode each call counts as a step.

    Raises:
        ValueError: for fewer steps than 0.
    """

    done: Tensor

    def __init__(self, steps: int = 0) -> None:
        super().__init__()
        check_least(steps=(steps, 0))
        self.steps = steps
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    def forward(self) -> Tensor:
        weight = (
            (self.done / max(1, self.steps)).clamp(max=1.0) if self.steps else self.done * 0 + 1.0
        )
        if self.training:
            self.done += 1
        return weight
