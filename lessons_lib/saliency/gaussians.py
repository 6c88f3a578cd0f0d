"""Gaussians with independent coordinates: what latent variables are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DiagonalGaussian:
    """K independent normal variables for each sample of a batch.

    Attributes:
        mean: (B, K).
        log_variance: (B, K), the natural logarithm of σ²; any real number is allowed, which is why networks
            predict it. σ is ``exp(log_variance / 2)``.

    Raises:
        ValueError: if the two differ in shape.
    """

    mean: Tensor
    log_variance: Tensor

    def __post_init__(self) -> None:
        if self.mean.shape != self.log_variance.shape:
            raise ValueError(
                f"log_variance has shape {tuple(self.log_variance.shape)}; it must be that of mean, "
                f"{tuple(self.mean.shape)}"
            )

    @property
    def deviation(self) -> Tensor:
        """σ, (B, K)."""
        return torch.exp(self.log_variance / 2)

    def sample(self, noise: Tensor) -> Tensor:
        """mean + σ · noise: the reparametrisation (Kingma and Welling, 2014, section 2.4).

        Args:
            noise: standard normal, (…, B, K).

        Returns:
            (…, B, K); the gradient reaches mean and log_variance.
        """
        return self.mean + self.deviation * noise

    def kl(self, other: DiagonalGaussian | None = None) -> Tensor:
        """KL(self ‖ other) of each sample, (B,), in nats.

        The closed form, summed over the K coordinates: ½ (log σ₂² − log σ₁² + (σ₁² + (μ₁ − μ₂)²) / σ₂² − 1).

        Args:
            other: of the same shape; ``None`` is N(0, I) (Kingma and Welling, 2014, appendix B).
        """
        mean, log_variance = self.mean, self.log_variance
        if other is not None:
            mean = mean - other.mean
            # of both variances only the ratio matters
            log_variance = log_variance - other.log_variance
            mean = mean * torch.exp(-other.log_variance / 2)
        return 0.5 * (torch.exp(log_variance) + mean**2 - 1 - log_variance).sum(-1)
