"""The trainable systems of chapters 13 and 15: salient objects from colours and depth."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.data import RGBDScenes, nearness
from lessons_lib.training import Preset, Recipe
from lessons_lib.training.recipe import Batch
from lessons_lib.training.state import isolated_random_state

from .consensus import consensus
from .depth_correction import depth_loss, hide_blocks
from .hidden_data import HiddenLabels
from .losses import brightness, smoothness_loss, structure_loss
from .rgbd_measures import depth_measures, map_measures, sample_measures, summarize_curves
from .scene_presets import DILATIONS, VALIDATED_ON, scene_presets
from .ucnet import UCNet, numpy_noise

HIDDEN_ROUNDS = {"drawn": 0, "hidden-once": 1, "hidden": 3}
"""What ``labels`` may be, and how many labels are found by hiding."""

SMALL = {
    "size": 64,
    "variant": "paper",
    "backbone": "small",
    "channels": 24,
    "latent": 4,
    "latent_variant": "released",
    "head": 24,
    "noise": "vector",
    "prior": "learned",
    "dropout": 0.0,
    "correct_depth": True,
    "depth_target": "hidden",
    "median": 5,
    "boundary": 0.0,
    "loss": "entropy",
    "kl_weight": 0.002,
    "annealing_steps": 300,
    "gsnn": 0.0,
    "annotator": "",
    "labels": "drawn",
    "distinct": 0,
    "samples": 16,
    "validation": 200,
}
"""The paper's network, small; its departures are in :class:`RGBDUCNet`."""


