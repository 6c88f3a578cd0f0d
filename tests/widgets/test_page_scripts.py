"""The page computes what the library computes: clusters, loss terms, moving points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from stored_figures import Scene

from lessons_lib.embedding import mean_shift
from lessons_lib.widgets import EmbeddingExplorer, TrainingReplay

Call = Callable[..., Any]


def cluster_in_page(call: Call, points: np.ndarray, radius: float, min_size: int) -> np.ndarray:
    code = "[...m.meanShift(Float64Array.from(v.points), v.dims, v.radius, v.size)]"
    values = {"points": points.ravel().tolist(), "dims": points.shape[1]}
    return np.array(call(EmbeddingExplorer._esm, code, **values, radius=radius, size=min_size))


@pytest.mark.parametrize("radius", [0.5, 1.0, 1.5])
def test_clusters_are_those_of_the_library(scene: Scene, call: Call, radius: float) -> None:
    points = scene.explorer().points().astype(np.float32)
    ours = cluster_in_page(call, points.astype(np.float64), radius, 10)
    theirs = mean_shift(torch.from_numpy(points), radius, 10).numpy()
    assert ours.max() == theirs.max()
    # The library adds in single precision, so a point on a ball's rim may fall to the other side.
    assert (ours == theirs).mean() > 0.999


@pytest.mark.parametrize("seed", range(4))
def test_small_point_sets_cluster_as_in_the_library(call: Call, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(int(rng.integers(1, 80)), int(rng.integers(1, 5)))).astype(np.float32)
    for radius, size in [(0.01, 1), (0.4, 1), (0.8, 3), (9.0, 1), (1.0, 1000)]:
        ours = cluster_in_page(call, points.astype(np.float64), radius, size)
        assert ours.tolist() == mean_shift(torch.from_numpy(points), radius, size).tolist()


@pytest.mark.parametrize("radius", [1.0, 1.5])
def test_storing_bytes_does_not_change_the_clusters(
    scene: Scene, call: Call, radius: float
) -> None:
    exact = scene.embedding[:, scene.instances > 0].T
    wanted = mean_shift(torch.from_numpy(exact), radius, 10).numpy()
    found = cluster_in_page(call, scene.explorer().points(), radius, 10)
    assert found.max() == wanted.max()
    assert adjusted_rand_score(wanted, found) > 0.99


def loss_terms(points: np.ndarray, ids: np.ndarray, dv: float, dd: float) -> dict[str, float]:
    """Transcribe equations 1 to 3 of De Brabandere et al. (2017)."""
    groups = [points[ids == k] for k in np.unique(ids[ids > 0])]
    means = [g.mean(axis=0) for g in groups]
    pulls = [
        (np.maximum(0, np.linalg.norm(g - m, axis=1) - dv) ** 2).mean()
        for g, m in zip(groups, means, strict=True)
    ]
    pushes = [
        max(0, 2 * dd - np.linalg.norm(a - b)) ** 2
        for i, a in enumerate(means)
        for j, b in enumerate(means)
        if i != j
    ]
    sizes = [np.linalg.norm(m) for m in means]
    return {
        "pull": float(np.mean(pulls)) if pulls else 0,
        "push": float(np.mean(pushes)) if pushes else 0,
        "regulariser": float(np.mean(sizes)) if sizes else 0,
    }


@pytest.mark.parametrize("kept", [8, 1, 0])
def test_loss_terms_are_the_papers(scene: Scene, call: Call, kept: int) -> None:
    points = scene.explorer().points()
    ids = scene.instances[scene.instances > 0]
    ids = np.where(ids > 8 - kept, ids, 0)  # with gaps at the start
    code = "m.lossTerms(Float64Array.from(v.points), 16, v.ids, v.dv, v.dd)"
    for dv, dd in [(0.5, 1.5), (0.1, 3.0)]:
        values = {"points": points.ravel().tolist(), "ids": ids.tolist(), "dv": dv, "dd": dd}
        found = call(EmbeddingExplorer._esm, code, **values)
        assert found == pytest.approx(loss_terms(points, ids, dv, dd), rel=1e-9)


def test_points_move_in_straight_lines_between_steps(call: Call) -> None:
    positions = [0, 0, 10, 10, 4, 8, 10, 20]  # two frames of two points
    code = "v.times.map((t) => [...m.between(v.positions, 2, t)])"
    found = call(TrainingReplay._esm, code, positions=positions, times=[0, 0.25, 1])
    assert found == [[0, 0, 10, 10], [1, 2, 10, 12.5], [4, 8, 10, 20]]
