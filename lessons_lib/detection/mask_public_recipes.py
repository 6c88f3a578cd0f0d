"""Mask R-CNN of chapter 10 on pictures that others took: nuclei, people, everyday things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torchvision
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.backbones import imagenet_weights
from lessons_lib.data import CocoInstances, PennFudan
from lessons_lib.data.bright_nuclei import held_out, prepare_nuclei, training_crops
from lessons_lib.data.picture_statistics import PictureStatistics
from lessons_lib.embedding.metrics import instance_measures
from lessons_lib.training import Preset
from lessons_lib.training.recipe import Batch

from .instance_targets import InstanceTargets, MirroredMasks
from .mask_rcnn import MaskRCNN
from .mask_recipes import NETWORK, InstanceMaskRecipe, MaskRecipe
from .pictures import PictureScaler
from .torchvision_copy import without_epsilon

# Many nuclei are smaller than 16 px, so the pyramid begins at stride 2, and most features are
# pooled from there and from stride 4.
NUCLEI = {
    **NETWORK,
    "levels": ("c2", "c3", "c4", "c5"),
    "sizes": (8.0, 16.0, 32.0, 64.0),
    "ratios": (0.5, 1.0, 2.0),
    "canonical_size": 32.0,
    "samples": 64,
    "proposals": (300, 600),
    "detections": 400,
    "least": 0.5,
    "min_size": 20,
    "leave_out": "",
}


class NucleiMaskRCNN(InstanceMaskRecipe):
    """Nuclei of many microscopes: the crops, pictures and measures of ``nuclei-discriminative``."""

    name = "nuclei-mask-rcnn"
    summary = "real nuclei with Mask R-CNN (lab)"
    score = "dsb_50"
    data_set = "dsb2018"
    classes = ("background", "nucleus")
    presets = {  # noqa: RUF012
        "quick": Preset(
            summary="crops of 96 x 96 px, two cores",
            steps=1500,
            batch_size=8,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=100,
            clip_norm=10.0,
            checkpoint_every=400,
            options={**NUCLEI, "size": 96},
        ),
        "full": Preset(
            summary="crops of 192 x 192 px and a wider network, one GPU",
            steps=4000,
            batch_size=16,
            learning_rate=1e-3,
            weight_decay=1e-4,
            warmup=200,
            clip_norm=10.0,
            precision="bf16",
            checkpoint_every=1000,
            workers=8,
            options={
                **NUCLEI,
                "size": 192,
                "channels": (32, 64, 128, 192),
                "width": 96,
                "head_width": 256,
                "mask_width": 96,
                "samples": 128,
            },
        ),
    }

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        crops = training_crops(options["leave_out"], size=options["size"], length=count, seed=seed)
        return InstanceTargets(crops)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return InstanceTargets(held_out(options["leave_out"]))

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return prepare_nuclei(image, statistics).expand(3, -1, -1)

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        return super().measure(prediction, sample, options) | instance_measures(
            prediction["instances"], sample["instances"]
        )


class PennFudanMaskRCNN(MaskRecipe):
    """People who walk: COCO's Mask R-CNN with new last layers.

    The settings are those of torchvision's own tutorial on these pictures, which trains 120 and tests on
    50; here a fifth is held out.
    """

    name = "pennfudan-mask-rcnn"
    summary = "people who walk, with Mask R-CNN from COCO's weights (chapter 10)"
    score = "mask_AP"
    data_set = "penn_fudan"
    classes = PennFudan.CLASSES
    presets = {  # noqa: RUF012
        "full": Preset(
            summary="ten times through 139 pictures, one GPU",
            steps=695,
            batch_size=2,
            optimizer="sgd",
            learning_rate=5e-3,
            weight_decay=5e-4,
            schedule="step",
            milestones=(0.3, 0.6, 0.9),
            warmup=60,
            checkpoint_every=350,
            workers=4,
            options={"pretrained": True, "shorter": 800},
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        model = large_mask_rcnn(len(self.classes), options)
        return without_epsilon(model) if options["pretrained"] else model

    def initialize(self, model: nn.Module, options: Mapping[str, Any]) -> None:
        if options["pretrained"]:
            take_trunk(model, MaskRCNN.coco())

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return MirroredMasks(PennFudan(split="train"), count, seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return PennFudan(split="test")


def coco_classes() -> tuple[str, ...]:
    """Names of COCO's numbers, gaps included, as torchvision lists them."""
    weights = torchvision.models.detection.MaskRCNN_ResNet50_FPN_Weights.COCO_V1
    names = weights.meta["categories"][1:]
    known = (n if n != "N/A" else f"unused {k}" for k, n in enumerate(names, start=1))
    return ("background", *known)


