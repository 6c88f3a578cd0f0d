"""The two figures of chapter 9: what the page computes is what the library says, and they move."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from moving import PHONE, check_dark, check_phone, checksum, data, set_slider, wait_for
from stored_figures import stored_state

from lessons_lib.data import Shapes
from lessons_lib.detection import anchor_shapes, cluster_shapes, focal_gradient
from lessons_lib.detection.anchors import shape_iou
from lessons_lib.widgets import AnchorClusters, Figure, FocalLossExplorer

Open = Callable[..., Any]
Call = Callable[..., Any]


def answers(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and truth of 20,000 answers, 60 of them positive."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.zeros(20_000, dtype=torch.bool)
    truth[:60] = True
    logits = torch.where(truth, 1.0, -5.0) + 2 * torch.randn(20_000, generator=generator)
    return logits, truth


def focal(**options: Any) -> FocalLossExplorer:
    both = {"early": answers(), "late": (2 * answers()[0], answers()[1])}
    return FocalLossExplorer.from_answers(both, **options)


def right_shares(gamma: float, alpha: float, stage: int) -> dict[str, float]:
    """The shares from every answer itself, not from bins."""
    logits, truth = answers()
    margin = (1 + stage) * torch.where(truth, logits, -logits).double()
    pull = focal_gradient(margin.sigmoid(), gamma) * torch.where(truth, alpha, 1 - alpha)
    groups = {"easy": ~truth & (margin > 0), "hard": ~truth & (margin <= 0), "positive": truth}
    return {name: float(pull[mask].sum() / pull.sum()) for name, mask in groups.items()}


SETTINGS = [(0.0, 0.25, 0), (2.0, 0.25, 0), (2.0, 0.25, 1), (0.7, 0.5, 1), (5.0, 0.9, 0)]


@pytest.mark.parametrize(("gamma", "alpha", "stage"), SETTINGS)
def test_shares_are_the_librarys(gamma: float, alpha: float, stage: int, call: Call) -> None:
    shown = focal(gamma=gamma, alpha=alpha, stage=stage)
    shares = shown.shares()
    assert sum(shares.values()) == pytest.approx(1)
    # bins of a quarter of a logit are off by less than a percent of the whole
    assert shares == pytest.approx(right_shares(gamma, alpha, stage), abs=0.01)
    found = call(
        FocalLossExplorer._esm,
        "m.weigh(v.counts, v.bins, v.gamma, v.alpha).shares",
        counts=shown.counts[stage],
        bins=shown.bins,
        gamma=gamma,
        alpha=alpha,
    )
    assert found == pytest.approx(shares)


def test_curves_are_the_librarys(call: Call) -> None:
    p = [0.01, 0.3, 0.5, 0.9, 0.999]
    for gamma in (0.0, 0.5, 2.0, 5.0):
        slopes = call(
            FocalLossExplorer._esm, "v.p.map((p) => m.slope(p, v.gamma))", p=p, gamma=gamma
        )
        assert slopes == pytest.approx(
            focal_gradient(torch.tensor(p, dtype=torch.float64), gamma).tolist()
        )
        losses = call(
            FocalLossExplorer._esm, "v.p.map((p) => m.focal(p, v.gamma))", p=p, gamma=gamma
        )
        assert losses == pytest.approx([-((1 - q) ** gamma) * np.log(q) for q in p])


def test_histograms_by_hand() -> None:
    logits = torch.tensor([0.1, 0.3, -99.0, 2.0, -2.0])
    truth = torch.tensor([True, False, True, False, False])
    [[negatives, positives]] = FocalLossExplorer.from_answers({"a": (logits, truth)}).counts
    # p_t's logit: 0.1 in bin 48, -0.3 in bin 46, beyond the end in bin 0, -2 in 40, 2 in 56
    assert [k for k, count in enumerate(positives) if count] == [0, 48]
    assert [k for k, count in enumerate(negatives) if count] == [40, 46, 56]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "answers is empty"),
        ({"a": (torch.zeros(3), torch.zeros(2).bool())}, r"expected \(N,\) and bool \(N,\)"),
        ({"a": (torch.zeros(3), torch.zeros(3))}, r"truth float32 \(3,\)"),
        ({"a": (torch.tensor([np.nan, 0]), torch.tensor([True, False]))}, "NaN or infinite"),
        ({"a": (torch.zeros(3), torch.zeros(3).bool())}, "no positive or no negative"),
    ],
)
def test_a_wrong_answer_is_named(given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FocalLossExplorer.from_answers(given)


def test_a_network_that_is_not_there() -> None:
    with pytest.raises(ValueError, match="stage is 2; expected a whole number from 0 to 1"):
        focal(stage=2)


SCENES = Shapes(60, size=128, radius=(18, 36), count=(2, 4), seed=3)
BOXES = torch.cat([SCENES[k]["boxes"] for k in range(len(SCENES))])
HAND = anchor_shapes((24.0, 48.0, 72.0), (0.5, 1.0, 2.0))


def clusters(**options: Any) -> AnchorClusters:
    return AnchorClusters.from_boxes(BOXES, **{"hand": HAND, **options})


@pytest.mark.parametrize("metric", ["iou", "euclid"])
@pytest.mark.parametrize(("k", "start"), [(1, 0), (3, 1), (5, 0), (9, 4)])
def test_iterations_are_the_same_in_the_page(metric: str, k: int, start: int, call: Call) -> None:
    shown = clusters(k=k)
    shown.metric, shown.start = metric, start
    steps = shown.run()
    found = call(
        AnchorClusters._esm,
        "m.iterate(v.sizes, v.k, v.metric, v.start)",
        sizes=shown.sizes().tolist(),
        k=k,
        metric=metric,
        start=start,
    )
    assert len(found) == len(steps)
    np.testing.assert_allclose(found, steps, atol=1e-9)
    assert call(
        AnchorClusters._esm,
        "m.score(v.sizes, v.shapes)",
        sizes=shown.sizes().tolist(),
        shapes=steps[-1].tolist(),
    ) == pytest.approx(shown.score(steps[-1]))


def test_clusters_are_those_of_the_library() -> None:
    """The end stands still under the library's step, and its best start is about as good."""
    shown = clusters(k=5)
    sizes = shown.sizes()
    wanted = (BOXES[:, 2:] - BOXES[:, :2]).double().numpy()
    assert abs(sizes - wanted).max() <= shown.unit / 2 + 1e-6
    best = 0.0
    for start in range(8):
        shown.start = start
        end = shown.run()[-1]
        owner = shape_iou(sizes, end).argmax(1)
        means = [sizes[owner == j].mean(0) for j in range(5)]
        np.testing.assert_allclose(end, means)
        best = max(best, shown.score(end))
    library = shown.score(cluster_shapes(BOXES, 5))
    assert best == pytest.approx(library, abs=0.005)
    assert shown.score(shown.hand) == pytest.approx(shape_iou(sizes, np.array(HAND)).max(1).mean())
    assert best > shown.score(HAND[:5])


