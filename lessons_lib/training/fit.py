"""The one training loop of the book."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler
from tqdm.auto import tqdm

from lessons_lib.training import state
from lessons_lib.training.evaluate import evaluate_model
from lessons_lib.training.log import Log, claim_folder, describe
from lessons_lib.training.recipe import Batch, Preset, Recipe, collate


class TrainingDiverged(RuntimeError):
    """A term of the loss is no longer a finite number."""


@dataclass
class Run:
    """What :func:`fit` returns: the trained model and how it came about."""

    recipe: Recipe
    preset: Preset
    model: nn.Module
    metrics: dict[str, float]
    history: list[dict[str, float]] = field(repr=False)
    ledger: dict[str, Any] = field(repr=False)
    folder: Path | None


def fit(
    recipe: Recipe,
    preset: str = "live",
    *,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    after_step: Callable[[int, nn.Module], None] | None = None,
    **settings: Any,
) -> Run:
    """Trains a recipe and measures it.

    The batch of a step is a function of ``(seed, step)``, and so is the learning rate: a run that
    was killed and resumed takes exactly the steps that it would have taken. Global random state is
    as before afterwards.

    Args:
        recipe: from :func:`lessons_lib.recipes.get_recipe`, or one of your own.
        preset: name of one of its presets.
        seed: of the weights and the data.
        out: folder for checkpoints, weights (last and best), TensorBoard and CSV logs and the ledger
            entry; ``None`` writes nothing.
        resume: go on from the newest checkpoint in ``out``, if there is one.
        progress: show a bar with the time left.
        after_step: called with the number of steps done and the model, to record or to watch. It
            may put the model in evaluation mode; it must not change it.
        **settings: replace fields or options of the preset, for example ``steps=100``.

    Raises:
        ValueError: for an unknown preset or setting; a batch that the processes cannot share evenly;
            ``resume`` without ``out``; ``out`` with a run in it and no ``resume``, or with a run of
            other settings; a recipe that finds no sample.
        TrainingDiverged: for a loss that is not finite, naming step, term and samples.
    """
    settled = recipe.preset(preset).with_settings(settings)
    if resume and out is None:
        raise ValueError("resume is True and out is None; resuming needs the folder of the run")
    AcceleratorState._reset_state()  # else the precision of the process's first run would stay
    accelerator = Accelerator(mixed_precision=settled.precision)
    if settled.batch_size % accelerator.num_processes:
        raise ValueError(
            f"batch_size is {settled.batch_size}; it must be a multiple of the "
            f"{accelerator.num_processes} processes"
        )
    settled = dataclasses.replace(settled, options=recipe.settle(settled.options))
    shared = dataclasses.replace(settled, options=recipe.shared(settled.options))
    identity = {"recipe": recipe.name, "preset": preset, "seed": seed}
    facts = {**identity, "options": dict(shared.options)}
    with state.isolated_random_state(seed):
        data = recipe.training_data(settled.options, settled.steps * settled.batch_size, seed)
        model = recipe.model(settled.options).to(memory_format=torch.channels_last)
        if len(data) == 0:  # type: ignore[arg-type]
            raise ValueError(f"recipe {recipe.name} found no sample to train on")
        recipe.initialize(model, settled.options)
        # only now, so that a run which could not start leaves no folder behind
        folder = claim_folder(out, resume, {**identity, **describe(settled)}, accelerator)
        model, optimizer = accelerator.prepare(
            model, _optimizer(recipe.parameter_groups(model, settled.options), settled)
        )
        log = Log(folder, accelerator)
        checkpoints = state.Checkpoints(folder / "checkpoints", accelerator) if folder else None
        start, best, spent = 0, float("-inf"), 0.0
        if resume and checkpoints and (saved := checkpoints.restore()):
            start, best, spent = saved["step"], saved["best"], saved["seconds"]
            log.restore(saved["history"])
        began = time.perf_counter() - spent
        loader = _loader(data, settled, seed, start, accelerator)
        metrics: dict[str, float] = {}
        log_every = max(10, settled.steps // 500)
        bar = tqdm(
            total=settled.steps,
            initial=start,
            desc=f"{recipe.name} {preset}",
            disable=not (progress and accelerator.is_main_process),
            mininterval=0.5,
        )
        for step, batch in enumerate(loader, start):
            model.train()
            batch = _to_device(batch, accelerator.device)
            for group in optimizer.param_groups:
                group["lr"] = group["factor"] * settled.learning_rate_at(step)
            terms = recipe.training_terms(model, batch, settled.options)
            _check_finite(terms, step, batch)
            optimizer.zero_grad()
            accelerator.backward(sum(terms.values()))
            if settled.clip_norm:
                accelerator.clip_grad_norm_(model.parameters(), settled.clip_norm)
            optimizer.step()
            done = step + 1
            bar.update()
            if done == settled.steps:
                recipe.finish(accelerator.unwrap_model(model), settled.options, seed)
            if after_step:
                after_step(done, accelerator.unwrap_model(model))
            if done == settled.steps or _due(done, log_every):
                row = log.write(done, terms, settled.learning_rate_at(step))
                bar.set_postfix(loss=f"{row['loss']:.3f}")
            if done == settled.steps or _due(done, settled.evaluate_every):
                metrics = evaluate_model(recipe, accelerator.unwrap_model(model), settled.options)
                log.write_metrics(done, metrics)
                if metrics[recipe.score] > best:
                    best = metrics[recipe.score]
                    if folder and accelerator.is_main_process:
                        raw = accelerator.unwrap_model(model)
                        state.save_weights(
                            raw, folder / "best.safetensors", {**facts, "step": done}
                        )
            if checkpoints and (done == settled.steps or _due(done, settled.checkpoint_every)):
                seconds = time.perf_counter() - began
                checkpoints.save(
                    done, {"step": done, "best": best, "seconds": seconds, "history": log.rows}
                )
        bar.close()
        raw = accelerator.unwrap_model(model).eval()
        if not metrics:  # resumed after its last step
            metrics = evaluate_model(recipe, raw, settled.options)
        ledger = {
            **identity,
            "settings": describe(shared),
            "metrics": metrics,
            "parameters": sum(p.numel() for p in raw.parameters()),
            "device": state.device_name(accelerator.device),
            "processes": accelerator.num_processes,
            "seconds": round(time.perf_counter() - began, 1),
            "versions": state.versions(),
        }
        if folder and accelerator.is_main_process:
            state.save_weights(raw, folder / "last.safetensors", {**facts, "step": settled.steps})
            state.write_json(folder / "ledger.json", ledger)
        log.close()
        accelerator.wait_for_everyone()
    return Run(recipe, settled, raw, metrics, log.rows, ledger, folder)


class _Batches(Sampler[list[int]]):
    """This process's share of the batch of each step: whole epochs, each shuffled by (seed, epoch)."""

    def __init__(self, size: int, preset: Preset, seed: int, start: int, rank: int, world: int):
        self.size, self.preset, self.seed = size, preset, seed
        self.start, self.rank, self.world = start, rank, world

    def __len__(self) -> int:
        return self.preset.steps - self.start

    def __iter__(self) -> Iterator[list[int]]:
        epoch, order = -1, torch.empty(0)
        for step in range(self.start, self.preset.steps):
            batch = []
            first = step * self.preset.batch_size
            for position in range(first, first + self.preset.batch_size):
                if position // self.size != epoch:
                    epoch = position // self.size
                    mixed = torch.Generator().manual_seed((self.seed << 20) + epoch)
                    order = torch.randperm(self.size, generator=mixed)
                batch.append(int(order[position % self.size]))
            yield batch[self.rank :: self.world]


