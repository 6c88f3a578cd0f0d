"""The trainable systems of chapters 3 to 5 on drawn scenes and on nuclei."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from skimage.measure import label as connected_components
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.data import (
    BrightNuclei,
    ContextScenes,
    Nuclei,
    NucleiCrops,
    Shapes,
)
from lessons_lib.data.bright_nuclei import prepare_nuclei
from lessons_lib.data.picture_statistics import PictureStatistics
from lessons_lib.semantic.borders import border_weight_map, separate_touching
from lessons_lib.semantic.fcn import FCN, semantic_loss
from lessons_lib.semantic.metrics import ConfusionMatrix
from lessons_lib.semantic.pspnet import BINS, PSPNet
from lessons_lib.semantic.unet import UNet
from lessons_lib.training import Preset, Recipe
from lessons_lib.training.recipe import Batch

CELL = "pixels of {} called {}"


class SemanticRecipe(Recipe):
    """A class for each pixel: cross-entropy, the best class, and measures of one confusion matrix."""

    score = "mean_iou"
    classes: Sequence[str]

    def loss(
        self, outputs: dict[str, Tensor], batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        weight = batch.get("weight")
        terms = {"semantic": semantic_loss(outputs["semantic"], batch["semantic"], weight)}
        if "auxiliary" in outputs:
            auxiliary = semantic_loss(outputs["auxiliary"], batch["semantic"])
            terms["auxiliary"] = options["auxiliary"] * auxiliary
        return terms

    def predict(
        self, outputs: dict[str, Tensor], options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        return [{"semantic": scores.argmax(0)} for scores in outputs["semantic"]]

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, float]:
        """Counts of pixels by true and predicted class, those that are not 0."""
        confusion = ConfusionMatrix(len(self.classes))
        confusion.update(prediction["semantic"], sample["semantic"])
        names = self.classes
        return {
            CELL.format(names[t], names[p]): float(confusion.matrix[t, p])
            for t, p in confusion.matrix.nonzero().tolist()
        }

    def confusion(self, rows: Sequence[Mapping[str, Any]]) -> ConfusionMatrix:
        """The confusion matrix of samples that :meth:`measure` has counted."""
        counts = [
            [sum(int(row.get(CELL.format(t, p), 0)) for row in rows) for p in self.classes]
            for t in self.classes
        ]
        return ConfusionMatrix.from_matrix(counts, class_names=self.classes)

    def summarize(self, rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """Measures over all pixels of all samples together, not means over samples."""
        confusion = self.confusion(rows)
        metrics = {
            "mean_iou": confusion.mean_iou,
            "pixel_accuracy": confusion.pixel_accuracy,
            "mean_class_accuracy": confusion.mean_class_accuracy,
            "frequency_weighted_iou": confusion.frequency_weighted_iou,
        }
        of_classes = zip(self.classes, confusion.iou.tolist(), strict=True)
        metrics |= {f"iou_{name}": value for name, value in of_classes}
        return {name: float(value) for name, value in metrics.items() if not np.isnan(value)}

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return image


SCENES = {"size": 128, "radius": (18, 36), "validation": 200}


class ShapesRecipe(SemanticRecipe):
    """What all systems share that find the shapes of :class:`~lessons_lib.data.Shapes`."""

    classes = Shapes.CLASSES

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return Shapes(count, size=options["size"], radius=tuple(options["radius"]), seed=seed)

    def validation_data(self, options: Mapping[str, Any]) -> Shapes:
        size, radius = options["size"], tuple(options["radius"])
        return Shapes(options["validation"], size=size, radius=radius, seed=1_000_000)


def shapes_presets(**options: Any) -> dict[str, Preset]:
    """The presets of a system for shapes; only the network's own options differ."""
    scenes = {**SCENES, **options}
    return {
        "live": Preset(
            summary="a short look, in front of the reader",
            steps=120,
            batch_size=8,
            learning_rate=5e-3,
            weight_decay=1e-4,
            warmup=20,
            options={**scenes, "size": 96, "radius": (16, 32), "validation": 50},
        ),
        "quick": Preset(
            summary="128 x 128 px, two cores",
            steps=2000,
            batch_size=8,
            learning_rate=5e-3,
            weight_decay=1e-4,
            warmup=100,
            checkpoint_every=500,
            options=scenes,
        ),
        "full": Preset(
            summary="256 x 256 px, one GPU",
            steps=8000,
            batch_size=32,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=400,
            precision="bf16",
            checkpoint_every=1000,
            workers=8,
            options={**scenes, "size": 256, "radius": (20, 60)},
        ),
    }


