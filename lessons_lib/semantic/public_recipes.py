"""Systems of chapters 3 and 5 on data sets that others made: blood cells, photographs, streets, rooms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.backbones import imagenet_weights
from lessons_lib.data import (
    VOC,
    Augmented,
    CamVid,
    Cityscapes,
    NYUv2,
    WhiteBloodCells,
    random_scale_crop,
)
from lessons_lib.data.imagenet import ImageNetScaled, imagenet_scaled
from lessons_lib.data.picture_statistics import PictureStatistics
from lessons_lib.semantic.fcn import FCN
from lessons_lib.semantic.pspnet import BINS, PSPNet
from lessons_lib.semantic.recipes import SemanticRecipe
from lessons_lib.training import Preset


class WhiteBloodCellsFCN(SemanticRecipe):
    """Nucleus and cytoplasm of white blood cells."""

    name = "wbc-fcn8s"
    summary = "nucleus and cytoplasm of real white blood cells, with FCN-8s (chapter 3)"
    data_set = "wbc"
    classes = WhiteBloodCells.CLASSES
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="a short look",
            steps=60,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=10,
            options={"size": 112},
        ),
        "quick": Preset(
            summary="112 x 112 px, two cores",
            steps=800,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-3,
            warmup=100,
            checkpoint_every=400,
            options={"size": 112},
        ),
        "full": Preset(
            summary="112 x 112 px, one GPU",
            steps=4000,
            batch_size=32,
            learning_rate=3e-3,
            weight_decay=1e-3,
            warmup=200,
            precision="bf16",
            checkpoint_every=1000,
            workers=8,
            options={"size": 112},
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return FCN(len(self.classes), 8, backbone="small")

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        transform = random_scale_crop(options["size"], scale=(0.8, 1.25), rotate=30, jitter=0.2)
        return Augmented(WhiteBloodCells(split="train"), transform, length=count, seed=seed)

    def validation_data(self, options: Mapping[str, Any]) -> WhiteBloodCells:
        return WhiteBloodCells(split="test")


class PretrainedRecipe(SemanticRecipe):
    """A backbone that begins with ImageNet's weights, fine-tuned on crops of photographs."""

    backbone: str
    new_layers = 10.0
    """Factor of the learning rate of all layers that are not the backbone's."""

    def pictures(self, split: str) -> Dataset:
        """The part of the data set for ``"train"`` or ``"val"``."""
        raise NotImplementedError

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        transform = random_scale_crop(
            options["crop"],
            scale=tuple(options["scale"]),
            flip=options["flip"],
            rotate=options["rotate"],
            blur=options["blur"],
        )
        pictures = ImageNetScaled(self.pictures(options["split"]))
        return Augmented(pictures, transform, length=count, seed=seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return ImageNetScaled(self.pictures("val"))

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return imagenet_scaled(image)

    def parameter_groups(
        self, model: nn.Module, options: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        old = [p for name, p in trained if name.startswith("backbone.")]
        new = [p for name, p in trained if not name.startswith("backbone.")]
        return [{"params": old}, {"params": new, "factor": self.new_layers}]


FCN_CROPS = {"crop": 512, "scale": (1.0, 1.0), "flip": True, "rotate": 0.0, "blur": False}


class VOCFCN(PretrainedRecipe):
    """FCN-8s trained at once on VGG16, its coarse and fine scores together."""

    name = "voc-fcn8s"
    summary = "photographs of Pascal VOC with FCN-8s on VGG16 (chapter 3)"
    data_set = "voc"
    classes = VOC.CLASSES
    backbone = "vgg16"
    new_layers = 1.0
    presets = {  # noqa: RUF012
        "full": Preset(
            summary="VOC 2012 train, whole pictures, one GPU",
            steps=1500,
            batch_size=16,
            learning_rate=1e-4,
            weight_decay=1e-4,
            warmup=100,
            precision="bf16",
            checkpoint_every=500,
            workers=12,
            options={**FCN_CROPS, "split": "train", "pretrained": True},
        ),
        "paper": Preset(
            summary="section 4.3: 20 whole pictures a step, SGD at 1e-4; VOC's and SBD's outlines",
            steps=75_000,
            batch_size=20,
            learning_rate=1e-4,
            optimizer="sgd",
            weight_decay=5e-4,
            schedule="constant",
            checkpoint_every=2000,
            workers=8,
            options={**FCN_CROPS, "flip": False, "split": "trainaug", "pretrained": True},
        ),
    }

    def pictures(self, split: str) -> Dataset:
        return VOC(split=split)

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return FCN(len(self.classes), 8)

    def initialize(self, model: nn.Module, options: Mapping[str, Any]) -> None:
        if options["pretrained"]:
            assert isinstance(model, FCN)
            model.load_vgg16(imagenet_weights("vgg16"))

    def parameter_groups(
        self, model: nn.Module, options: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Biases learn twice as fast, as in the paper."""
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        weights = [p for name, p in trained if not name.endswith("bias")]
        biases = [p for name, p in trained if name.endswith("bias")]
        return [{"params": weights}, {"params": biases, "factor": 2.0}]


def pspnet_presets(
    crop: int, steps: int, split: str, backbone: str = "resnet101", **options: Any
) -> dict[str, Preset]:
    """The paper's recipe (section 4.1) for crops and steps of one data set, and one for a GPU.

    The factor 10 for new layers is that of the code that the authors published later.
    """
    common = {
        "backbone": backbone,
        "auxiliary": 0.4,
        "bins": BINS,
        "crop": crop,
        "scale": (0.5, 2.0),
        "flip": True,
        "rotate": 0.0,
        "blur": False,
        "split": split,
        "pretrained": True,
        **options,
    }
    paper = Preset(
        summary=f"section 4.1: crops of {crop} px, SGD at 0.01, poly 0.9, auxiliary 0.4",
        steps=steps,
        batch_size=16,
        learning_rate=0.01,
        optimizer="sgd",
        weight_decay=1e-4,
        schedule="poly",
        checkpoint_every=2000,
        workers=8,
        options=common,
    )
    full = Preset(
        summary="the paper's recipe, ResNet-50 and 2,000 steps, one GPU",
        steps=2000,
        batch_size=16,
        learning_rate=0.01,
        optimizer="sgd",
        weight_decay=1e-4,
        schedule="poly",
        precision="bf16",
        checkpoint_every=500,
        workers=12,
        options={**common, "backbone": "resnet50", "crop": min(crop, 473), "split": "train"},
    )
    return {"full": full, "paper": paper}


class PretrainedPSPNet(PretrainedRecipe):
    """PSPNet on a dilated ResNet."""

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return PSPNet(
            len(self.classes),
            options["backbone"],
            bins=options["bins"],
            auxiliary=options["auxiliary"] > 0,
        )

    def initialize(self, model: nn.Module, options: Mapping[str, Any]) -> None:
        if options["pretrained"]:
            assert isinstance(model, PSPNet)
            state = imagenet_weights(options["backbone"])
            model.backbone.load_state_dict(
                {k: v for k, v in state.items() if not k.startswith("fc.")}
            )


class VOCPSPNet(PretrainedPSPNet):
    """Photographs of Pascal VOC."""

    name = "voc-pspnet"
    summary = "photographs of Pascal VOC with PSPNet (chapter 5)"
    data_set = "voc"
    classes = VOC.CLASSES
    presets = pspnet_presets(473, 30_000, "trainaug", rotate=10.0, blur=True)

    def pictures(self, split: str) -> Dataset:
        return VOC(split=split)


class CityscapesPSPNet(PretrainedPSPNet):
    """Street scenes."""

    name = "cityscapes-pspnet"
    summary = "street scenes of Cityscapes with PSPNet (chapter 5)"
    data_set = "cityscapes"
    classes = Cityscapes.CLASSES
    presets = pspnet_presets(713, 90_000, "train")

    def pictures(self, split: str) -> Dataset:
        return Cityscapes(split=split)


class CamVidPSPNet(PretrainedPSPNet):
    """Street scenes of a small data set, which the paper does not use."""

    name = "camvid-pspnet"
    summary = "street scenes of CamVid with PSPNet (chapter 5)"
    data_set = "camvid"
    classes = CamVid.CLASSES
    presets = pspnet_presets(345, 10_000, "train", "resnet50")

    def pictures(self, split: str) -> Dataset:
        return CamVid(split=split)


class NYUv2PSPNet(PretrainedPSPNet):
    """Rooms, by colour alone; the paper does not use this data set."""

    name = "nyuv2-pspnet"
    summary = "rooms of NYU Depth v2 with PSPNet (chapter 5)"
    data_set = "nyuv2"
    classes = NYUv2.CLASSES
    presets = pspnet_presets(473, 20_000, "train", "resnet50")

    def pictures(self, split: str) -> Dataset:
        return NYUv2(split="train" if split == "train" else "test")