def test_one_shape_is_the_mean() -> None:
    shown = clusters(k=1)
    np.testing.assert_allclose(shown.run()[-1], shown.sizes().mean(0)[None])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"boxes": BOXES[:5]}, r"boxes has shape \(5, 4\); expected \(N, 4\) with N from 9 to 500"),
        ({"boxes": BOXES.flip(1)}, "boxes has an empty box"),
        ({"k": 10}, "k is 10; expected a whole number from 1 to 9"),
        ({"hand": [(0, 4)]}, "hand is .* must be positive"),
    ],
)
def test_a_wrong_argument_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AnchorClusters.from_boxes(**{"boxes": BOXES, **changed})


@pytest.mark.parametrize("make", [focal, clusters])
def test_state_is_the_same_every_time_and_small(make: Callable[..., Figure]) -> None:
    first, second = make(), make()
    states = [{k: v for k, v in f.get_state().items() if k != "layout"} for f in (first, second)]
    assert states[0] == states[1]
    assert "0x" not in repr(first) + repr(type(first)())
    own = {k: v for k, v in states[0].items() if k not in ("_esm", "_css")}
    assert len(repr(own)) < 15_000
    assert len(json.dumps(stored_state(first))) < 40_000
    posters = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert posters[0] == posters[1] and len(posters[0]) < 40_000


def test_gamma_and_alpha_are_dragged(open_page: Open) -> None:
    page = open_page(focal())
    assert data(page, "positive") == f"{focal().shares()['positive']:.4f}"
    canvas = page.locator("canvas").nth(1)
    before = checksum(page, canvas)
    set_slider(page, "gamma", 2.0)
    wait_for(page, "positive", f"{focal(gamma=2.0).shares()['positive']:.4f}")
    assert checksum(page, canvas) != before
    set_slider(page, "alpha", 0.5)
    wait_for(page, "easy", f"{focal(gamma=2.0, alpha=0.5).shares()['easy']:.4f}")
    page.locator("input[value='1']").click()
    expected = focal(gamma=2.0, alpha=0.5, stage=1).shares()
    wait_for(page, "hard", f"{expected['hard']:.4f}")
    assert f"{100 * expected['positive']:.1f} %" in page.locator(".pti-number").nth(2).inner_text()


def test_clusters_are_stepped_by_keys_and_played(open_page: Open) -> None:
    page = open_page(clusters(k=3))
    shown = clusters(k=3)
    steps = shown.run()
    assert data(page, "steps") == str(len(steps) - 1)
    assert data(page, "now") == f"{shown.score(steps[0]):.4f}"
    canvas = page.locator("canvas").first
    before = checksum(page, canvas)
    canvas.focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, "step", "1")
    assert data(page, "now") == f"{shown.score(steps[1]):.4f}"
    assert checksum(page, canvas) != before
    page.keyboard.press("Escape")
    wait_for(page, "step", "0")
    page.get_by_role("button", name="Play").click()
    wait_for(page, "step", str(len(steps) - 1))
    assert data(page, "end") == data(page, "now")
    set_slider(page, "shapes", 7)
    shown = clusters(k=7)
    wait_for(page, "end", f"{shown.score(shown.run()[-1]):.4f}")
    page.locator("input[value='euclid']").click()
    shown.metric = "euclid"
    wait_for(page, "end", f"{shown.score(shown.run()[-1]):.4f}")
    page.get_by_role("button", name="Another start").click()
    shown.start = 1
    wait_for(page, "end", f"{shown.score(shown.run()[-1]):.4f}")
    set_slider(page, "iteration", 2)
    wait_for(page, "now", f"{shown.score(shown.run()[2]):.4f}")


@pytest.mark.parametrize("make", [focal, clusters])
def test_on_a_phone_and_in_the_dark(make: Callable[..., Figure], open_page: Open) -> None:
    page = open_page(make(), **PHONE)
    check_phone(page)
    check_dark(page)
