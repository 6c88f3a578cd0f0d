"""Spatial embeddings on a reader's own pictures (appendix D)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.data import DataWarning, InstanceCrops, InstanceFolder, PictureStatistics
from lessons_lib.data.folder_parts import ScaledParts
from lessons_lib.data.object_sizes import (
    ObjectSizes,
    object_sizes,
    suggest_margin,
    suggest_unit,
)
from lessons_lib.data.picture_statistics import statistics_of
from lessons_lib.data.pictures import stretch
from lessons_lib.embedding.spatial_recipes import SPATIAL, SpatialRecipe
from lessons_lib.training import Preset
from lessons_lib.training.evaluate import PACKAGED
from lessons_lib.training.state import read_weights

FOLDER = {
    **SPATIAL,
    "data": "",
    "start": "",
    "unit": 0.0,
    "margin": 0.0,
    "min_size": 0,
    "scale": (0.7, 1.4),
    "part": 1024,
}
NETWORK = ("base_channels", "depth", "sigma", "normalize")
"""Options that must be those of the weights that a run starts from."""


class SpatialFolder(SpatialRecipe):
    """Objects in the pictures of a folder, each pixel pointing at its object's centre.

    The network sees three channels (gray repeated), scaled by the percentiles 1 and 99.8 of the whole picture.

    Options, besides those of :class:`SpatialRecipe`:

    * ``data``: the folder (:class:`~lessons_lib.data.InstanceFolder`); on the command line ``--data``. It is not
      stored with the weights, so these can be given away.
    * ``unit``, ``margin``, ``min_size``: 0 takes them from the folder's training pictures, when the run
      begins: the unit from the longest object, the margin to begin with from the median diameter, the least
      size as an eighth of the median area. What was taken is stored with the weights.
    * ``start``: weights to begin with, a file or the name of a recipe whose weights come with the package
      (``nuclei-spatial``); the network is then built as theirs, and so is the unit, if it reaches far enough.
    * ``scale``: random enlargement of the crops.
    * ``part``: pictures with a longer side are measured in parts of at most this side, px, whose borders cut
      objects in two.
    """

    name = "spatial-folder"
    summary = "your own pictures with spatial embeddings (appendix D)"
    score = "dsb_50"
    channels = 3
    classes = ("background", "object")
    presets = {  # noqa: RUF012
        "live": Preset(
            summary="see it work: crops of 96 x 96 px and a small network, under a minute",
            steps=300,
            batch_size=4,
            learning_rate=5e-3,
            warmup=20,
            clip_norm=10.0,
            options={**FOLDER, "base_channels": 8, "depth": 3, "size": 96},
        ),
        "quick": Preset(
            summary="crops of 96 x 96 px, two cores",
            steps=2000,
            batch_size=8,
            learning_rate=3e-3,
            weight_decay=1e-4,
            warmup=200,
            clip_norm=10.0,
            checkpoint_every=400,
            options={**FOLDER, "size": 96},
        ),
        "long": Preset(
            summary="crops of 128 x 128 px, an hour or two on two cores",
            steps=12000,
            batch_size=8,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=400,
            clip_norm=10.0,
            evaluate_every=3000,
            checkpoint_every=1000,
            options={**FOLDER, "size": 128},
        ),
        "full": Preset(
            summary="crops of 256 x 256 px and a wider network, one GPU",
            steps=8000,
            batch_size=16,
            learning_rate=2e-3,
            weight_decay=1e-4,
            warmup=400,
            clip_norm=10.0,
            precision="bf16",
            evaluate_every=2000,
            checkpoint_every=1000,
            workers=8,
            options={**FOLDER, "base_channels": 32, "size": 256},
        ),
    }

    def settle(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Takes ``unit``, ``margin`` and ``min_size`` from the folder, the network from ``start``.

        Raises:
            ValueError: No folder is named, or there is no object in its training pictures.
            FileNotFoundError, DataError: Of the folder.
        """
        settled, found = dict(options), {}
        if options["start"]:
            found = read_weights(weights_file(options["start"]))[1]["options"]
            settled |= {name: found[name] for name in NETWORK if name in found}
        pictures = self.folder(options, "train")
        sizes = object_sizes(pictures.read(index)[1] for index in range(len(pictures)))
        if not len(sizes.diameters):
            raise ValueError(f"data is {options['data']}; no object in its training pictures")
        for name, value in from_sizes(sizes).items():
            settled[name] = options[name] or value
        if not options["unit"] and found.get("unit", 0) >= settled["unit"]:
            settled["unit"] = found[
                "unit"
            ]  # it reaches far enough, and the offsets keep their scale
        if sizes.longest > min(options["size"], settled["unit"] * 2):
            warnings.warn(
                f"the longest object is {sizes.longest:.0f} px long; crops are {options['size']} px (size), and "
                f"an offset reaches {settled['unit']:.0f} px (unit): set them larger, or shrink the pictures",
                DataWarning,
                stacklevel=2,
            )
        return settled

    def shared(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Without the reader's folders."""
        return {**options, "data": "", "start": Path(options["start"]).name}

    def initialize(self, model: nn.Module, options: Mapping[str, Any]) -> None:
        """Loads the weights of ``start``; a first layer for one channel sees the mean of the three.

        Raises:
            ValueError: They are of another network.
        """
        if not options["start"]:
            return
        tensors, facts = read_weights(weights_file(options["start"]))
        first = next(name for name, value in model.state_dict().items() if value.ndim == 4)
        if first in tensors and tensors[first].shape[1] == 1:
            tensors[first] = tensors[first].expand(-1, self.channels, -1, -1) / self.channels
        try:
            model.load_state_dict(tensors)
        except RuntimeError as error:
            raise ValueError(
                f"start is {options['start']}: weights of recipe {facts['recipe']}, which is another "
                f"network ({error})"
            ) from error

    def folder(self, options: Mapping[str, Any], split: str) -> InstanceFolder:
        """The reader's pictures.

        Raises:
            ValueError: None are named, or there are none in that half.
        """
        if not options["data"]:
            raise ValueError(
                f"recipe {self.name} needs a folder of pictures: --data DIR (see `lessons data check DIR`)"
            )
        found = InstanceFolder(options["data"], split)
        if not len(found):
            raise ValueError(f"data is {options['data']}; its part {split} has no picture")
        return found

    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        return InstanceCrops(
            self.folder(options, "train"),
            size=options["size"],
            length=count,
            seed=seed,
            scale=tuple(options["scale"]),
        )

    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        return ScaledParts(self.folder(options, "val"), options["part"])

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        whole = statistics_of(image) if statistics is None else statistics
        return stretch(image, whole.low, whole.high)


def from_sizes(sizes: ObjectSizes) -> dict[str, Any]:
    """Options that follow from the sizes of the objects."""
    area = sizes.median**2 * torch.pi / 4
    return {
        "unit": suggest_unit(sizes),
        "margin": suggest_margin(sizes),
        "min_size": max(4, int(area / 8)),
    }


def weights_file(start: str) -> Path:
    """A file of weights, or that of a recipe whose weights come with the package.

    Raises:
        ValueError: It is neither.
    """
    path = Path(start).expanduser()
    packaged = PACKAGED / "weights" / f"{start}.safetensors"
    if not path.is_file() and not packaged.is_file():
        raise ValueError(f"start is {start!r}; expected a file of weights, or nuclei-spatial")
    return path if path.is_file() else packaged
