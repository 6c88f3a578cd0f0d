"""The figure of chapter 10: it pools as the library does, and the box moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from moving import PHONE, check_phone, checksum, data, set_slider, wait_for
from stored_figures import stored_state

from lessons_lib.data import Shapes
from lessons_lib.widgets import RoIShift

Open = Callable[..., Any]
Call = Callable[..., Any]

STRIDE = 8
SCENE = Shapes(1, size=96, radius=(12, 24), seed=4)[0]
MAP = torch.nn.functional.avg_pool2d(SCENE["image"].mean(0)[None, None], STRIDE)[0, 0]
BOX = (20.3, 26.0, 61.9, 57.4)


def figure(**options: Any) -> RoIShift:
    given = {"image": SCENE["image"], "features": MAP, "stride": STRIDE, "box": BOX, **options}
    return RoIShift.from_arrays(**given)


def stored_map(shown: RoIShift) -> np.ndarray:
    """What the page sees: the map in 256 steps."""
    codes = np.frombuffer(shown.codes, np.uint8).reshape(12, 12) / 255
    return shown.low + codes * (shown.high - shown.low)


@pytest.mark.parametrize("bins", [1, 2, 4, 7])
def test_both_ways_pool_as_torchvision(bins: int, call: Call) -> None:
    shown = figure(bins=bins)
    values = stored_map(shown)
    features = torch.from_numpy(values)[None, None]
    rng = np.random.default_rng(bins)
    boxes = [np.round(shown.box + np.tile(rng.uniform(-8, 8, 2), 2), 1).tolist() for _ in range(60)]
    boxes += [[-9.5, -3, 8, 100.2], [0, 0, 96, 96], [4, 4, 4.5, 4.2], [90, 90, 130, 130]]
    for name, source in (("roiPool", "pool"), ("roiAlign", "align")):
        found = call(
            RoIShift._esm,
            f"v.boxes.map(b => m.{name}(v.map, b.map(x => x / 8), v.bins))",
            boxes=boxes,
            bins=bins,
            map={"values": values.ravel().tolist(), "rows": 12, "columns": 12},
        )
        rows = torch.tensor([[0, *box] for box in boxes], dtype=torch.float64)
        if source == "pool":
            expected = torchvision.ops.roi_pool(features, rows, bins, 1 / STRIDE)
        else:
            expected = torchvision.ops.roi_align(features, rows, bins, 1 / STRIDE, 2)
        assert np.allclose(found, expected.flatten(1), atol=1e-9)


def test_the_box_moves_in_python_too() -> None:
    shown = figure()
    assert shown.snapped() == [24, 24, 72, 64]  # 2.54 → 3, 3.25 → 3, 7.74 → 8 and 7.18 → 7 cells
    start = shown.pooled()
    shown.x = 0.1
    after = shown.pooled()
    assert shown.moved() == pytest.approx([20.4, 26.0, 62.0, 57.4])
    assert np.array_equal(start["pool"], after["pool"])
    assert 0 < np.abs(start["align"] - after["align"]).max() < 0.01
    shown.x = -0.4  # 19.9 / 8 is below 2.5: the left end jumps by a whole cell
    assert shown.snapped() == [16, 24, 72, 64]
    assert np.abs(start["pool"] - shown.pooled()["pool"]).max() > 0.02


def test_state_is_the_same_every_time_and_small() -> None:
    first, second = figure(), figure()
    states = [{k: v for k, v in f.get_state().items() if k != "layout"} for f in (first, second)]
    assert states[0] == states[1]
    assert "0x" not in repr(first) + repr(RoIShift())
    assert len(json.dumps(stored_state(first))) < 60_000
    posters = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert posters[0] == posters[1] and len(posters[0]) < 60_000


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.zeros((300, 300))}, "expected at most 65536 pixels"),
        ({"features": np.zeros((12, 11))}, r"features has shape \(12, 11\); expected \(12, 12\)"),
        ({"features": np.full((12, 12), np.nan)}, "features has 144 values that are NaN"),
        ({"stride": 0}, "stride is 0; expected a whole number from 1"),
        ({"box": (1, 2, 3)}, "expected four numbers"),
        ({"box": (30, 30, 30, 50)}, "expected x1 < x2 and y1 < y2"),
        ({"box": (4, 20, 40, 40)}, "expected 8 px of the picture on each side"),
        ({"reach": 0}, "reach is 0; expected a finite number above 0"),
        ({"bins": 8}, "bins is 8; expected a whole number from 1 to 7"),
    ],
)
def test_a_wrong_argument_is_named(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        figure(**changed)


def test_sliders_keys_and_mouse_move_the_box(open_page: Open) -> None:
    page = open_page(figure())
    assert data(page, "read") == "24,24,72,64" and data(page, "pool") == "0.0000"
    canvas = page.locator("canvas").first
    before = checksum(page, canvas)
    canvas.focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, "x", "0.1")
    assert data(page, "pool") == "0.0000" and float(data(page, "align")) > 0
    assert checksum(page, canvas) != before
    set_slider(page, "to the right", -0.4)
    wait_for(page, "x", "-0.4")
    assert data(page, "read") == "16,24,72,64" and float(data(page, "pool")) > 0
    page.locator("input[value='7']").click()
    wait_for(page, "bins", "7")
    canvas.focus()
    page.keyboard.press("Escape")
    wait_for(page, "x", "0.0")
    box = canvas.bounding_box()
    scale = box["width"] / 96
    start = box["x"] + 40 * scale, box["y"] + 40 * scale
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + 3 * scale, start[1] + 20 * scale, steps=4)
    page.mouse.up()
    wait_for(page, "y", "8.0")  # no farther than its reach
    assert abs(float(data(page, "x")) - 3) <= 0.11
    page.mouse.move(*start)  # let go: nothing moves any more
    assert data(page, "y") == "8.0"


def test_on_a_phone_and_in_the_dark(open_page: Open) -> None:
    page = open_page(figure(), **PHONE)
    check_phone(page)


def test_follows_the_dark_page(open_page: Open) -> None:
    page = open_page(figure())
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for(page, "theme", "dark")
    assert checksum(page, page.locator("canvas").nth(3)) != 0
