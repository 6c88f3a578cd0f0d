"""An autoencoder and a variational one, for pictures of 8 x 8 px."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from lessons_lib.data.arguments import check_least
from lessons_lib.saliency.gaussians import DiagonalGaussian

SIZE = (1, 8, 8)
PIXELS = 64


def dense(*sizes: int) -> nn.Sequential:
    """Linear layers of these sizes with ReLUs between them; none after the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class AutoEncoder(nn.Module):
    """A picture through K numbers and back (Hinton and Salakhutdinov, 2006).

    Args:
        latent: K, numbers that the code has.
        hidden: units of each of the two hidden layers, in the encoder and in the decoder.

    ``forward(image (B, 1, 8, 8))`` → ``{"logits": (B, 1, 8, 8), "code": (B, K)}``.

    Raises:
        ValueError: for sizes below 1, and for pictures or codes of another size.
    """

    def __init__(self, latent: int = 2, hidden: int = 64) -> None:
        super().__init__()
        check_least(latent=(latent, 1), hidden=(hidden, 1))
        self.latent = latent
        self.encoder = dense(PIXELS, hidden, hidden, self._code_size())
        self.decoder = dense(latent, hidden, hidden, PIXELS)

    def _code_size(self) -> int:
        return self.latent

    def encode(self, image: Tensor) -> Tensor:
        """The code (B, K) of pictures (B, 1, 8, 8)."""
        return self.encoder(flat_picture("image", image))

    def decode(self, code: Tensor) -> Tensor:
        """Pictures as logits (…, 1, 8, 8) for codes (…, K); ``sigmoid`` makes them ink in [0, 1]."""
        check_last("code", code, self.latent)
        return self.decoder(code).unflatten(-1, SIZE)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        code = self.encode(image)
        return {"logits": self.decode(code), "code": code}


class VAE(AutoEncoder):
    """A variational autoencoder: the encoder answers with a distribution, and the prior is N(0, I).

    Kingma and Welling, 2014; Rezende, Mohamed and Wierstra, 2014. The decoder is that of
    :class:`AutoEncoder`; the encoder's last layer has twice the size, K means and K log-variances.

    Args:
        latent: K, dimensions of z.
        hidden: units of each hidden layer.

    ``forward(image (B, 1, 8, 8), noise (…, B, K))`` → ``{"logits": (…, B, 1, 8, 8), "mean": (B, K), "log_variance":
    (B, K)}``. ``noise`` is standard normal; without it, it is drawn from torch's global generator, once for each
    picture.

    Raises:
        ValueError: for sizes below 1, and for pictures, noise or codes of another size.
    """

    def _code_size(self) -> int:
        return 2 * self.latent

    def encode(self, image: Tensor) -> DiagonalGaussian:  # type: ignore[override]
        """The posterior q(z given image), of pictures (B, 1, 8, 8)."""
        return split_gaussian(self.encoder(flat_picture("image", image)))

    def forward(self, image: Tensor, noise: Tensor | None = None) -> dict[str, Tensor]:
        posterior = self.encode(image)
        code = posterior.sample(noise_like(posterior, noise))
        return {
            "logits": self.decode(code),
            "mean": posterior.mean,
            "log_variance": posterior.log_variance,
        }


def split_gaussian(values: Tensor) -> DiagonalGaussian:
    """(B, 2K) as K means and K log-variances."""
    mean, log_variance = values.chunk(2, dim=-1)
    return DiagonalGaussian(mean, log_variance)


def noise_like(gaussian: DiagonalGaussian, noise: Tensor | None) -> Tensor:
    """The noise if there is some and it fits, (…, B, K), else new noise (B, K).

    Raises:
        ValueError: for noise of another size.
    """
    if noise is None:
        return torch.randn_like(gaussian.mean)
    if noise.shape[-2:] != gaussian.mean.shape:
        raise ValueError(
            f"noise has shape {tuple(noise.shape)}; it must end in {tuple(gaussian.mean.shape)}"
        )
    return noise


def flat_picture(name: str, picture: Tensor) -> Tensor:
    """Pictures (B, 1, 8, 8) as rows (B, 64).

    Raises:
        ValueError: for another shape, naming the argument.
    """
    if picture.ndim != 4 or picture.shape[1:] != SIZE:
        raise ValueError(f"{name} has shape {tuple(picture.shape)}; it must be (B, 1, 8, 8)")
    return picture.flatten(1)


def check_last(name: str, values: Tensor, size: int) -> None:
    """ValueError unless the last axis of ``values`` has that size."""
    if values.ndim < 1 or values.shape[-1] != size:
        raise ValueError(f"{name} has shape {tuple(values.shape)}; its last axis must be {size}")
