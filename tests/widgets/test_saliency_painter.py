"""The figure of chapter 13: it measures as the library does, and it can be painted on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from moving import PHONE, check_phone, checksum, data, point_at, set_slider, wait_for
from stored_figures import stored_state

from lessons_lib.widgets import SaliencyPainter

Open = Callable[..., Any]
Call = Callable[..., Any]

SIDE = 48
Y, X = np.mgrid[:SIDE, :SIDE]
TRUTH = ((Y - 22) / 13) ** 2 + ((X - 25) / 9) ** 2 < 1
KEYS = {"mae": "MAE", "f": "F_max", "s": "S", "e": "E_max", "boundary": "F_boundary"}


def figure(**options: Any) -> SaliencyPainter:
    return SaliencyPainter.from_arrays(**{"truth": TRUTH, **options})


def blob(rng: np.random.Generator) -> np.ndarray:
    row, column, radius = *rng.uniform(5, 40, 2).tolist(), rng.uniform(3, 15)
    return (Y - row) ** 2 + (X - column) ** 2 < radius**2


@pytest.mark.parametrize("tolerance", [0, 0.0075, 0.02, 0.06])
def test_the_page_measures_as_the_library(tolerance: float, call: Call) -> None:
    rng = np.random.default_rng(round(1000 * tolerance))
    ready = figure()
    size = SIDE * SIDE
    maps = [
        np.frombuffer(ready.ready, np.uint8)[k * size :][:size] for k in range(len(ready.names))
    ]
    maps += [rng.integers(0, 256, size) for _ in range(4)]
    maps += [(255 * blob(rng)).ravel() for _ in range(6)]
    one = np.zeros((SIDE, SIDE), bool)
    one[SIDE - 1, 3] = True
    stripe = np.zeros((SIDE, SIDE), bool)
    stripe[:, :7] = True
    for truth in (TRUTH, blob(rng), one, stripe):
        for codes in maps:
            codes = np.asarray(codes, np.uint8).reshape(SIDE, SIDE)
            shown = figure(truth=truth, prediction=codes / 255, tolerance=tolerance)
            assert np.array_equal(shown.prediction(), codes)
            found = call(
                SaliencyPainter._esm,
                "m.measure(Uint8Array.from(v.codes), v.truth, 48, 48, v.radius).values",
                codes=codes.ravel().tolist(),
                truth=truth.astype(int).ravel().tolist(),
                radius=shown.radius,
            )
            expected = shown.scores()
            for name, key in KEYS.items():
                assert found[name] == pytest.approx(expected[key], abs=1e-9), (name, key)


def test_ready_maps_please_some_measures_and_not_others() -> None:
    shown = figure(tolerance=0.02)
    size = SIDE * SIDE
    got = {}
    for number, name in enumerate(shown.names):
        shown.codes = shown.ready[number * size : (number + 1) * size]
        got[name] = shown.scores()
    assert got["truth"]["MAE"] == 0 and got["truth"]["F_boundary"] == 1
    assert got["shy"]["F_max"] == 1 and got["shy"]["MAE"] > 0.1
    assert got["outline only"]["F_boundary"] > 0.9 and got["outline only"]["F_max"] < 0.6
    assert got["shifted"]["F_max"] > 0.7 and got["shifted"]["F_boundary"] < 0.6
    assert got["all black"]["MAE"] < got["all gray"]["MAE"]


def test_state_is_the_same_every_time_and_small() -> None:
    first, second = figure(), figure()
    states = [{k: v for k, v in f.get_state().items() if k != "layout"} for f in (first, second)]
    assert states[0] == states[1]
    modules = len(json.dumps([first._esm, first._css]))
    assert len(json.dumps(stored_state(first))) - modules < 40_000
    posters = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert posters[0] == posters[1] and len(posters[0]) < 20_000
    assert repr(first).startswith("SaliencyPainter(48×48: MAE 0.0")
    assert repr(SaliencyPainter()) == "SaliencyPainter()"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"truth": TRUTH.astype(int)}, r"truth is int64 \(48, 48\); expected bool"),
        ({"truth": np.ones((70, 70), bool)}, "at most 4096 pixels"),
        ({"truth": np.ones((8, 8), bool)}, "truth has 64 salient pixels of 64; expected some, not"),
        ({"prediction": np.zeros((8, 8))}, r"prediction has shape \(8, 8\); expected \(48, 48\)"),
        ({"prediction": np.full((48, 48), 1.5)}, "values from 1.5 to 1.5; expected 0 to 1"),
        ({"tolerance": -0.1}, "tolerance is -0.1; expected a finite number of at least 0"),
    ],
)
def test_a_wrong_argument_is_named(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        figure(**changed)


def test_mouse_paints_and_undo_takes_back(open_page: Open) -> None:
    page = open_page(figure(prediction=np.zeros((SIDE, SIDE))))
    canvas = page.locator("canvas").first
    assert (data(page, "total") == "0" and data(page, "f") == f"{0.0:.6f}") or data(
        page, "steps"
    ) == "0"
    blank = checksum(page, canvas)
    point_at(page, canvas, 0.5, 0.3)
    page.mouse.down()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.6 * box["height"], steps=3)
    page.mouse.up()
    wait_for(page, "steps", "1")
    # three columns from row 14 to 28, and one row more at each end
    assert int(data(page, "total")) == 255 * 3 * (28 - 14 + 1 + 2)
    assert checksum(page, canvas) != blank
    assert float(data(page, "mae")) < TRUTH.mean()
    page.get_by_role("button", name="Undo").click()
    wait_for(page, "total", "0")
    assert page.get_by_role("button", name="Undo").is_disabled()


def test_keys_paint_with_the_brush_that_is_set(open_page: Open) -> None:
    page = open_page(figure(prediction=np.zeros((SIDE, SIDE))))
    set_slider(page, "brush", 0.4)
    page.get_by_role("radio", name="1 px").check()
    canvas = page.locator("canvas").first
    canvas.focus()
    page.keyboard.press(" ")  # no brush is shown yet
    assert data(page, "total") == "0"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    wait_for(page, "cursor", "25,19")
    page.keyboard.press(" ")
    wait_for(page, "total", "102")
    page.keyboard.press("u")
    wait_for(page, "total", "0")
    page.keyboard.press("Escape")
    wait_for(page, "cursor", "")


def test_ready_made_maps_solve_the_task_and_blur(open_page: Open) -> None:
    page = open_page(figure())
    assert data(page, "solved") == "false"
    page.get_by_role("button", name="outline only").click()
    wait_for(page, "solved", "true")
    assert "Done: boundary F is 1.00" in page.locator(".pti-note").inner_text()
    page.get_by_role("button", name="all gray").click()
    wait_for(page, "mae", f"{np.abs(128 / 255 - TRUTH).mean():.6f}")
    before = data(page, "total")
    page.get_by_role("button", name="Blur", exact=True).click()
    wait_for(page, "steps", "3")
    assert data(page, "total") == before  # a constant map stays
    page.get_by_role("button", name="hole").click()
    whole = float(data(page, "e"))
    page.get_by_role("button", name="truth").click()
    assert float(data(page, "e")) > whole
    page.wait_for_timeout(700)
    assert "MAE" in page.locator(".pti-hidden[role=status]").inner_text()


def test_on_a_phone(open_page: Open) -> None:
    page = open_page(figure(prediction=np.zeros((SIDE, SIDE))), **PHONE)
    check_phone(page)
    box = page.locator("canvas").first.bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    wait_for(page, "total", str(9 * 255))


def test_follows_the_dark_page(open_page: Open) -> None:
    page = open_page(figure())
    curves = page.locator("canvas").nth(1)
    before = checksum(page, curves)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for(page, "theme", "dark")
    assert checksum(page, curves) != before
