"""The figure of chapter 12: it claims and clusters as the library does, and answers pointer and keys."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from moving import PHONE, check_phone, checksum, data, point_at, set_slider, wait_for
from stored_figures import Scene, stored_state

from lessons_lib.embedding import cluster_spatial
from lessons_lib.widgets import GaussianExplorer

Open = Callable[..., Any]
Call = Callable[..., Any]
UNIT = 32.0


def outputs_for(scene: Scene, seed: int = 0) -> dict[str, np.ndarray]:
    """What a decent network might say of a scene: offsets that nearly meet, ellipses, seeds, some wrong."""
    rng = np.random.default_rng(seed)
    shape = scene.instances.shape
    offset, sigma = np.zeros((2, *shape)), np.full((2, *shape), 0.3)
    score = np.full((1, *shape), -4.0) + rng.normal(0, 0.3, (1, *shape))
    y, x = np.mgrid[: shape[0], : shape[1]]
    for k in np.unique(scene.instances)[1:]:
        inside = scene.instances == k
        for axis, at in enumerate((x, y)):
            wander = rng.normal(0, 1.2, inside.sum())
            aim = np.clip(at[inside].mean() - at[inside] + wander, -30, 30)
            offset[axis, inside] = np.arctanh(aim / UNIT)
            half = rng.uniform(3, 7)
            sigma[axis, inside] = np.log(np.log(2) * (UNIT / half) ** 2) / 10
        away = np.hypot(*(np.tanh(offset[:, inside]) * UNIT))
        score[0, inside] = 3 - 0.12 * away + rng.normal(0, 0.5, inside.sum())
    blurred = rng.random(shape) < 0.02
    score[0, blurred] = 1.0
    return {"offset": offset, "sigma": sigma, "seed": score}


@pytest.fixture(scope="module")
def outputs(scene: Scene) -> dict[str, np.ndarray]:
    return outputs_for(scene)


@pytest.fixture
def figure(scene: Scene, outputs: dict[str, np.ndarray]) -> Callable[..., GaussianExplorer]:
    def make(**options: Any) -> GaussianExplorer:
        given = {"unit": UNIT, "min_size": 20, **options}
        return GaussianExplorer.from_arrays(scene.image, outputs, scene.instances, **given)

    return make


SPATIAL = """(() => { const p = { count: v.x.length, ...v }; return CODE; })()"""


def points_of(shown: GaussianExplorer) -> dict[str, Any]:
    """Places, spreads and seeds of the stored pixels, from what :meth:`outputs` gives back."""
    out = shown.outputs()
    mask = shown._mask()
    rows, columns = np.nonzero(mask)
    place = np.stack([columns, rows]) + UNIT * np.tanh(out["offset"][:, mask])
    spread = np.exp(10 * out["sigma"][:, mask]) / UNIT**2
    seed = 1 / (1 + np.exp(-out["seed"][0, mask]))
    names = ("x", "y", "sx", "sy", "seed")
    return {n: v.tolist() for n, v in zip(names, (*place, *spread, seed), strict=True)}


def test_stored_outputs_are_close(figure: Callable, outputs: dict[str, np.ndarray], scene: Scene):
    shown = figure()
    mask, kept = shown._mask(), shown.outputs()
    assert mask[scene.instances > 0].all()
    assert mask.sum() == ((outputs["seed"][0] > 0) | (scene.instances > 0)).sum()
    for name, step in (("offset", UNIT), ("sigma", 1.0)):
        given = np.tanh(outputs[name]) * UNIT if name == "offset" else outputs[name]
        found = np.tanh(kept[name]) * UNIT if name == "offset" else kept[name]
        difference = np.abs(given - found)[:, mask]
        assert difference.max() <= 0.51 * np.ptp(given[:, mask], axis=1).max() / 255, (name, step)
    assert np.abs(outputs["seed"] - kept["seed"])[:, mask].max() < 1e-2


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_the_page_claims_what_phi_says(figure: Callable, call: Call, threshold: float):
    points = points_of(figure())
    picked = list(range(0, len(points["x"]), 150))
    found = call(
        GaussianExplorer._esm,
        SPATIAL.replace("CODE", "v.picked.map(i => m.claimsOf(p, i, v.threshold, 0.5))"),
        **points,
        picked=picked,
        threshold=threshold,
    )
    at = {name: np.array(values) for name, values in points.items()}
    sizes = []
    for i, claimed in zip(picked, found, strict=True):
        exponent = (
            at["sx"][i] * (at["x"] - at["x"][i]) ** 2 + at["sy"][i] * (at["y"] - at["y"][i]) ** 2
        )
        expected = np.flatnonzero((np.exp(-exponent) > threshold) & (at["seed"] > 0.5))
        assert claimed == expected.tolist()
        sizes.append(len(claimed))
    assert max(sizes) > 100


@pytest.mark.parametrize(
    ("threshold", "limits"),
    [
        (0.5, {"min_size": 20}),
        (0.8, {"min_size": 1, "min_unclaimed": 0.9}),
        (0.2, {"min_size": 60, "seed_threshold": 0.9}),
        (0.65, {"min_size": 5, "foreground_threshold": 0.7, "seed_threshold": 0.6}),
    ],
)
def test_the_page_clusters_as_the_library(figure: Callable, call: Call, threshold, limits):
    shown = figure(threshold=threshold, **limits)
    mask, points = shown._mask(), points_of(shown)
    steps = call(
        GaussianExplorer._esm,
        SPATIAL.replace("CODE", "m.clusterSteps(p, v.limits, v.threshold)"),
        **points,
        limits=shown.limits,
        threshold=threshold,
    )
    page = np.zeros(mask.sum(), int)
    for step in steps:
        if step["accepted"]:
            page[step["unclaimed"]] = step["found"]
    outputs = {name: torch.from_numpy(values) for name, values in shown.outputs().items()}
    expected = cluster_spatial(outputs, unit=UNIT, pixel_threshold=threshold, **shown.limits)
    theirs = expected.instances.numpy()
    assert (theirs[~mask] == 0).all()
    assert page.max() == theirs.max() > 4
    assert (page == theirs[mask]).mean() > 0.999  # the library calculates in single precision


def test_fixed_margin_and_several_classes(scene: Scene, outputs: dict[str, np.ndarray]):
    both = np.concatenate([outputs["seed"] - 9, outputs["seed"]])
    named = {"offset": torch.from_numpy(outputs["offset"]), "seed": torch.from_numpy(both)}
    shown = GaussianExplorer.from_arrays(scene.image, named, scene.instances, unit=UNIT, margin=6.0)
    half = np.sqrt(np.log(2) / np.exp(10 * shown.outputs()["sigma"])) * UNIT
    assert np.allclose(half[:, shown._mask()], 6)
    assert np.abs(shown.outputs()["seed"] - outputs["seed"])[:, shown._mask()].max() < 1e-2
    one = {**outputs, "sigma": outputs["sigma"][:1]}
    circle = GaussianExplorer.from_arrays(scene.image, one, scene.instances, unit=UNIT)
    assert np.array_equal(*circle.outputs()["sigma"])


def test_state_is_the_same_every_time_and_small(figure: Callable):
    first, second = figure(), figure()
    states = [{k: v for k, v in f.get_state().items() if k != "layout"} for f in (first, second)]
    assert states[0] == states[1]
    assert "0x" not in repr(first) + repr(GaussianExplorer())
    assert repr(first) == "GaussianExplorer(96×96, 8 instances, unit=32, threshold=0.5)"
    state = {k: v for k, v in states[0].items() if not k.startswith("_")}
    assert sum(len(repr(v)) for v in state.values()) > 1000
    assert len(json.dumps(stored_state(first))) < 100_000
    modules = len(json.dumps([first._esm, first._css]))
    assert len(json.dumps(stored_state(first))) - modules < 60_000  # data alone
    posters = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert posters[0] == posters[1] and len(posters[0]) < 40_000


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"unit": 0}, "unit is 0; expected a finite number above 0"),
        ({"margin": -1}, "margin is -1; expected a finite number above 0"),
        ({"threshold": 0.99}, r"threshold is 0.99; expected a number from 0.05 to 0.95"),
        ({"seed_threshold": 1.5}, "seed_threshold is 1.5; expected a number from 0 to 1"),
        ({"min_size": 0}, "min_size is 0; expected a whole number from 1"),
        ({"pixel": (96, 3)}, "pixel's x is 96; expected a whole number from 0 to 95"),
    ],
)
def test_a_wrong_argument_is_named(figure: Callable, changed: dict, message: str):
    with pytest.raises(ValueError, match=message):
        figure(**changed)


def test_wrong_outputs_are_named(scene: Scene, outputs: dict[str, np.ndarray]):
    def make(**changed: Any) -> None:
        given = {k: v for k, v in {**outputs, **changed}.items() if v is not None}
        GaussianExplorer.from_arrays(scene.image, given, scene.instances, unit=UNIT)

    with pytest.raises(KeyError, match="outputs lacks sigma; it has offset, seed"):
        make(sigma=None)
    with pytest.raises(ValueError, match=r"offset has shape \(3, 96, 96\); expected 2 channels"):
        make(offset=np.zeros((3, 96, 96)))
    with pytest.raises(ValueError, match=r"seed has shape \(1, 95, 96\); expected \(1, 96, 96\)"):
        make(seed=np.zeros((1, 95, 96)))
    with pytest.raises(ValueError, match="sigma has 18432 values that are NaN"):
        make(sigma=np.full((2, 96, 96), np.nan))
    with pytest.raises(ValueError, match="mark no pixel"):
        GaussianExplorer.from_arrays(
            scene.image,
            {**outputs, "seed": -9 + 0 * outputs["seed"]},
            0 * scene.instances,
            unit=UNIT,
        )


def test_pointer_keys_and_slider_pick_and_claim(open_page: Open, figure: Callable, scene: Scene):
    shown = figure(pixel=(2, 2))
    page = open_page(shown)
    picture, plane = page.locator("canvas").all()
    assert data(page, "pixel") == "(2, 2)" and data(page, "claimed") == "0"
    before = checksum(page, picture), checksum(page, plane)
    inside = np.argwhere(scene.instances == 3)
    y, x = inside[len(inside) // 2]
    point_at(page, picture, (x + 0.5) / 96, (y + 0.5) / 96)
    wait_for(page, "pixel", f"({x}, {y})")
    assert int(data(page, "claimed")) > 20 and 0 < float(data(page, "iou")) <= 1
    assert (checksum(page, picture), checksum(page, plane)) != before
    page.mouse.move(1, 1)
    assert data(page, "pixel") == f"({x}, {y})"  # what was picked stays
    claimed = []
    for threshold in (0.9, 0.5, 0.1):
        set_slider(page, "threshold", threshold)
        wait_for(page, "threshold", f"{threshold:.2f}")
        claimed.append(int(data(page, "claimed")))
    assert claimed[0] < claimed[1] < claimed[2]
    halves = [float(v) for v in data(page, "margin").split(",")]
    picture.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    wait_for(page, "pixel", f"({x + 1}, {y - 5})")
    page.keyboard.press("Escape")
    wait_for(page, "pixel", "(2, 2)")
    assert halves[0] != halves[1]
    plane.focus()
    page.keyboard.press("ArrowDown")
    first = data(page, "pixel")
    page.keyboard.press("ArrowDown")
    assert data(page, "pixel") not in ("(2, 2)", first)
    text = page.locator(".pti-hidden[role=status]").inner_text
    page.wait_for_timeout(700)
    assert "Claims" in text() and "points to" in text()


def test_readout_is_what_the_stored_numbers_say(open_page: Open, figure: Callable, scene: Scene):
    shown = figure()
    out = shown.outputs()
    points, mask = points_of(shown), shown._mask()
    at = {name: np.array(values) for name, values in points.items()}
    x, y = shown.start
    i = int(mask[:y].sum() + mask[y, :x].sum())
    assert points["seed"][i] == max(points["seed"])
    exponent = at["sx"][i] * (at["x"] - at["x"][i]) ** 2 + at["sy"][i] * (at["y"] - at["y"][i]) ** 2
    claimed = np.zeros(mask.shape, bool)
    claimed[mask] = (np.exp(-exponent) > 0.5) & (at["seed"] > 0.5)
    truth = scene.instances == scene.instances[y, x]
    iou = (claimed & truth).sum() / (claimed | truth).sum()
    half = np.sqrt(np.log(2) / np.exp(10 * out["sigma"][:, y, x])) * UNIT
    page = open_page(shown)
    assert data(page, "claimed") == str(claimed.sum())
    assert data(page, "iou") == f"{iou:.4f}"
    assert data(page, "margin") == ",".join(f"{v:.1f}" for v in half)
    assert data(page, "seed") == f"{points['seed'][i]:.4f}"


def test_clustering_goes_one_by_one_and_plays(open_page: Open, figure: Callable):
    page = open_page(figure(seed_threshold=0.8))
    steps, everything = int(data(page, "steps")), data(page, "all")
    assert 20 > steps >= int(everything) >= 6
    start = page.get_by_role("button", name="Start over")
    assert start.is_disabled()
    after = page.get_by_role("button", name="Next seed")
    found = []
    for number in range(1, steps + 1):
        after.click()
        wait_for(page, "rounds", str(number))
        found.append((data(page, "found"), data(page, "accepted")))
    assert found[-1][0] == everything and after.is_disabled()
    assert found[0] == ("1", "true")
    assert sum(accepted == "true" for _, accepted in found) == int(everything)
    note = page.locator(".pti-note").nth(1)
    assert f"{everything} instances, 8 true" in note.inner_text()
    start.click()
    wait_for(page, "rounds", "0")
    page.get_by_role("button", name="Play").click()
    wait_for(page, "rounds", "2")
    page.get_by_role("button", name="Pause").click()
    assert page.get_by_role("button", name="Play").is_visible()


def test_rejected_proposals_say_why(open_page: Open, figure: Callable):
    page = open_page(figure(min_unclaimed=0.95, threshold=0.9))
    note = page.locator(".pti-note").nth(1)
    refused = ""
    for _ in range(int(data(page, "steps"))):
        page.get_by_role("button", name="Next seed").click()
        if data(page, "accepted") == "false":
            refused = note.inner_text()
            break
    assert "rejected, " in refused
    assert note.get_attribute("data-refused") == "true"


def test_on_a_phone(open_page: Open, figure: Callable):
    check_phone(open_page(figure(), **PHONE))


def test_follows_the_dark_page(open_page: Open, figure: Callable):
    page = open_page(figure())
    plane = page.locator("canvas").nth(1)
    before = checksum(page, plane)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for(page, "theme", "dark")
    assert checksum(page, plane) != before