class RGBDUCNet(Recipe):
    """UC-Net on rendered scenes whose annotators disagree.

    Options: those of :class:`~lessons_lib.saliency.UCNet`, and

    * ``depth_target``: what DepthCorrectionNet learns from: ``"sensor"`` (the sensor's depth, as published),
      ``"hidden"`` (the same, but blocks of it are hidden from the input, which cannot be copied) or ``"true"`` (known
      for rendered scenes only); ``boundary``: weight of :func:`~lessons_lib.saliency.boundary_iou_loss`;
    * ``loss``: ``"entropy"`` (paper) or ``"structure"`` (released); ``kl_weight``, on a cross-entropy that is a mean
      over pixels; ``gsnn``, weight of the loss with draws from the prior (Sohn, Lee, Yan, 2015, section 4.2; 0.6 in
      the released code, the rest for the posterior's);
    * ``annotator``, to train with one annotator only; ``labels``: ``"drawn"``, or ``"hidden"`` for that annotation and
      three more, found by hiding objects, or ``"hidden-once"`` for one more; ``distinct``: number of scenes, seen
      again and again; 0 = never twice;
    * ``samples`` drawn and ``validation`` scenes at evaluation.
    """

    name = "rgbd-ucnet"
    summary = "salient objects from colours and depth, with UC-Net (chapter 15)"
    score = "neg_energy_distance"
    sizes: ClassVar[Mapping[str, Any]] = {"dilations": DILATIONS, "width": 16, "grid": 2}
    """Of the network's parts, for pictures this small."""
    presets = scene_presets(
        SMALL,
        live_steps=150,
        live={"head": 16, "annealing_steps": 50, "validation": 60},
        full={"head": 32, "latent": 8, "annealing_steps": 1500},
    )

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return UCNet(
            options["variant"],
            latent=options["latent"],
            channels=options["channels"],
            backbone=options["backbone"],
            prior=options["prior"],
            latent_variant=options.get("latent_variant"),
            noise=options.get("noise"),
            correct_depth=options["correct_depth"],
            median=options["median"],
            dropout=options["dropout"],
            head=options.get("head"),
            annealing_steps=options["annealing_steps"],
            **self.sizes,
        )

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        distinct = options["distinct"] or count
        scenes = RGBDScenes(
            distinct, size=options["size"], annotator=options["annotator"] or None, seed=seed
        )
        rounds = HIDDEN_ROUNDS[options["labels"]]
        return HiddenLabels(scenes, count, seed, rounds=rounds) if rounds else scenes

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return RGBDScenes(options["validation"], size=options["size"], seed=VALIDATED_ON)

    def training_terms(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """Saliency with a draw from the posterior, its KL divergence, smoothness, and the depth."""
        image, truth = batch["image"], batch["saliency"]
        depth = nearness(batch["depth"])
        hidden = hide_blocks(depth) if options["depth_target"] == "hidden" else None
        outputs = model(image, depth, truth, seen_depth=hidden, draw_prior=options["gsnn"] > 0)
        share = options["gsnn"] if "prior_logits" in outputs else 0.0
        terms = {"saliency": (1 - share) * self._saliency(outputs["logits"], truth, image, options)}
        if share:
            terms["prior"] = share * self._saliency(outputs["prior_logits"], truth, image, options)
        if "kl" in outputs:
            annealed = _module(model).annealing().to(outputs["kl"].device)
            terms["kl"] = (1 - share) * options["kl_weight"] * annealed * outputs["kl"].mean()
        if "refined" in outputs:
            known = nearness(batch["true_depth"]) if options["depth_target"] == "true" else depth
            found = depth_loss(outputs["refined"], known, image, options["boundary"])
            terms |= {name: 0.3 * value.mean() for name, value in found.items()}
        return terms

    def _saliency(
        self, logits: Tensor, truth: Tensor, image: Tensor, options: Mapping[str, Any]
    ) -> Tensor:
        """Cross-entropy or structure loss, and smoothness with the guide that goes with it: a scalar."""
        logits = logits.float()
        probability = logits.sigmoid()
        if options["loss"] == "structure":
            structure = structure_loss(
                logits, truth, window=max(1, round(31 * options["size"] / 352) // 2 * 2 + 1)
            )
            return (structure + smoothness_loss(probability, truth)).mean()
        entropy = F.binary_cross_entropy_with_logits(logits, truth)
        return entropy + 0.3 * smoothness_loss(probability, brightness(image)).mean()

    def infer(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """``samples`` (N, 1, H, W), their ``mean`` and consensus (``saliency``), and the ``refined`` depth."""
        image = batch["image"]
        depth = nearness(batch["depth"]).to(image.device)
        net = _module(model)
        samples = self.draw(net, image, depth, batch["id"], options).cpu()
        refined = net.refine_depth(image, depth).float().cpu()
        return [
            {
                "samples": samples[:, one],
                "mean": samples[:, one].mean(0),
                "saliency": consensus(samples[:, one]).saliency,
                "refined": refined[one],
            }
            for one in range(len(image))
        ]

    def draw(
        self,
        net: UCNet,
        image: Tensor,
        depth: Tensor,
        ids: Sequence[str],
        options: Mapping[str, Any],
    ) -> Tensor:
        """Samples (N, B, 1, H, W). Latent noise depends on the picture's id only, dropout on those of the batch."""
        count = options["samples"]
        if net.latent:
            shape = (count, *net.noise_shape(image)[1:])
            noise = torch.stack([numpy_noise(shape, zlib.crc32(one.encode())) for one in ids], 1)
            return net.sample(image, depth, noise.to(image.device))
        if options["dropout"]:
            with isolated_random_state(zlib.crc32("".join(ids).encode())):
                return net.sample_dropout(image, depth, count)
        return net.sample(image, depth, image.new_zeros(1)).expand(count, -1, -1, -1, -1)

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Energy distance and best of N; MAE, S, F, E of the consensus, the mean and one sample; depth errors."""
        majority = sample["majority"]
        return {
            **sample_measures(prediction["samples"], sample["annotations"]),
            **map_measures(prediction["saliency"], majority),
            **map_measures(prediction["mean"], majority, "mean_"),
            **map_measures(prediction["samples"][0], majority, "single_"),
            **depth_measures(prediction["refined"], sample),
        }

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        summary = summarize_curves(rows)
        # the best checkpoint has the largest score, and the smallest distance
        return summary | {"neg_energy_distance": -summary["energy_distance"]}


def _module(model: nn.Module) -> UCNet:
    """The network itself, also where several processes have wrapped it."""
    inner = getattr(model, "module", model)
    assert isinstance(inner, UCNet)
    return inner


def small_presets(base: Mapping[str, Preset], **options: Any) -> dict[str, Preset]:
    """UC-Net's presets with other options: the systems it is compared with see the same scenes as long."""
    return {
        name: dataclasses.replace(preset, options={**preset.options, **options})
        for name, preset in base.items()
    }


class RGBDDeterministic(RGBDUCNet):
    """The same network without a latent variable: one answer."""

    name = "rgbd-deterministic"
    summary = "salient objects from colours and depth, one answer (chapter 15)"
    presets = small_presets(RGBDUCNet.presets, prior="none")


class RGBDMonteCarloDropout(RGBDUCNet):
    """The deterministic network with dropout, left on at test time (Gal and Ghahramani, 2016)."""

    name = "rgbd-mcdropout"
    summary = "salient objects from colours and depth, Monte-Carlo dropout (chapter 15)"
    presets = small_presets(RGBDUCNet.presets, prior="none", dropout=0.3)


class RGBDVAE(RGBDUCNet):
    """UC-Net with N(0, I) for a prior: the paper's ablation "VAE"."""

    name = "rgbd-vae"
    summary = "salient objects from colours and depth, a prior that sees nothing (chapter 15)"
    presets = small_presets(RGBDUCNet.presets, prior="standard")
