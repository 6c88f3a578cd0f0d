"""The systems of chapters 11 and 12 on the data sets of their papers. Nobody here has run them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.backbones import imagenet_weights
from lessons_lib.data import (
    CVPPP,
    Augmented,
    CityscapesInstances,
    object_crop,
    random_scale_crop,
)
from lessons_lib.data.imagenet import ImageNetScaled, imagenet_scaled
from lessons_lib.data.picture_statistics import PictureStatistics
from lessons_lib.data.transforms import Sample, resize
from lessons_lib.embedding.erfnet import SpatialERFNet
from lessons_lib.embedding.loss import discriminative_loss
from lessons_lib.embedding.metrics import count_difference, symmetric_best_dice
from lessons_lib.embedding.network import EmbeddingUNet
from lessons_lib.embedding.pretrained_network import EmbeddingPSPNet
from lessons_lib.embedding.recipes import LOSS, DiscriminativeRecipe
from lessons_lib.embedding.spatial_loss import CHANNELS
from lessons_lib.embedding.spatial_recipes import SpatialRecipe
from lessons_lib.embedding.street_measures import street_precision, street_row
from lessons_lib.training import Preset
from lessons_lib.training.recipe import Batch


class CityscapesSpatial(SpatialRecipe):
    """People and vehicles in streets with spatial embeddings, as Neven et al. (2019) train and test.

    Settings are those of the authors' code, with the paper's best variant, a learned centre and an elliptic σ,
    which is not the code's default. The eight classes have a seed map each, as an author describes it (issue
    5 of the code's repository). Departures: weight decay is AdamW's; crops are drawn as
    :func:`~lessons_lib.data.object_crop` says and mirrored, groups of objects are left out of the loss, and one
    foreground weight serves all classes. The second stage is not here: on crops of 1024 x 1024 px for 50 more
    rounds by summaries of the paper, 20 by an author (issue 8).
    """

    name = "cityscapes-spatial"
    summary = "people and vehicles of Cityscapes with spatial embeddings (chapter 12)"
    score = "AP"
    data_set = "cityscapes"
    channels = 3
    classes = CityscapesInstances.CLASSES
    presets = {  # noqa: RUF012
        "paper": Preset(
            summary="ERFNet on 512 x 512 px crops, 200 times 3,000 of them (paper: 27.6 AP on the test part)",
            steps=37_500,
            batch_size=16,
            learning_rate=5e-4,
            weight_decay=1e-4,
            schedule="poly",
            checkpoint_every=1000,
            workers=8,
            options={
                "crop": 512,
                "sigma": "two",
                "center": "learned",
                "unit": 1024.0,
                "margin": 6.0,  # of fixed sigma only
                "foreground_weight": 10.0,
                "seed_threshold": 0.9,
                "min_size": 128,
            },
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return SpatialERFNet(3, len(self.classes) - 1, sigma_channels=CHANNELS[options["sigma"]])

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        streets = CityscapesInstances(split="train")
        return Augmented(streets, object_crop(options["crop"]), length=count, seed=seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return CityscapesInstances(split="val")

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return image

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        return street_row(prediction, sample)

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        return street_precision(rows, self.classes)


@dataclass(frozen=True)
class WholePicture:
    """Scales a picture and its labels to one size, for :class:`~lessons_lib.data.Augmented`."""

    size: tuple[int, int]

    def __call__(self, sample: Sample) -> Sample:
        return {name: resize(value, self.size) for name, value in sample.items()}


class CityscapesDiscriminative(DiscriminativeRecipe):
    """People and vehicles in streets with the discriminative loss, a class at a time.

    De Brabandere et al. (2017), section 4: pictures of 768 x 384 px, 8 dimensions, δv = 0.5 and δd = 1.5, the loss
    on the instances of each class alone, Adam at 1e-4. Instances of two classes may thus share a place, and each class
    is clustered by itself. All scores are 1: the method has none. Departures: the network (see
    :class:`~lessons_lib.embedding.pretrained_network.EmbeddingPSPNet`) also finds the classes, for which the paper
    has a second one; clusters by :func:`~lessons_lib.embedding.mean_shift` with a radius of δd, which
    chapter 11 finds better than the paper's δv; steps and batch size, which the paper does not give.
    """

    name = "cityscapes-discriminative"
    summary = "people and vehicles of Cityscapes with the discriminative loss (chapter 11)"
    score = "AP"
    data_set = "cityscapes"
    channels = 3
    classes = CityscapesInstances.CLASSES
    presets = {  # noqa: RUF012
        "paper": Preset(
            summary="whole pictures at 768 x 384 px (paper: 17.5 AP on the test part)",
            steps=75_000,
            batch_size=4,
            learning_rate=1e-4,
            schedule="constant",
            checkpoint_every=2000,
            workers=8,
            options={
                **LOSS,
                "embedding_dim": 8,
                "backbone": "resnet50",
                "pretrained": True,
                "height": 384,
                "width": 768,
                "radius": 1.5,
                "min_size": 20,
            },
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return EmbeddingPSPNet(options["embedding_dim"], len(self.classes), options["backbone"])

    def initialize(self, model: nn.Module, options: Mapping[str, Any]) -> None:
        if options["pretrained"]:
            assert isinstance(model, EmbeddingPSPNet)
            model.load_resnet(imagenet_weights(options["backbone"]))

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        streets = ImageNetScaled(CityscapesInstances(split="train"))
        whole = WholePicture((options["height"], options["width"]))
        return Augmented(streets, whole, length=count, seed=seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return ImageNetScaled(CityscapesInstances(split="val"))

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return imagenet_scaled(image)

    def loss(
        self, outputs: dict[str, Tensor], batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        semantic = batch["semantic"]
        # the mean over each picture's pixels first, so that several processes agree with one
        miss = F.cross_entropy(
            outputs["semantic"].float(), semantic, ignore_index=255, reduction="none"
        ).sum((1, 2))
        counted = (semantic != 255).sum((1, 2)).clamp(min=1)
        terms: dict[str, Tensor] = {
            "semantic": options["semantic_weight"] * (miss / counted).mean()
        }
        for label in range(1, len(self.classes)):
            of_class = torch.where(semantic == label, batch["instances"], 0)
            for name, term in discriminative_loss(
                outputs["embedding"],
                of_class,
                delta_var=options["delta_var"],
                delta_dist=options["delta_dist"],
                alpha=options["alpha"],
            ).items():
                terms[name] = terms[name] + term if name in terms else term
        return terms

    def infer(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """Predicts at the size of the training pictures; the labels are scaled back to the picture's own."""
        image = batch["image"]
        small = F.interpolate(
            image, (options["height"], options["width"]), mode="bilinear", antialias=True
        )
        predictions = super().infer(model, {**batch, "image": small}, options)
        for prediction in predictions:
            for name in ("instances", "semantic"):
                labels = prediction[name][None, None].double()  # exact for whole numbers
                scaled = F.interpolate(labels, image.shape[-2:], mode="nearest-exact")
                prediction[name] = scaled[0, 0].long()
        return predictions

    def predict(
        self, outputs: dict[str, Tensor], options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """For each picture ``semantic`` and ``instances`` (H, W), ``scores``, all 1, and ``labels`` (K,)."""
        predictions = []
        for scores, embedding in zip(
            outputs["semantic"].float(), outputs["embedding"].float(), strict=True
        ):
            semantic = scores.argmax(0)
            instances = torch.zeros_like(semantic)
            labels: list[int] = []
            for label in range(1, len(self.classes)):
                found = self.cluster(embedding, semantic == label, options)
                instances = torch.where(found > 0, found + len(labels), instances)
                labels += [label] * int(found.max())
            predictions.append(
                {
                    "semantic": semantic,
                    "instances": instances,
                    "scores": torch.ones(len(labels)),
                    "labels": torch.tensor(labels, dtype=torch.int64),
                }
            )
        return predictions

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        return street_row(prediction, sample)

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        return street_precision(rows, self.classes)


class CVPPPDiscriminative(DiscriminativeRecipe):
    """Leaves of young plants with the discriminative loss.

    De Brabandere et al. (2017), section 4: 512 x 512 px with two channels of coordinates, turned, mirrored and
    scaled; 16 dimensions, δv = 0.5 and δd = 1.5, Adam at 1e-4; at test time the true mask of the plant is given.
    Departures: a U-Net from scratch for their ResNet-38 with Cityscapes' weights; the plant's mask is
    learned too, and the measures are given with it and with the true one (``…_true_mask``); clusters by
    :func:`~lessons_lib.embedding.mean_shift` with a radius of δd; a fifth of A1 is held out, where the paper reports
    on the challenge's 33 pictures, whose truth is withheld; steps and batch size, which the paper does not give.
    """

    name = "cvppp-discriminative"
    summary = "leaves of CVPPP's plants with the discriminative loss (chapter 11)"
    score = "sbd"
    data_set = "cvppp"
    channels = 3
    presets = {  # noqa: RUF012
        "paper": Preset(
            summary="A1 at 512 x 512 px (paper: SBD 84.2, absolute DiC 1.0 on the challenge's test part)",
            steps=20_000,
            batch_size=4,
            learning_rate=1e-4,
            schedule="constant",
            checkpoint_every=1000,
            workers=8,
            options={
                **LOSS,
                "base_channels": 32,
                "depth": 4,
                "embedding_dim": 16,
                "size": 512,
                "scale": (0.8, 1.25),
                "rotate": 180.0,
                "radius": 1.5,
                "min_size": 40,
            },
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return EmbeddingUNet(
            self.channels,
            options["embedding_dim"],
            base_channels=options["base_channels"],
            depth=options["depth"],
            coordinate_extent=options["size"],
        )

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        transform = random_scale_crop(
            options["size"], scale=tuple(options["scale"]), rotate=options["rotate"]
        )
        return Augmented(CVPPP(split="train"), transform, length=count, seed=seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return CVPPP(split="test")

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return image

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, float]:
        truth = sample["instances"]
        given = self.cluster(prediction["embedding"], truth > 0, options)
        row = {}
        for suffix, found in (("", prediction["instances"]), ("_true_mask", given)):
            row[f"sbd{suffix}"] = symmetric_best_dice(found, truth)
            row[f"absolute_dic{suffix}"] = float(abs(count_difference(found, truth)))
        return row
