"""The saliency measures beside pysodmetrics, on 200 maps of 352 x 352.

    python benchmarks/saliency_metrics.py

Maps are made by a NumPy generator: blurred discs with noise, and the discs as truth. Both score the same maps
and take turns, twenty maps each, so that a change of the machine's mood meets both; the best round of some is
printed. Ours gets the twenty as one batch, or one by one; pysodmetrics takes one by one.

MAE, F, S and E are computed together, by pysodmetrics in four classes and by ours in one ``SaliencyScores``; the
weighted F-measure has a row of its own. The boundary F-measure is not in pysodmetrics: beside it stands
nothing. ``uint8`` are maps as from PNG files, stretched to 0..1 first, as pysodmetrics does by default;
``float64`` are taken as they are.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import cv2
import numpy as np
import py_sod_metrics as pysod
import torch
from timing import machine

from lessons_lib.saliency import SaliencyScores, boundary_f_measure, weighted_f_measure

SIDE, BATCH = 352, 20
Batch = tuple[np.ndarray, np.ndarray]
Scorer = Callable[[np.ndarray, np.ndarray], object]


def batches(count: int) -> list[Batch]:
    """Predictions float64 (20, 1, H, W) in [0, 1] and truths bool of the same shape."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    made = []
    for _ in range(count):
        (row, column), radius = rng.uniform(100, 250, 2), rng.uniform(20, 90)
        truth = (y - row) ** 2 + (x - column) ** 2 < radius**2
        blurred = cv2.GaussianBlur(truth.astype(np.float64), (0, 0), rng.uniform(2, 15))
        made.append((np.clip(0.9 * blurred + rng.normal(0, 0.05, truth.shape), 0, 1), truth))
    parts = [made[start : start + BATCH] for start in range(0, count, BATCH)]
    return [tuple(np.stack(maps)[:, None] for maps in zip(*part, strict=True)) for part in parts]


def one_by_one(score: Scorer) -> Scorer:
    """The same for a batch."""

    def all_of(predictions: np.ndarray, truths: np.ndarray) -> None:
        for prediction, truth in zip(predictions[:, 0], truths[:, 0], strict=True):
            score(prediction, truth)

    return all_of


def pysodmetrics(*classes: type, normalize: bool = False) -> Scorer:
    """What steps objects of these classes."""
    measures = [kind() for kind in classes]

    def step(prediction: np.ndarray, truth: np.ndarray) -> None:
        for measure in measures:
            measure.step(prediction, truth, normalize=normalize)

    return one_by_one(step)


def report(what: str, scorers: list[Scorer], made: list[Batch], rounds: int) -> None:
    """Prints milliseconds a map of each scorer, ours and theirs: the best round's; and the ratio."""
    best = [float("inf")] * len(scorers)
    for _ in range(rounds):
        spent = [0.0] * len(scorers)
        for batch in made:
            for place, score in enumerate(scorers):
                began = time.perf_counter()
                score(*batch)
                spent[place] += time.perf_counter() - began
        best = [min(one, other) for one, other in zip(best, spent, strict=True)]
    times = [1000 * one / sum(len(truth) for _, truth in made) for one in best]
    beside = f"{times[1]:>14.2f}{times[1] / times[0]:>8.1f}" if len(times) == 2 else ""
    print(f"{what:<40}{times[0]:>8.2f}{beside}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--maps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    warnings.filterwarnings("ignore", "This class will be removed")
    cv2.setNumThreads(1)
    exact = batches(args.maps)
    stored = [(np.round(p * 255).astype(np.uint8), t.astype(np.uint8) * 255) for p, t in exact]
    four = (pysod.MAE, pysod.Fmeasure, pysod.Smeasure, pysod.Emeasure)
    for threads in args.threads:
        torch.set_num_threads(threads)
        print(f"{machine()}; ms a map, {args.maps} maps of {SIDE} x {SIDE}")
        print(f"{'':<40}{'ours':>8}{'pysodmetrics':>14}{'times':>8}")
        rows: list[tuple[str, list[Scorer], list[Batch]]] = [
            (
                "MAE, F, S, E: float64",
                [SaliencyScores().update, pysodmetrics(*four)],
                exact,
            ),
            (
                "MAE, F, S, E: uint8, stretched",
                [SaliencyScores(normalize=True).update, pysodmetrics(*four, normalize=True)],
                stored,
            ),
            (
                "MAE, F, S, E: float64, one by one",
                [one_by_one(SaliencyScores().update), pysodmetrics(*four)],
                exact,
            ),
            ("weighted F", [weighted_f_measure, pysodmetrics(pysod.WeightedFmeasure)], exact),
            ("boundary F", [boundary_f_measure], exact),
        ]
        for row in rows:
            report(*row, args.rounds)


if __name__ == "__main__":
    main()