class ShapesFCN(ShapesRecipe):
    """The small FCN with scores of stride 32, 16 or 8."""

    def __init__(self, stride: int) -> None:
        self.stride = stride
        self.name = f"shapes-fcn{stride}s"  # type: ignore[misc]
        self.summary = f"shapes with FCN-{stride}s (chapter 3)"  # type: ignore[misc]
        presets = shapes_presets()
        # pictures of 64 px: twice the steps in half a minute, and FCN's first hundred teach it little
        presets["live"] = presets["live"].with_settings(
            {"steps": 250, "learning_rate": 6e-3, "warmup": 25, "size": 64, "radius": (12, 24)}
        )
        self.presets = presets  # type: ignore[misc]

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return FCN(len(self.classes), self.stride, backbone="small")


class ShapesUNet(ShapesRecipe):
    """A small U-Net; its skips can be summed or left out."""

    name = "shapes-unet"
    summary = "shapes with U-Net (chapter 4)"
    presets = shapes_presets(base_channels=10, depth=4, skips="concatenate")

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return UNet(
            3,
            len(self.classes),
            base_channels=options["base_channels"],
            depth=options["depth"],
            skips=options["skips"],
        )


CONTEXT = {"bins": BINS, "auxiliary": 0.4, "validation": 200}


class ContextPSPNet(SemanticRecipe):
    """Boats and cars that look alike, told apart by what lies far away."""

    name = "context-pspnet"
    summary = "boats and cars that only context tells apart, with PSPNet (chapter 5)"
    score = "ambiguous_iou"
    classes = ContextScenes.CLASSES
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="a short look, in front of the reader",
            steps=150,
            batch_size=8,
            learning_rate=5e-3,
            weight_decay=1e-4,
            schedule="poly",
            warmup=20,
            options={**CONTEXT, "validation": 50},
        ),
        "quick": Preset(
            summary="128 x 128 px, two cores",
            steps=600,
            batch_size=8,
            learning_rate=5e-3,
            weight_decay=1e-4,
            schedule="poly",
            warmup=50,
            checkpoint_every=500,
            options=CONTEXT,
        ),
        "full": Preset(
            summary="128 x 128 px, ten times the samples, one GPU",
            steps=4000,
            batch_size=32,
            learning_rate=5e-3,
            weight_decay=1e-4,
            schedule="poly",
            warmup=200,
            precision="bf16",
            checkpoint_every=1000,
            workers=8,
            options=CONTEXT,
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return PSPNet(
            len(self.classes), "small", bins=options["bins"], auxiliary=options["auxiliary"] > 0
        )

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return ContextScenes(count, seed=seed)

    def validation_data(self, options: Mapping[str, Any]) -> ContextScenes:
        return ContextScenes(options["validation"], seed=1_000_000)

    def summarize(self, rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
        metrics = super().summarize(rows)
        names = [self.classes[k] for k in ContextScenes.AMBIGUOUS]
        ambiguous = [metrics[f"iou_{name}"] for name in names if f"iou_{name}" in metrics]
        return {"ambiguous_iou": float(np.mean(ambiguous)) if ambiguous else 0.0, **metrics}


NUCLEI = {
    "size": 96,
    "base_channels": 16,
    "depth": 3,
    "gap": True,
    "w0": 10.0,
    "sigma": 5.0,
    "min_size": 20,
}


class NucleiUNet(SemanticRecipe):
    """Nuclei against the ground, with a gap wherever two touch, so that pieces can be counted."""

    name = "nuclei-unet"
    summary = "foreground of real nuclei, kept apart by U-Net's border weights (chapter 4)"
    data_set = "dsb2018"
    classes = ("background", "nucleus")
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="a short look, in front of the reader",
            steps=100,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=20,
            options={**NUCLEI, "size": 64},
        ),
        "quick": Preset(
            summary="crops of 96 x 96 px, two cores",
            steps=1500,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=100,
            clip_norm=10.0,
            checkpoint_every=500,
            options=NUCLEI,
        ),
        "full": Preset(
            summary="crops of 192 x 192 px and a wider network, one GPU",
            steps=8000,
            batch_size=16,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=400,
            clip_norm=10.0,
            precision="bf16",
            checkpoint_every=1000,
            workers=8,
            options={**NUCLEI, "size": 192, "base_channels": 32, "depth": 4},
        ),
    }

    def model(self, options: Mapping[str, Any]) -> nn.Module:
        return UNet(1, 2, base_channels=options["base_channels"], depth=options["depth"])

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        crops = NucleiCrops(Nuclei(split="train"), size=options["size"], length=count, seed=seed)
        return SeparatedNuclei(crops, options["w0"], options["sigma"], options["gap"])

    def validation_data(self, options: Mapping[str, Any]) -> SeparatedNuclei:
        return SeparatedNuclei(Nuclei(split="test"))

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        return prepare_nuclei(image, statistics)

    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, float]:
        """Pixels against the nuclei as they are, and how many nuclei the pieces make of them."""
        truth = sample["instances"]
        row = super().measure(prediction, {"semantic": (truth > 0).long()}, options)
        pieces = foreground_pieces(prediction["semantic"], options["min_size"])
        union = foreground_pieces((truth > 0).long(), 1)
        return row | {
            "nuclei": float(truth.max()),
            "count_error": abs(float(pieces.max()) - float(truth.max())),
            "count_error_of_the_truths_union": abs(float(union.max()) - float(truth.max())),
            "merged": float(merged_nuclei(pieces, truth)),
            "merged_in_the_truths_union": float(merged_nuclei(union, truth)),
        }

    def summarize(self, rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
        metrics = super().summarize(rows)
        for name in ("count_error", "count_error_of_the_truths_union"):
            metrics[name] = float(np.mean([row[name] for row in rows]))
        nuclei = sum(row["nuclei"] for row in rows)
        for name in ("merged", "merged_in_the_truths_union"):
            metrics[f"share_{name}"] = sum(row[name] for row in rows) / nuclei
        return metrics


class SeparatedNuclei(Dataset):
    """Nuclei with a gap wherever two touch, as ``semantic``, and the weight of each pixel.

    Args:
        nuclei: pictures, or crops of them.
        w0: height of the border weights; 0 leaves ``weight`` out.
        sigma: their width, px.
        gap: whether to open the gap; without it ``semantic`` is the nuclei as they are.
    """

    def __init__(
        self,
        nuclei: Nuclei | NucleiCrops,
        w0: float = 0.0,
        sigma: float = 5.0,
        gap: bool = True,
    ) -> None:
        self.nuclei = BrightNuclei(nuclei)
        self.w0, self.sigma, self.gap = w0, sigma, gap

    def __len__(self) -> int:
        return len(self.nuclei)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.nuclei[index]
        instances = sample["instances"]
        apart = separate_touching(instances) if self.gap else instances
        sample["semantic"] = (apart > 0).long()
        if self.w0:
            sample["weight"] = border_weight_map(apart, w0=self.w0, sigma=self.sigma)
        return sample


def foreground_pieces(semantic: Tensor, min_size: int) -> Tensor:
    """Connected pieces (8 neighbours) of class 1, int64 (H, W), ids 1..K; small ones are dropped."""
    pieces = connected_components(semantic.numpy() == 1, connectivity=2)
    large = np.bincount(pieces.ravel()) >= min_size
    large[0] = False
    return torch.from_numpy((np.cumsum(large) * large)[pieces].astype(np.int64))


def merged_nuclei(pieces: Tensor, truth: Tensor) -> int:
    """Nuclei that are lost because they share a piece: for each piece one less than it holds.

    A piece holds a nucleus if it covers more than half of it.
    """
    rows, columns = int(truth.max()) + 1, int(pieces.max()) + 1
    joint = torch.bincount((truth * columns + pieces).flatten(), minlength=rows * columns)
    overlap = joint.view(rows, columns)[1:]
    held = 2 * overlap[:, 1:] > overlap.sum(1, keepdim=True)
    return int((held.sum(0) - 1).clamp(min=0).sum())
