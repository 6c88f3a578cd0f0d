"""Gaussians with independent coordinates: against torch.distributions, and by finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from lessons_lib.saliency import DiagonalGaussian


def draw(seed: int, shape: tuple[int, ...] = (5, 3), spread: float = 1.0) -> DiagonalGaussian:
    rng = np.random.default_rng(seed)
    mean, log_variance = (torch.from_numpy(rng.normal(0, spread, shape)) for _ in range(2))
    return DiagonalGaussian(mean, log_variance)


def theirs(gaussian: DiagonalGaussian) -> Independent:
    return Independent(Normal(gaussian.mean, torch.exp(gaussian.log_variance / 2)), 1)


@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0])
@pytest.mark.parametrize("shape", [(5, 3), (1, 1), (4, 64)])
def test_kl_is_that_of_torch(shape: tuple[int, ...], spread: float) -> None:
    first, second = draw(0, shape, spread), draw(1, shape, spread)
    torch.testing.assert_close(first.kl(second), kl_divergence(theirs(first), theirs(second)))
    zeros = torch.zeros(shape, dtype=torch.float64)
    standard = DiagonalGaussian(zeros, zeros)
    torch.testing.assert_close(first.kl(), kl_divergence(theirs(first), theirs(standard)))
    torch.testing.assert_close(first.kl(standard), first.kl())
    assert first.kl(first).abs().max() < 1e-12


def test_the_gradient_of_kl() -> None:
    first, second = draw(2), draw(3)
    given = [
        v.clone().requires_grad_()
        for v in (first.mean, first.log_variance, second.mean, second.log_variance)
    ]

    def divergence(*v: torch.Tensor) -> torch.Tensor:
        return DiagonalGaussian(v[0], v[1]).kl(DiagonalGaussian(v[2], v[3]))

    assert torch.autograd.gradcheck(divergence, given)
    assert torch.autograd.gradcheck(lambda m, v: DiagonalGaussian(m, v).kl(), given[:2])


def test_samples_are_normal_and_carry_the_gradient() -> None:
    gaussian = draw(4, (2, 3))
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((40_000, 2, 3)))
    drawn = gaussian.sample(noise)
    torch.testing.assert_close(drawn.mean(0), gaussian.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(drawn.var(0).log(), gaussian.log_variance, atol=0.05, rtol=0)
    leaves = [v.clone().requires_grad_() for v in (gaussian.mean, gaussian.log_variance)]
    DiagonalGaussian(*leaves).sample(noise[0]).sum().backward()
    torch.testing.assert_close(leaves[0].grad, torch.ones(2, 3, dtype=torch.float64))
    torch.testing.assert_close(leaves[1].grad, (drawn[0] - gaussian.mean) / 2)


def test_an_empty_batch() -> None:
    empty = draw(0, (0, 2))
    assert empty.kl().shape == empty.kl(empty).shape == (0,)
    assert empty.sample(torch.zeros(4, 0, 2)).shape == (4, 0, 2)


def test_extreme_variances_stay_finite() -> None:
    far = DiagonalGaussian(torch.zeros(1, 1), torch.tensor([[-60.0]]))
    assert far.kl() == pytest.approx(29.5, rel=1e-6)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"log_variance has shape \(2, 2\); it must be that of"):
        DiagonalGaussian(torch.zeros(2, 3), torch.zeros(2, 2))