class CocoMaskRCNN(MaskRecipe):
    """COCO, as torchvision trained the weights that it publishes.

    Departures: pictures of tall and of wide form share a batch, where torchvision sorts them. The areas
    by which APs, APm and APl sort are those of the masks' pixels.
    """

    name = "coco-mask-rcnn"
    summary = "80 kinds of things on photographs with Mask R-CNN (chapter 10)"
    score = "mask_AP"
    data_set = "coco"
    classes = coco_classes()
    presets = {  # noqa: RUF012
        "paper": Preset(
            summary="26 times through train2017 on 8 GPUs, 2 pictures each (torchvision: 37.9 / 34.6 AP)",
            steps=190_550,
            batch_size=16,
            optimizer="sgd",
            learning_rate=0.02,
            weight_decay=1e-4,
            schedule="step",
            milestones=(16 / 26, 22 / 26),
            warmup=1000,
            checkpoint_every=7329,
            workers=4,
            options={"pretrained": True, "shorter": 800},
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return large_mask_rcnn(len(self.classes), options)

    def initialize(self, model: nn.Module, options: Mapping[str, Any]) -> None:
        if options["pretrained"]:
            load_resnet(model, imagenet_weights("resnet50"))

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return MirroredMasks(CocoInstances(split="train", with_objects=True), count, seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return CocoInstances(split="val")


def large_mask_rcnn(num_classes: int, options: Mapping[str, Any]) -> MaskRCNN:
    """A ResNet-50 with a pyramid; the shorter side of pictures is scaled to ``shorter`` px."""
    scaler = PictureScaler(shorter=(options["shorter"],))
    return MaskRCNN.resnet_fpn(num_classes, frozen_norm=True, scaler=scaler)


NEW_LAYERS = (
    "roi_heads.box_predictor.",
    "roi_heads.branch.head.conv5",
    "roi_heads.branch.head.mask",
)
"""What depends on the classes, with the transposed convolution before the masks."""


def take_trunk(model: Any, source: MaskRCNN) -> None:
    """Everything of another Mask R-CNN but the last layers of its second stage; the first two stages of
    the backbone stay as they are from now on."""
    state = {k: v for k, v in source.state_dict().items() if not k.startswith(NEW_LAYERS)}
    missing, unexpected = model.load_state_dict(state, strict=False)
    wrong = [*unexpected, *(name for name in missing if not name.startswith(NEW_LAYERS))]
    if wrong:
        raise ValueError(f"source does not fit the model: {', '.join(wrong)}")
    norms = (nn.BatchNorm2d, torchvision.ops.FrozenBatchNorm2d)
    for own, theirs in zip(model.backbone.modules(), source.backbone.modules(), strict=True):
        if isinstance(own, norms):
            own.eps = theirs.eps  # no part of the state; COCO's statistics were fitted without one
    freeze_stem(model)


def load_resnet(model: Any, state: Mapping[str, Tensor]) -> None:
    """Puts ImageNet's ResNet into the backbone, without its last layer; its first two stages are fixed."""
    body = {k: v for k, v in state.items() if not k.startswith("fc.")}
    model.backbone.body.load_state_dict(body)
    freeze_stem(model)


def freeze_stem(model: Any) -> None:
    """Fixes the first convolution and the first stage, as torchvision does for pretrained backbones."""
    for name, parameter in model.backbone.body.named_parameters():
        if name.startswith(("conv1.", "layer1.")):
            parameter.requires_grad_(False)
