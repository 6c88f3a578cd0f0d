"""Many answers to one question: a conditional variational autoencoder, and a network with one answer."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from lessons_lib.data.arguments import check_least
from lessons_lib.saliency.autoencoder import (
    PIXELS,
    SIZE,
    check_last,
    dense,
    flat_picture,
    noise_like,
    split_gaussian,
)
from lessons_lib.saliency.gaussians import DiagonalGaussian


class CVAE(nn.Module):
    """p(target given condition) with a latent variable: Sohn, Lee and Yan, 2015, section 4.

    Three small networks. The *prior network* p(z given x) sees the condition. The *posterior network*
    q(z given x, y) sees the target too, so it exists in training only. The *decoder* p(y given x, z) draws the
    answer. The condition is what is visible of a picture, and a mask that says where that is.

    Args:
        latent: K, dimensions of z.
        hidden: units of each hidden layer.
        prior: ``"learned"``, or ``"standard"``: N(0, I) whatever the condition, as in Kingma and others, 2014.

    ``forward(condition (B, 2, 8, 8), target (B, 1, 8, 8), noise (…, B, K))`` → ``{"logits": (…, B, 1, 8, 8)}`` drawn
    with the posterior, and ``"mean"``, ``"log_variance"`` of the posterior, ``"prior_mean"``, ``"prior_log_variance"``,
    each (B, K). Without noise, it is drawn from torch's global generator.

    Raises:
        ValueError: for sizes below 1, an unknown prior, and tensors of another size.
    """

    def __init__(
        self,
        latent: int = 2,
        hidden: int = 64,
        prior: Literal["learned", "standard"] = "learned",
    ) -> None:
        super().__init__()
        check_least(latent=(latent, 1), hidden=(hidden, 1))
        if prior not in ("learned", "standard"):
            raise ValueError(f'prior is {prior!r}; it must be "learned" or "standard"')
        self.latent = latent
        self.prior_network = dense(2 * PIXELS, hidden, 2 * latent) if prior == "learned" else None
        self.posterior_network = dense(3 * PIXELS, hidden, 2 * latent)
        self.decoder = dense(2 * PIXELS + latent, hidden, hidden, PIXELS)

    def prior(self, condition: Tensor) -> DiagonalGaussian:
        """p(z given condition): all that is known of z at test time."""
        rows = flat_condition(condition)
        if self.prior_network is None:
            zeros = rows.new_zeros(len(rows), self.latent)
            return DiagonalGaussian(zeros, zeros)
        return split_gaussian(self.prior_network(rows))

    def posterior(self, condition: Tensor, target: Tensor) -> DiagonalGaussian:
        """q(z given condition and target)."""
        rows = torch.cat([flat_condition(condition), flat_picture("target", target)], 1)
        return split_gaussian(self.posterior_network(rows))

    def decode(self, condition: Tensor, code: Tensor) -> Tensor:
        """Logits (…, B, 1, 8, 8) for conditions (B, 2, 8, 8) and codes (…, B, K)."""
        check_last("code", code, self.latent)
        rows = flat_condition(condition)
        rows = rows.expand(*code.shape[:-1], -1)
        return self.decoder(torch.cat([rows, code], -1)).unflatten(-1, SIZE)

    def sample(self, condition: Tensor, noise: Tensor) -> Tensor:
        """Answers, ink in [0, 1], (N, B, 1, 8, 8), with z from the prior.

        Args:
            condition: (B, 2, 8, 8).
            noise: standard normal (N, B, K), one answer each.
        """
        prior = self.prior(condition)
        return self.decode(condition, prior.sample(noise_like(prior, noise))).sigmoid()

    def forward(
        self, condition: Tensor, target: Tensor, noise: Tensor | None = None
    ) -> dict[str, Tensor]:
        prior, posterior = self.prior(condition), self.posterior(condition, target)
        code = posterior.sample(noise_like(posterior, noise))
        return {
            "logits": self.decode(condition, code),
            "mean": posterior.mean,
            "log_variance": posterior.log_variance,
            "prior_mean": prior.mean,
            "prior_log_variance": prior.log_variance,
        }


class Completer(nn.Module):
    """One answer to each question: the decoder of :class:`CVAE` without z.

    Args:
        hidden: units of each of the two hidden layers.

    ``forward(condition (B, 2, 8, 8))`` → ``{"logits": (B, 1, 8, 8)}``.

    Raises:
        ValueError: for a size below 1, and for a condition of another shape.
    """

    def __init__(self, hidden: int = 64) -> None:
        super().__init__()
        check_least(hidden=(hidden, 1))
        self.decoder = dense(2 * PIXELS, hidden, hidden, PIXELS)

    def forward(self, condition: Tensor) -> dict[str, Tensor]:
        return {"logits": self.decoder(flat_condition(condition)).unflatten(-1, SIZE)}


def flat_condition(condition: Tensor) -> Tensor:
    """Conditions (B, 2, 8, 8), the visible part and its mask, as rows (B, 128)."""
    if condition.ndim != 4 or condition.shape[1:] != (2, *SIZE[1:]):
        raise ValueError(
            f"condition has shape {tuple(condition.shape)}; it must be (B, 2, 8, 8): what is visible, "
            "and the mask of it"
        )
    return condition.flatten(1)
