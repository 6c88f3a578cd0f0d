"""How probable a picture is under what a decoder says of its pixels."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor

Likelihood = Literal["bernoulli", "binomial", "gaussian"]

INKS = 16
"""Values of scikit-learn's digits above 0: a pixel counts the ink in 4 x 4 px of the original."""


def log_likelihood(
    logits: Tensor,
    image: Tensor,
    likelihood: Likelihood = "gaussian",
    *,
    deviation: float = 0.2,
    where: Tensor | None = None,
) -> Tensor:
    """log p(image given logits) of each picture, in nats: the reconstruction term of the ELBO.

    The decoder's answer for a pixel is ``sigmoid(logit)``, between 0 (no ink) and 1. For all three
    likelihoods the best *single* answer to many pictures is their mean.

    Args:
        logits: (…, C, H, W).
        image: values in [0, 1], of a shape that goes with it.
        likelihood: ``"gaussian"``: squared errors over 2σ², with σ = ``deviation``. ``"bernoulli"``: minus the
            cross-entropy, as most code for gray digits has it, but a probability only where pixels are 0 or 1.
            ``"binomial"``: a pixel is a count of 16 inks, as it is in these digits, each there with the
            decoder's probability: 16 times the Bernoulli and a constant.
        deviation: σ of the Gaussian, above 0: how far off a pixel may well be.
        where: the pixels that count, 1 or 0, of a shape that goes with the others; ``None`` counts all.

    Returns:
        (…).

    Raises:
        ValueError: for an unknown likelihood, or a deviation that is not above 0.

    Kingma and Welling, 2014, appendix C, has Bernoulli and Gaussian decoders.
    """
    if likelihood not in get_args(Likelihood):
        raise ValueError(f"likelihood is {likelihood!r}; it must be one of {get_args(Likelihood)}")
    if not deviation > 0:
        raise ValueError(f"deviation is {deviation}; it must be above 0")
    image = image.expand_as(logits)
    if likelihood == "gaussian":
        error = (logits.sigmoid() - image) / deviation
        pixels = -0.5 * error.square() - math.log(deviation * math.sqrt(2 * math.pi))
    else:
        pixels = -F.binary_cross_entropy_with_logits(logits, image, reduction="none")
    if likelihood == "binomial":
        count = INKS * image
        ways = math.lgamma(INKS + 1) - (count + 1).lgamma() - (INKS - count + 1).lgamma()
        pixels = INKS * pixels + ways
    return (pixels if where is None else pixels * where).sum((-3, -2, -1))
