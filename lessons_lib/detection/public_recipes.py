"""Faster R-CNN of chapter 8 on pictures that others took: blood cells, photographs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.data import ConcatDataset, Dataset

from lessons_lib.backbones import imagenet_weights
from lessons_lib.data import VOC, BloodCells
from lessons_lib.data.picture_statistics import PictureStatistics
from lessons_lib.training import Preset

from .anchors import AnchorGenerator
from .augment import BoxCrops, ScaledBoxes, rescale
from .faster_rcnn import FasterRCNN
from .recipes import DetectionRecipe
from .voc_ap import voc_average_precision

CELLS = {
    "scale": 0.5,
    "size": 192,
    "sizes": (24.0, 48.0, 96.0),
    "channels": (16, 32, 64, 96),
    "width": 32,
    "head_width": 64,
}


class BloodCellsFasterRCNN(DetectionRecipe):
    """Red and white blood cells and platelets, trained on crops, predicted on whole pictures."""

    name = "bloodcells-faster-rcnn"
    summary = "boxes around real blood cells with Faster R-CNN (chapter 8)"
    data_set = "bccd"
    classes = BloodCells.CLASSES
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="a short look",
            steps=80,
            batch_size=4,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=20,
            clip_norm=10.0,
            options=CELLS,
        ),
        "quick": Preset(
            summary="crops of 192 x 192 px at half size, two cores",
            steps=1200,
            batch_size=4,
            learning_rate=2e-3,
            weight_decay=1e-3,
            warmup=100,
            clip_norm=10.0,
            checkpoint_every=500,
            options=CELLS,
        ),
        "full": Preset(
            summary="crops of 448 x 448 px at full size and a wider network, one GPU",
            steps=4000,
            batch_size=16,
            learning_rate=1e-3,
            weight_decay=1e-3,
            warmup=200,
            clip_norm=10.0,
            precision="bf16",
            checkpoint_every=1000,
            workers=8,
            options={
                **CELLS,
                "scale": 1.0,
                "size": 448,
                "sizes": (48.0, 96.0, 192.0),
                "channels": (32, 64, 128, 192),
                "width": 96,
                "head_width": 256,
            },
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return FasterRCNN.small(
            len(self.classes),
            channels=tuple(options["channels"]),
            width=options["width"],
            head_width=options["head_width"],
            anchors=AnchorGenerator.by_hand([[size] for size in options["sizes"]]),
            canonical_size=options["sizes"][1],
        )

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        cells = BloodCells(split="train")
        near = 0.8 * options["scale"], 1.25 * options["scale"]
        return BoxCrops(cells, options["size"], count, seed, scale=near, mirror="xy", contrast=0.15)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return ScaledBoxes(BloodCells(split="test"), options["scale"])

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return rescale(image, image.new_zeros((0, 4)), options["scale"])[0]


class VOCFasterRCNN(DetectionRecipe):
    """Twenty kinds of things on photographs, as Ren et al. trained it."""

    name = "voc-faster-rcnn"
    summary = "objects of Pascal VOC with Faster R-CNN on VGG16 (chapter 8)"
    data_set = "voc"
    classes = VOC.CLASSES
    presets = {  # noqa: RUF012
        "paper": Preset(
            summary="trainval of 2007 and 2012, tested on 2007 (Ren et al.: 73.2 AP by VOC's measure)",
            steps=80_000,
            batch_size=1,
            optimizer="sgd",
            learning_rate=1e-3,
            weight_decay=5e-4,
            schedule="step",
            milestones=(0.75,),
            checkpoint_every=5000,
            workers=4,
            options={"pretrained": True},
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return FasterRCNN.vgg16(len(self.classes))

    def initialize(self, model: nn.Module, options: Mapping[str, Any]) -> None:
        if options["pretrained"]:
            load_vgg16(model, imagenet_weights("vgg16"))

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        years = [VOC(split="trainval", year=year, task="detection") for year in ("2007", "2012")]
        return BoxCrops(WithoutDifficult(ConcatDataset(years)), None, count, seed)

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return VOC(split="test", year="2007", task="detection")

    def measure(
        self, prediction: dict[str, Tensor], sample: dict[str, Any], options: Mapping[str, Any]
    ) -> dict[str, Any]:
        row = super().measure(prediction, sample, options)
        row["truth"]["difficult"] = sample["difficult"]
        return row

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """COCO's numbers, and VOC's own of 2007."""
        truths, found = [r["truth"] for r in rows], [r["found"] for r in rows]
        return super().summarize(rows) | {
            "VOC2007": voc_average_precision(truths, found, variant="2007").mean
        }


class WithoutDifficult(Dataset[dict[str, Any]]):
    """VOC's samples with the difficult objects marked as crowds, which no detector here learns from.

    The paper's code leaves them out of the training as well.
    """

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.dataset[index]
        return {**sample, "crowd": sample["difficult"]}


def load_vgg16(model: Any, state: Mapping[str, Tensor]) -> None:
    """Puts ImageNet's VGG16 into a detector: all convolutions, and the two dense layers into its head.

    The first four convolutions are fixed, as Ren et al. fixed what is before conv3_1.
    """
    convolutions = {k[9:]: v for k, v in state.items() if k.startswith("features.")}
    model.backbone.features.load_state_dict(convolutions)
    head = model.roi_heads.box_head
    for layer, source in ((head.fc6, "classifier.0"), (head.fc7, "classifier.3")):
        layer.load_state_dict({n: state[f"{source}.{n}"] for n in ("weight", "bias")})
    for parameter in model.backbone.features[:10].parameters():
        parameter.requires_grad_(False)
