"""Greedy mean shift against scikit-learn's, and at the size of a real picture.

    python benchmarks/mean_shift.py

Clusters 3 apart in 16 dimensions with Gaussian noise, as a trained network leaves them.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cluster import MeanShift
from sklearn.metrics import adjusted_rand_score
from timing import machine, milliseconds
from torch import Tensor

from lessons_lib.embedding import mean_shift

RADIUS = 1.5


def clusters(points: int, count: int, noise: float, seed: int = 0) -> tuple[Tensor, np.ndarray]:
    """Points (N, 16) in random order round `count` centres at least 3 apart, and whose they are."""
    rng = np.random.default_rng(seed)
    centres: list[np.ndarray] = []
    while len(centres) < count:
        candidate = rng.normal(0, 2, 16)
        if all(np.linalg.norm(candidate - c) >= 3 for c in centres):
            centres.append(candidate)
    labels = rng.integers(0, count, points)
    x = np.array(centres)[labels] + rng.normal(0, noise, (points, 16))
    return torch.from_numpy(x).float(), labels


def main() -> None:
    print(machine())
    print(f"{'points':>8}{'clusters':>10}{'noise':>7}{'ours':>12}{'ARI':>8}"
          f"{'scikit-learn':>15}{'ARI':>8}{'times':>8}")  # fmt: skip
    for points, count, noise in [(500, 8, 0.2), (1000, 8, 0.2), (2000, 8, 0.2), (2000, 8, 0.3)]:
        x, truth = clusters(points, count, noise)
        mine = milliseconds(lambda x=x: mean_shift(x, RADIUS), 9)
        array = x.numpy()
        other = milliseconds(lambda a=array: MeanShift(bandwidth=RADIUS).fit(a), 1)
        ours = adjusted_rand_score(truth, mean_shift(x, RADIUS).numpy())
        theirs = adjusted_rand_score(truth, MeanShift(bandwidth=RADIUS).fit_predict(array))
        print(f"{points:8}{count:10}{noise:7}{mine:9.1f} ms{ours:8.4f}{other:12.0f} ms"
              f"{theirs:8.4f}{other / mine:8.0f}")  # fmt: skip
    x, truth = clusters(512 * 512, 50, 0.2)
    mine = milliseconds(lambda: mean_shift(x, RADIUS), 5)
    ours = adjusted_rand_score(truth, mean_shift(x, RADIUS).numpy())
    print(f"{512 * 512:8}{50:10}{0.2:7}{mine:9.0f} ms{ours:8.4f}   (512 x 512, all foreground)")


if __name__ == "__main__":
    main()
