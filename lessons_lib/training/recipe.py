"""A recipe: everything about one trainable system, and its presets."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from lessons_lib.data.picture_statistics import PictureStatistics

Batch = dict[str, Any]


@dataclass(frozen=True)
class Preset:
    """The settings of one run. ``options`` are the recipe's own: sizes of the model and the data.

    Attributes:
        summary: what this run is for, one line.
        steps: optimiser steps.
        batch_size: samples in a step, over all processes together.
        learning_rate: at its peak.
        optimizer: Adam with decoupled weight decay, or SGD with momentum 0.9.
        weight_decay: as the optimiser defines it.
        schedule: how the learning rate falls after the warm-up: ``cosine`` and ``linear`` to 0,
            ``poly`` with power 0.9, ``step`` to a tenth at each milestone, or not at all.
        milestones: where ``step`` steps, in shares of all steps.
        warmup: steps over which it rises from 0.
        clip_norm: largest norm of the gradient; 0 = not clipped.
        precision: ``"no"`` (float32), ``"bf16"`` or ``"fp16"``.
        evaluate_every: steps between evaluations; 0 = at the end only.
        checkpoint_every: steps between checkpoints; 0 = at the end only.
        workers: processes that load data; 0 = none besides the main one.
    """

    summary: str = ""
    steps: int = 1000
    batch_size: int = 8
    learning_rate: float = 1e-3
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 0.0
    schedule: Literal["cosine", "linear", "poly", "step", "constant"] = "cosine"
    milestones: tuple[float, ...] = (2 / 3, 8 / 9)
    warmup: int = 0
    clip_norm: float = 0.0
    precision: Literal["no", "bf16", "fp16"] = "no"
    evaluate_every: int = 0
    checkpoint_every: int = 200
    workers: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, least in [("steps", 1), ("batch_size", 1), ("warmup", 0), ("workers", 0)]:
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        for name, allowed in [
            ("optimizer", ("adamw", "sgd")),
            ("schedule", ("cosine", "linear", "poly", "step", "constant")),
            ("precision", ("no", "bf16", "fp16")),
        ]:
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be one of {allowed}")

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        factor = {
            "constant": 1.0,
            "linear": 1 - done,
            "poly": (1 - done) ** 0.9,
            "step": 0.1 ** sum(step >= m * self.steps for m in self.milestones),
            "cosine": 0.5 * (1 + np.cos(np.pi * done)),
        }[self.schedule]
        return self.learning_rate * float(factor)

    def with_settings(self, settings: Mapping[str, Any]) -> Preset:
        """A copy with some fields or options replaced; strings are read as the old value's type.

        Raises:
            ValueError: for a name that is neither, or text that does not fit the type.
        """
        fields = {f.name for f in dataclasses.fields(self)} - {"options", "summary"}
        changes: dict[str, Any] = {}
        options = dict(self.options)
        for name, value in settings.items():
            if name in fields:
                changes[name] = _convert(name, value, getattr(self, name))
            elif name in options:
                options[name] = _convert(name, value, options[name])
            else:
                known = ", ".join(sorted(fields | set(options)))
                raise ValueError(f"setting {name!r} is unknown; the preset has: {known}")
        return dataclasses.replace(self, **changes, options=options)


def _convert(name: str, value: Any, old: Any) -> Any:
    if isinstance(value, str) and not isinstance(old, str):
        try:
            value = json.loads(value.lower() if isinstance(old, bool) else value)
        except json.JSONDecodeError:
            raise ValueError(
                f"setting {name} is {value!r}; it must be a {type(old).__name__}"
            ) from None
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(old, tuple) and isinstance(value, list):
        value = tuple(value)
    if old is not None and type(value) is not type(old):
        raise ValueError(f"setting {name} is {value!r}; it must be a {type(old).__name__}")
    return value


class Recipe(ABC):
    """Data, model, loss, prediction and measures of one trainable system.

    A subclass names itself, lists its presets, and fills in the methods; ``options`` below is always
    the preset's. All batches and outputs are dicts with the names of the book's vocabulary.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    presets: ClassVar[Mapping[str, Preset]]
    score: ClassVar[str]
    """The metric by which the best checkpoint is chosen; larger is better."""
    data_set: ClassVar[str | None] = None
    """Name of the data set that must be on disk; ``None`` for scenes that are drawn."""

    @abstractmethod
    def model(self, options: Mapping[str, Any]) -> nn.Module:
        """A network with fresh weights."""

    def initialize(self, model: nn.Module, options: Mapping[str, Any]) -> None:  # noqa: B027
        """Gives a fresh model what it begins with, such as a backbone's weights; by default nothing."""

    def parameter_groups(
        self, model: nn.Module, options: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """What the optimiser trains: groups as torch takes them, each with ``params``.

        ``factor`` in a group multiplies its learning rate, for layers that have to learn more than
        a pretrained backbone. By default one group of all parameters that ask for a gradient.
        """
        return [{"params": [p for p in model.parameters() if p.requires_grad]}]

    def settle(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options with what follows from the data filled in; called once, when a run begins."""
        return dict(options)

    def shared(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options as they are stored with weights and in the ledger: without the reader's folders."""
        return dict(options)

    @abstractmethod
    def training_data(self, options: Mapping[str, Any], count: int, seed: int) -> Dataset:
        """The samples of a run that sees ``count`` of them. Sample i depends on (seed, i) only."""

    @abstractmethod
    def validation_data(self, options: Mapping[str, Any]) -> Dataset:
        """Samples that are never trained on, the same for every seed."""

    def loss(
        self, outputs: dict[str, Tensor], batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """The terms whose sum is minimised, each a mean over the samples of the batch.

        Means over samples, not over pixels of all samples together, let several processes that
        share a batch reach the same gradient as one.
        """
        raise NotImplementedError(f"recipe {self.name} has neither loss nor training_terms")

    def predict(
        self, outputs: dict[str, Tensor], options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """What the outputs mean: for each sample ``semantic``, ``instances``, … without batch axis."""
        raise NotImplementedError(f"recipe {self.name} has neither predict nor infer")

    def training_terms(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> dict[str, Tensor]:
        """The terms of :meth:`loss` for a batch; detectors, which need the truth to choose what they
        learn from, compute them in the model."""
        return self.loss(model(batch["image"]), batch, options)

    def infer(
        self, model: nn.Module, batch: Batch, options: Mapping[str, Any]
    ) -> list[dict[str, Tensor]]:
        """The prediction for each sample of a batch that is on the model's device; on the CPU."""
        outputs = model(batch["image"])
        return self.predict({name: value.cpu() for name, value in outputs.items()}, options)

    def finish(  # noqa: B027
        self, model: nn.Module, options: Mapping[str, Any], seed: int
    ) -> None:
        """Fits what gradient steps do not, such as support vector machines, after the last step."""

    @abstractmethod
    def measure(
        self, prediction: dict[str, Tensor], sample: Batch, options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The metrics of one sample, or whatever else :meth:`summarize` needs of it."""

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """The metrics of many samples: the mean of each, unless a recipe knows better."""
        names = rows[0].keys() if rows else ()
        return {name: float(np.mean([row[name] for row in rows])) for name in names}

    def prepare(
        self,
        image: Tensor,
        options: Mapping[str, Any],
        statistics: PictureStatistics | None = None,
    ) -> Tensor:
        """A reader's picture, float (3, H, W) in [0, 1], as the model wants it (C, H, W).

        Args:
            image: the picture, or a part of one.
            options: the preset's.
            statistics: how bright the whole picture is, of which ``image`` is a part; ``None`` where
                it is all of it.
        """
        raise NotImplementedError(f"recipe {self.name} does not predict pictures from files")

    def preset(self, name: str) -> Preset:
        """The preset of that name.

        Raises:
            ValueError: naming those there are.
        """
        if name not in self.presets:
            raise ValueError(
                f"preset {name!r} is unknown; recipe {self.name} has: {', '.join(self.presets)}"
            )
        return self.presets[name]


RAGGED = ("boxes", "labels", "masks", "keypoints", "crowd", "difficult", "proposals")
"""Entries with one row an object, so that samples differ in their length."""


def collate(samples: Sequence[Batch]) -> Batch:
    """Stacks tensors; lists everything else, and what has one row an object (:data:`RAGGED`)."""
    return {
        key: torch.stack([sample[key] for sample in samples])
        if isinstance(samples[0][key], Tensor) and key not in RAGGED
        else [sample[key] for sample in samples]
        for key in samples[0]
    }
