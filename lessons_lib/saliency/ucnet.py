"""UC-Net: a saliency map for every draw of a latent variable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from .annealing import KLWarmup
from .dense_aspp import DILATIONS
from .depth_correction import DepthCorrectionNet
from .expanding import PredictionNet, expand_features
from .gaussians import DiagonalGaussian
from .latent_nets import PosteriorNet, PriorNet, Variant, check_variant
from .saliency_net import Encoder, SaliencyNet, TopDown, enlarge

Prior = Literal["learned", "standard", "none"]
PRIORS = ("learned", "standard", "none")


class UCNet(nn.Module):
    """Salient objects from colours and depth, with a latent variable for what annotators disagree about.

    Two descriptions were published, and they are two networks.

    ``"paper"`` (Zhang et al., CVPR 2020): a DepthCorrectionNet refines the depth; SaliencyNet (VGG16) makes M
    channels of features from the image and the refined depth; a latent vector of K = 8 coordinates, expanded to a map
    with noise of its own for each pixel, joins them *behind* the network, and PredictionNet decides.

    ``"released"`` (the authors' code, on the way to their journal version): no correction; a latent vector of K = 3
    coordinates joins the image and the depth *before* the network (ResNet-50, top-down with channel attention); a
    second decoder on the same encoder predicts the depth, in training only.

    The departures of the parts are stated where they are.

    Args:
        variant: ``"paper"`` or ``"released"``; the defaults below follow it.
        latent: K; ``None`` makes it 8 (paper) or 3 (released).
        channels: M.
        backbone: ``"vgg16"``, ``"resnet50"`` or ``"small"``.
        prior: ``"learned"`` is the CVAE; ``"standard"`` is N(0, I) instead of PriorNet (the paper's ablation "VAE");
            ``"none"`` has no latent variable at all: a deterministic network.
        noise: ``"pixel"`` or ``"vector"``: see :func:`~lessons_lib.saliency.expand_features`. The released network
            takes a vector only.
        correct_depth: whether there is a DepthCorrectionNet (paper) or a depth decoder (released).
        median: of :class:`~lessons_lib.saliency.DepthCorrectionNet`.
        dilations, dropout: of :class:`~lessons_lib.saliency.DenseASPP`. Dropout at test time makes samples where
            there is no latent variable (Gal and Ghahramani, 2016).
        latent_variant: of PriorNet and PosteriorNet, where it is not that of the rest.
        width, grid: of the released latent networks.
        head: channels of PredictionNet's hidden layers; ``None`` takes the paper's K and K / 2.
        annealing_steps: of :class:`~lessons_lib.saliency.KLWarmup`, which ``annealing`` holds.

    Raises:
        ValueError: for unknown names, ``latent`` below 1, or a released network with noise for each pixel.
    """

    def __init__(
        self,
        variant: Variant = "paper",
        *,
        latent: int | None = None,
        channels: int = 32,
        backbone: str | None = None,
        prior: Prior = "learned",
        noise: Literal["pixel", "vector"] | None = None,
        correct_depth: bool = True,
        median: int = 5,
        dilations: Sequence[int] = DILATIONS,
        dropout: float = 0.0,
        latent_variant: Variant | None = None,
        width: int = 32,
        grid: int = 11,
        head: int | None = None,
        annealing_steps: int = 0,
    ) -> None:
        super().__init__()
        check_variant(variant)
        if prior not in PRIORS:
            raise ValueError(f"prior is {prior!r}; it must be one of {', '.join(PRIORS)}")
        if latent is not None and latent < 1:
            raise ValueError(
                f'latent is {latent}; it must be at least 1, or None; prior="none" has no latent variable'
            )
        paper = variant == "paper"
        self.variant = variant
        self.latent = 0 if prior == "none" else (latent or (8 if paper else 3))
        self.noise = noise or ("pixel" if paper else "vector")
        if self.noise not in ("pixel", "vector") or (not paper and self.noise == "pixel"):
            raise ValueError(
                f'noise is {noise!r}; it must be "pixel" or "vector", and "vector" in the released network'
            )
        backbone = backbone or ("vgg16" if paper else "resnet50")
        self.prior_net = (
            PriorNet(self.latent, latent_variant or variant, width=width, grid=grid)
            if prior == "learned"
            else None
        )
        self.posterior_net = (
            PosteriorNet(self.latent, latent_variant or variant, width=width, grid=grid)
            if self.latent
            else None
        )
        self.depth_net = (
            DepthCorrectionNet(backbone, channels, median=median)
            if paper and correct_depth
            else None
        )
        self.saliency_net = SaliencyNet(
            4 + (0 if paper else self.latent),
            variant,
            backbone=backbone,
            channels=channels,
            dilations=dilations,
            dropout=dropout,
            head=not (paper and self.latent),
        )
        self.prediction_net = (
            PredictionNet(channels, self.latent, head) if paper and self.latent else None
        )
        self.depth_decoder: nn.Module | None = None
        if not paper and correct_depth:
            widths = self.saliency_net.encoder.channels
            self.depth_decoder = TopDown(widths, channels, dilations, dropout)
            self.depth_head = nn.Conv2d(channels, 1, 1)
        self.annealing = KLWarmup(annealing_steps)

    def load_imagenet(self, state: Mapping[str, Tensor]) -> None:
        """Gives every encoder torchvision's weights; see :meth:`Encoder.load_imagenet`."""
        for module in self.modules():
            if isinstance(module, Encoder):
                module.load_imagenet(state)

    def forward(
        self,
        image: Tensor,
        depth: Tensor,
        saliency: Tensor | None = None,
        *,
        seen_depth: Tensor | None = None,
        draw_prior: bool = False,
    ) -> dict[str, Tensor]:
        """What training needs (with ``saliency``), or one sample from the prior (without).

        Args:
            image: (B, 3, H, W) in [0, 1].
            depth: relative, 1 = nearest, 0 = not measured, (B, 1, H, W).
            saliency: an annotation (B, 1, H, W).
            seen_depth: what DepthCorrectionNet is shown instead of ``depth``, for training with parts hidden.
            draw_prior: with ``saliency``, predict with a draw from the prior as well.

        Returns:
            ``logits`` (B, 1, H, W) with a draw from the posterior, or from the prior without ``saliency``; with it also
            ``kl`` (B,) and, if asked for, ``prior_logits``; and ``refined`` (B, 1, H, W), the depth, where the network
            predicts one. Noise comes from torch's global generator.
        """
        outputs: dict[str, Tensor] = {}
        used = depth if seen_depth is None else seen_depth
        if self.depth_net is not None:
            outputs["refined"] = used = self.depth_net(image, used)
        maps = self._prepare(image, used)
        prior = self.prior(image, depth)
        if saliency is None or self.posterior_net is None:
            return outputs | self._predict(maps, prior)
        posterior = self.posterior_net(image, depth, saliency)
        outputs |= self._predict(maps, posterior)
        if draw_prior:
            outputs["prior_logits"] = self._predict(maps, prior)["logits"]
        return outputs | {"kl": posterior.kl(prior)}

    def prior(self, image: Tensor, depth: Tensor) -> DiagonalGaussian | None:
        """p(z | x); N(0, I) for ``prior="standard"``, ``None`` for ``prior="none"``."""
        if self.prior_net is not None:
            return self.prior_net(image, depth)
        if not self.latent:
            return None
        zeros = image.new_zeros(len(image), self.latent)
        return DiagonalGaussian(zeros, zeros)

    def refine_depth(self, image: Tensor, depth: Tensor) -> Tensor:
        """The depth as SaliencyNet sees it, (B, 1, H, W)."""
        return depth if self.depth_net is None else self.depth_net(image, depth)

    def sample(self, image: Tensor, depth: Tensor, noise: Tensor) -> Tensor:
        """Saliency maps for given noise.

        Args:
            image: (B, 3, H, W).
            depth: (B, 1, H, W), as in :meth:`forward`.
            noise: N draws, each of :meth:`noise_shape`: (N, B, K) or (N, B, K, h, w).

        Returns:
            Probabilities (N, B, 1, H, W). A deterministic network gives N equal maps.
        """
        maps = self._prepare(image, self.refine_depth(image, depth))
        prior = self.prior(image, depth)
        return torch.stack(
            [self._predict(maps, prior, one)["logits"].float().sigmoid() for one in noise]
        )

    def sample_dropout(self, image: Tensor, depth: Tensor, count: int) -> Tensor:
        """``count`` maps of a deterministic network with its dropout on, all else as in evaluation.

        (count, B, 1, H, W). Draws from torch's global generator.
        """
        with dropout_on(self):
            return torch.stack(
                [self(image, depth)["logits"].float().sigmoid() for _ in range(count)]
            )

    def noise_shape(self, image: Tensor) -> tuple[int, ...]:
        """Shape of the noise of one draw for such a batch of images: (B, K), or (B, K, h, w) for each pixel."""
        batch, _, height, width = image.shape
        if self.noise == "vector":
            return batch, self.latent
        stride = self.saliency_net.encoder.strides[0]
        return batch, self.latent, -(-height // stride), -(-width // stride)

    def _prepare(self, image: Tensor, depth: Tensor) -> tuple[Tensor, Tensor | None]:
        """The input, and the features where they do not depend on the latent variable."""
        x = torch.cat([image, depth], 1)
        return x, self.saliency_net.features(x) if self.variant == "paper" else None

    def _predict(
        self,
        maps: tuple[Tensor, Tensor | None],
        gaussian: DiagonalGaussian | None,
        noise: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """``logits`` for one draw, and ``refined`` from the released network's depth decoder in training."""
        x, features = maps
        size = x.shape[-2:]
        outputs: dict[str, Tensor] = {}
        if noise is None:
            noise = torch.randn(self.noise_shape(x), device=x.device)
        if features is not None:
            if gaussian is None or self.prediction_net is None:
                logits = self.saliency_net.head(features)
            else:
                z = expand_features(gaussian, noise, (features.shape[-2], features.shape[-1]))
                logits = self.prediction_net(features, z)
        else:
            if gaussian is not None:
                x = torch.cat([x, expand_features(gaussian, noise, (size[0], size[1]))], 1)
            encoded = self.saliency_net.encoder(x)
            logits = self.saliency_net.head(self.saliency_net.decoder(encoded))
            if self.training and self.depth_decoder is not None:
                decoded = self.depth_head(self.depth_decoder(encoded))
                outputs["refined"] = enlarge(decoded, size).sigmoid()
        return outputs | {"logits": enlarge(logits, size)}


@contextmanager
def dropout_on(model: nn.Module) -> Iterator[None]:
    """Dropout as in training, all else as in evaluation: Monte-Carlo dropout (Gal and Ghahramani, 2016).

    Whatever mode the model is in: afterwards every module has its own again.
    """
    before = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in before:
            module.training = isinstance(module, nn.Dropout2d)
        yield
    finally:
        for module, mode in before:
            module.training = mode


def numpy_noise(shape: Sequence[int], *key: int) -> Tensor:
    """Standard normal numbers that depend on ``key`` and on nothing else, float32, on every machine."""
    drawn = np.random.default_rng(key).standard_normal(tuple(shape))
    return torch.from_numpy(drawn.astype(np.float32))
