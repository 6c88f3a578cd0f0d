"""The focal loss by hand, against torchvision, and where numbers end."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

from lessons_lib.detection import focal_gradient, focal_loss


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


@pytest.mark.parametrize(
    ("p", "truth", "gamma", "alpha", "expected"),
    [
        # p_t = 0.9: a hundredth of the cross-entropy 0.10536
        (0.9, 1, 2.0, None, 0.01 * 0.1053605),
        # p = 0.9 for what is not there: p_t = 0.1, so 0.81 of 2.302585
        (0.9, 0, 2.0, None, 0.81 * 2.3025851),
        # undecided: 0.5² of ln 2, a quarter of it for yes and three quarters for no
        (0.5, 1, 2.0, 0.25, 0.25 * 0.25 * 0.6931472),
        (0.5, 0, 2.0, 0.25, 0.75 * 0.25 * 0.6931472),
        # no focus: the cross-entropy
        (0.2, 1, 0.0, None, 1.6094379),
        (0.2, 1, 1.0, 0.6, 0.6 * 0.8 * 1.6094379),
    ],
)
def test_by_hand(p: float, truth: int, gamma: float, alpha: float | None, expected: float) -> None:
    value = focal_loss(torch.tensor([logit(p)]), torch.tensor([truth]), gamma, alpha)
    assert float(value) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.0, 0.25, 1.0])
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
def test_it_is_torchvisions(gamma: float, alpha: float | None, reduction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 6 * torch.randn(40, 7, generator=generator)
    targets = (torch.rand(40, 7, generator=generator) < 0.3).float()
    both = []
    for ours in (True, False):
        x = logits.clone().requires_grad_()
        if ours:
            value = focal_loss(x, targets, gamma, alpha, reduction=reduction)
        else:
            value = sigmoid_focal_loss(
                x, targets, alpha=-1 if alpha is None else alpha, gamma=gamma, reduction=reduction
            )
        value.sum().backward()
        both.append((value.detach(), x.grad))
    torch.testing.assert_close(both[0][0], both[1][0], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(both[0][1], both[1][1], rtol=1e-4, atol=1e-6)


def test_gamma_0_is_the_cross_entropy() -> None:
    logits = torch.linspace(-9, 9, 41)
    targets = (torch.arange(41) % 2).float()
    expected = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    torch.testing.assert_close(focal_loss(logits, targets, 0, None), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
def test_extreme_logits_stay_finite(gamma: float) -> None:
    """torchvision's has NaN for gradients here: (1 - p_t)^0.3 has no slope where it rounds to 0."""
    logits = torch.tensor([-1e4, -200.0, -90, 0, 90, 200, 1e4]).repeat(2).requires_grad_()
    targets = torch.tensor([0.0] * 7 + [1] * 7)
    loss = focal_loss(logits, targets, gamma)
    (slopes,) = torch.autograd.grad(loss.sum(), logits)
    assert bool(torch.isfinite(loss).all()) and bool(torch.isfinite(slopes).all())
    # a wrong answer of 1e4 costs 1e4, and pulls with its weight; a right one neither
    assert loss[[6, 7]].tolist() == pytest.approx([0.75e4, 0.25e4])
    assert slopes[[6, 7]].tolist() == pytest.approx([0.75, -0.25])
    assert loss[[0, 13]].abs().max() == 0 and slopes[[0, 13]].abs().max() == 0


def test_half_precision_logits() -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(1))
    targets = torch.ones(50, dtype=torch.int64)
    value = focal_loss(logits.bfloat16(), targets)
    assert value.dtype == torch.bfloat16
    torch.testing.assert_close(value.float(), focal_loss(logits, targets), rtol=0.05, atol=0.01)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_the_gradient_is_the_slope(gamma: float) -> None:
    logits = torch.linspace(-8, 8, 33, dtype=torch.float64).requires_grad_()
    for truth in (0, 1):
        loss = focal_loss(logits, torch.full((33,), truth), gamma, None)
        (slope,) = torch.autograd.grad(loss.sum(), logits)
        right = (logits if truth else -logits).sigmoid().detach()
        torch.testing.assert_close(focal_gradient(right, gamma), slope.abs())


def test_the_gradient_by_hand() -> None:
    # p_t = 0.5, gamma 2: 0.25 (0.5 + 2 · 0.5 · ln 2) = 0.25 · 1.1931472
    assert float(focal_gradient(torch.tensor(0.5), 2)) == pytest.approx(0.2982868)
    # wholly wrong pulls with 1, wholly right not at all
    assert focal_gradient(torch.tensor([0.0, 1.0]), 2).tolist() == [1, 0]
    assert focal_gradient(torch.tensor([0.25]), 0).tolist() == [0.75]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": -1}, "gamma is -1; it must be at least 0"),
        ({"alpha": 1.5}, r"alpha is 1.5; it must be in \[0, 1\] or None"),
        ({"reduction": "max"}, "reduction is 'max'; it must be one of none, sum, mean"),
        ({"targets": torch.zeros(4)}, r"targets has the shape \(4,\); it must be that of logits"),
    ],
)
def test_settings_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        focal_loss(torch.zeros(3), **{"targets": torch.zeros(3), **options})
    if "gamma" in options:
        with pytest.raises(ValueError, match=message):
            focal_gradient(torch.zeros(3), **options)
