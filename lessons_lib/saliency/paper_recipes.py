"""UC-Net on the data sets of its paper. Nobody here has run it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset

from lessons_lib.backbones import imagenet_weights
from lessons_lib.data import Augmented, RGBDSaliency
from lessons_lib.data.depth import FARTHEST, NEAREST
from lessons_lib.data.transforms import Sample, resize
from lessons_lib.training import Preset
from lessons_lib.training.recipe import Batch

from .rgbd_measures import map_measures, summarize_curves
from .rgbd_recipes import RGBDUCNet
from .ucnet import UCNet

TRAINED_ON = ("NJU2K", "NLPR")
PAPER = {
    "size": 352,
    "variant": "paper",
    "backbone": "vgg16",
    "pretrained": True,
    "channels": 32,
    "latent": 8,
    "prior": "learned",
    "dropout": 0.0,
    "correct_depth": True,
    "depth_target": "sensor",
    "median": 1,
    "boundary": 1.0,
    "loss": "entropy",
    "kl_weight": 0.02,
    "annealing_steps": 0,
    "gsnn": 0.0,
    "samples": 5,
    "test": "NJU2K",
}


class NJU2KUCNet(RGBDUCNet):
    """UC-Net trained on 1,485 pictures of NJU2K and 700 of NLPR, as both of its descriptions are.

    Preset ``paper`` is Zhang et al. (CVPR 2020), sections 3 and 4: VGG16 with torchvision's weights, K = 8,
    M = 32, 352 x 352 px, batches of 6 for 30 rounds, Adam at 1e-4; cross-entropy and KL divergence, and 0.3
    of the depth's and of the smoothness term. Preset ``released`` has the settings of the authors' code,
    where it does what its text says: ResNet-50, K = 3, the latent variable at the input, structure loss, 100
    rounds of batches of 10 at 5e-5, a KL term that grows over the whole training, and 0.6 of the loss with draws
    from the prior. (The code's KL weight of 10 stands beside structure losses that are summed over a batch of 10; of
    losses that are means over the batch it is a weight of 1.)

    Departures. One annotation a picture, as in the released code: the paper adds three label sets that another
    published network made, which is not at hand. The rate falls with a power of 0.9 (paper: times 0.9 each round, to
    4 % at the end) or stays (the code means to take a tenth off it after 80 rounds). AdamW without decay is Adam; its
    β1 is 0.9, in the code 0.5. No sum of squared parameters is added. Each loss is a mean over pixels; the paper has
    a KL term of weight 1 and does not say whether its cross-entropy is a mean or a sum. With a mean a weight of 1
    lets the posterior collapse on our scenes, so ``paper`` has 0.02, which does not. The depth's term is the paper's
    in both presets. Labels and depth are scaled by nearest neighbour.

    Options: as in :class:`~lessons_lib.saliency.rgbd_recipes.RGBDUCNet`; ``pretrained``; ``test``, a set of
    :class:`~lessons_lib.data.RGBDSaliency` to measure on. Measures are those of the papers, at the picture's own
    size: of the consensus of ``samples``, and with ``single_`` of one sample.
    """

    name = "nju2k-ucnet"
    summary = "salient objects of NJU2K with UC-Net (chapter 15)"
    score = "S"
    data_set: ClassVar[str | None] = "rgbd-saliency"
    sizes: ClassVar[Mapping[str, Any]] = {}  # the published ones
    presets = {  # noqa: RUF012
        "paper": Preset(
            summary="VGG16, 352 px, 30 rounds of 2,185 pictures (paper: S .897, mean F .886, E .930, MAE .043)",
            steps=30 * 2185 // 6,
            batch_size=6,
            learning_rate=1e-4,
            weight_decay=0.0,
            schedule="poly",
            checkpoint_every=1000,
            workers=8,
            options=PAPER,
        ),
    }
    presets["released"] = dataclasses.replace(
        presets["paper"],
        summary="ResNet-50, 352 px, 100 rounds of 2,185 pictures, as the authors' code means to",
        steps=100 * 2185 // 10,
        batch_size=10,
        learning_rate=5e-5,
        schedule="constant",
        options={
            **PAPER,
            "variant": "released",
            "backbone": "resnet50",
            "latent": 3,
            "boundary": 0.0,
            "loss": "structure",
            "kl_weight": 1.0,
            "annealing_steps": 100 * 2185 // 10,
            "gsnn": 0.6,
        },
    )

    def initialize(self, model: nn.Module, options: Mapping[str, Any]) -> None:
        if options["pretrained"]:
            assert isinstance(model, UCNet)
            model.load_imagenet(imagenet_weights(options["backbone"]))

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        both: Dataset[Any] = ConcatDataset([RGBDSaliency(name, "train") for name in TRAINED_ON])
        return SquarePictures(both, options["size"], count, seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return RGBDSaliency(options["test"], "test")

    def training_terms(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        return super().training_terms(model, {**batch, "depth": metres(batch["depth"])}, options)

    def infer(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """Predicts at the size of the training pictures; the maps are scaled back to the picture's own."""
        image = batch["image"]
        size = (options["size"], options["size"])
        small = F.interpolate(image, size, mode="bilinear", antialias=True)
        near = F.interpolate(batch["depth"], size, mode="nearest-exact").to(image.device)
        scaled = {**batch, "image": small, "depth": metres(near)}
        return [
            {
                name: F.interpolate(
                    maps.reshape(-1, 1, *size), image.shape[-2:], mode="bilinear"
                ).reshape(*maps.shape[:-2], *image.shape[-2:])
                for name, maps in prediction.items()
            }
            for prediction in super().infer(model, scaled, options)
        ]

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """MAE, S, and the curves of F and E, of the consensus and of one sample."""
        truth = sample["saliency"]
        single = prediction["samples"][0]
        return map_measures(prediction["saliency"], truth) | map_measures(single, truth, "single_")

    def summarize(self, rows: Any) -> dict[str, float]:
        return summarize_curves(rows)


class SquarePictures(Dataset[dict[str, Any]]):
    """Pictures with depth and saliency, each scaled to a square; in rounds, as those of ``Augmented``.

    Args:
        pictures: samples with ``image``, ``depth``, ``saliency`` and ``id``.
        size: of a side, px.
        length: number of samples.
        seed: of the order.
    """

    def __init__(self, pictures: Dataset[Any], size: int, length: int, seed: int) -> None:
        self.size = size
        self.scaled = Augmented(_Labelled(pictures), self._scale, length=length, seed=seed)

    def _scale(self, sample: Sample) -> Sample:
        return {name: resize(value, (self.size, self.size)) for name, value in sample.items()}

    def __len__(self) -> int:
        return len(self.scaled)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = dict(self.scaled[index])
        saliency = sample.pop("semantic")[None].float()
        return {**sample, "saliency": saliency}


class _Labelled(Dataset[dict[str, Any]]):
    """The saliency as classes 0 and 1, which is what :class:`~lessons_lib.data.Augmented` knows how to scale."""

    def __init__(self, pictures: Dataset[Any]) -> None:
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.pictures)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = dict(self.pictures[index])
        semantic = sample.pop("saliency")[0].long()
        return {**sample, "semantic": semantic}


def metres(near: Tensor) -> Tensor:
    """A depth whose :func:`~lessons_lib.data.nearness` is ``near``: the sets have no unit, the recipe takes metres."""
    return (FARTHEST - near * (FARTHEST - NEAREST)) * (near > 0)
