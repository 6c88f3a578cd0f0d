"""The figure of chapter 8: what anchors learn is what the library says, and it moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from moving import PHONE, check_phone, checksum, data, point_at, set_slider, wait_for
from stored_figures import stored_state

from lessons_lib.data import Shapes
from lessons_lib.detection import AnchorGenerator, box_iou, match_boxes
from lessons_lib.widgets import AnchorMatcher

Open = Callable[..., Any]
Call = Callable[..., Any]

STRIDES = (8, 16)
ANCHORS = AnchorGenerator.by_hand([(20.0,), (44.0,)])
SCENE = Shapes(1, size=96, radius=(12, 24), seed=4)[0]


def figure(**options: Any) -> AnchorMatcher:
    given = {"image": SCENE["image"], "boxes": SCENE["boxes"], "strides": STRIDES, **options}
    return AnchorMatcher.from_arrays(**{"shapes": ANCHORS.shapes, **given})


def right(high: float, low: float, keep_best: bool) -> list[int]:
    maps = [torch.zeros(1, 1, 96 // s, 96 // s) for s in STRIDES]
    anchors = torch.cat(ANCHORS(maps, (96, 96)))
    iou = box_iou(SCENE["boxes"].double(), anchors.double())
    return match_boxes(iou, high, low, keep_best=keep_best).tolist()


SETTINGS = [
    (0.7, 0.3, True),
    (0.7, 0.3, False),
    (0.5, 0.4, False),
    (0.5, 0.5, True),
    (0.95, 0.05, True),
]


@pytest.mark.parametrize(("high", "low", "keep_best"), SETTINGS)
def test_matches_are_the_librarys(high: float, low: float, keep_best: bool, call: Call) -> None:
    shown = figure()
    shown.high, shown.low, shown.keep_best = high, low, keep_best
    expected = right(high, low, keep_best)
    assert np.concatenate([m.ravel() for m in shown.matches()]).tolist() == expected
    found = call(
        AnchorMatcher._esm,
        "m.matchAnchors(m.makeAnchors(v.size, v.strides, v.shapes, v.boxes), v.boxes.length, v.high, v.low, v.best)",
        size={"height": 96, "width": 96},
        strides=shown.strides,
        shapes=shown.shapes,
        boxes=shown.boxes,
        high=high,
        low=low,
        best=keep_best,
    )
    assert found == expected


def test_thresholds_push_each_other() -> None:
    shown = figure()
    shown.low = 0.8
    assert (shown.low, shown.high) == (0.8, 0.8)
    shown.high = 0.5
    assert (shown.low, shown.high) == (0.5, 0.5)


def test_state_is_the_same_every_time_and_small() -> None:
    first, second = figure(), figure()
    states = [{k: v for k, v in f.get_state().items() if k != "layout"} for f in (first, second)]
    assert states[0] == states[1]
    assert "0x" not in repr(first) + repr(AnchorMatcher())
    assert len(json.dumps(stored_state(first))) < 60_000
    posters = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert posters[0] == posters[1] and len(posters[0]) < 60_000


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.zeros((300, 300))}, "expected at most 65536 pixels"),
        ({"boxes": np.zeros((0, 4))}, r"boxes has shape \(0, 4\); expected \(T, 4\)"),
        ({"boxes": [[5, 5, 5, 9]]}, "boxes has an empty box"),
        ({"strides": (8,)}, "strides has 1 levels and shapes 2"),
        ({"shapes": [[(4, 4)], [(4, 4), (8, 8)]]}, "as many pairs of width and height"),
        ({"strides": (0, 8)}, "must be positive"),
        ({"strides": (1, 1)}, "expected at most 20000"),
    ],
)
def test_a_wrong_argument_is_named(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        figure(**changed)


def test_thresholds_and_levels_move(open_page: Open) -> None:
    page = open_page(figure())
    expected = right(0.7, 0.3, True)
    assert data(page, "object") == str(sum(m >= 0 for m in expected))
    assert data(page, "missed") == str(len(SCENE["boxes"]) - len({m for m in expected if m >= 0}))
    set_slider(page, "object from", 0.5)
    expected = right(0.5, 0.3, True)
    wait_for(page, "object", str(sum(m >= 0 for m in expected)))
    assert data(page, "ignored") == str(expected.count(-2))
    page.get_by_role("checkbox", name="keep best").click()
    expected = right(0.5, 0.3, False)
    wait_for(page, "object", str(sum(m >= 0 for m in expected)))
    set_slider(page, "background below", 0.7)
    wait_for(page, "high", "0.70")
    assert data(page, "low") == "0.70" and data(page, "ignored") == "0"
    canvas = page.locator("canvas").first
    before = checksum(page, canvas)
    page.locator("input[value='0']").click()
    wait_for(page, "level", "0")
    assert checksum(page, canvas) != before


def test_a_cell_is_picked_by_mouse_and_keys(open_page: Open) -> None:
    page = open_page(figure())
    page.locator("input[value='1']").click()
    canvas = page.locator("canvas").first
    point_at(page, canvas, 33 / 96, 47 / 96, click=True)
    wait_for(page, "chosen", "1,3,2")
    assert page.locator(".pti-anchor").count() == 3
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    wait_for(page, "chosen", "1,2,3")
    page.keyboard.press("Escape")
    wait_for(page, "chosen", "")
    assert page.locator(".pti-anchor").count() == 0


def test_on_a_phone_and_in_the_dark(open_page: Open) -> None:
    page = open_page(figure(), **PHONE)
    check_phone(page)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for(page, "theme", "dark")