def _loader(
    data: Dataset, preset: Preset, seed: int, start: int, accelerator: Accelerator
) -> DataLoader:
    size = len(data)  # type: ignore[arg-type]
    rank, world = accelerator.process_index, accelerator.num_processes
    return DataLoader(
        data,
        batch_sampler=_Batches(size, preset, seed, start, rank, world),
        collate_fn=collate,
        num_workers=preset.workers,
        pin_memory=accelerator.device.type == "cuda",
        generator=torch.Generator().manual_seed(seed),  # else it would draw from the global one
    )


def _optimizer(groups: list[dict[str, Any]], preset: Preset) -> torch.optim.Optimizer:
    groups = [{"factor": 1.0, **group} for group in groups]
    if preset.optimizer == "sgd":
        return torch.optim.SGD(
            groups, preset.learning_rate, momentum=0.9, weight_decay=preset.weight_decay
        )
    return torch.optim.AdamW(groups, preset.learning_rate, weight_decay=preset.weight_decay)


def _to_device(batch: Batch, device: torch.device) -> Batch:
    moved = {
        k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()
    }
    moved["image"] = moved["image"].contiguous(memory_format=torch.channels_last)
    return moved


def _check_finite(terms: Mapping[str, Tensor], step: int, batch: Batch) -> None:
    if torch.isfinite(sum(terms.values())):  # type: ignore[arg-type]
        return
    bad = {name: float(term.detach()) for name, term in terms.items() if not torch.isfinite(term)}
    raise TrainingDiverged(
        f"step {step}: loss term {', '.join(f'{n} is {v}' for n, v in bad.items()) or 'sum overflows'} "
        f"for the samples {batch.get('id', 'without ids')}"
    )


def _due(done: int, every: int) -> bool:
    return every > 0 and done % every == 0
