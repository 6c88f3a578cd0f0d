"""The figures of chapter 6: overlaps and survivors are torchvision's, and they move."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from moving import PHONE, check_dark, check_phone, checksum, data, point_at, set_slider, wait_for
from stored_figures import stored_state

from lessons_lib.data import Shapes
from lessons_lib.detection.hog import cell_histograms
from lessons_lib.widgets import HOGCells, NMSPlayground

Open = Callable[..., Any]
Call = Callable[..., Any]


def some_boxes(seed: int = 0, count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 60, (count, 2))
    boxes = np.concatenate((corner, corner + rng.integers(5, 40, (count, 2))), 1).astype(float)
    return boxes, rng.permutation(count) / count


def playground(**options: Any) -> NMSPlayground:
    scene = Shapes(1, size=96, radius=(12, 24), seed=2)[0]
    boxes, scores = some_boxes()
    return NMSPlayground.from_arrays(scene["image"], boxes, scores, scene["boxes"], **options)


def cells(**options: Any) -> HOGCells:
    scene = Shapes(1, size=64, radius=(12, 24), seed=2)[0]
    values = cell_histograms(scene["image"][None], 8)[0]
    return HOGCells.from_arrays(scene["image"], values, 8, **options)


def test_overlaps_are_torchvisions(call: Call) -> None:
    boxes, _ = some_boxes(count=30)
    boxes[5] = boxes[6]
    boxes[7, 2] = boxes[7, 0]  # empty
    code = "v.boxes.map((a) => v.boxes.map((b) => m.overlap(a, b)))"
    table = call(NMSPlayground._esm, code, boxes=boxes.tolist())
    tensor = torch.from_numpy(boxes)
    for name, right in [
        ("iou", torchvision.ops.box_iou(tensor, tensor)),
        ("giou", torchvision.ops.generalized_box_iou(tensor, tensor)),
    ]:
        mine = torch.tensor([[o[name] for o in row] for row in table], dtype=torch.float64)
        torch.testing.assert_close(mine[:7, :7], right[:7, :7], atol=1e-12, rtol=0)
        torch.testing.assert_close(mine[8:, 8:], right[8:, 8:], atol=1e-12, rtol=0)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_survivors_are_torchvisions(call: Call, threshold: float) -> None:
    shown = playground()
    dropped = call(
        NMSPlayground._esm,
        "m.suppress(v.boxes, v.threshold)",
        boxes=shown.boxes,
        threshold=threshold,
    )
    kept = torchvision.ops.nms(torch.tensor(shown.boxes), torch.tensor(shown.scores), threshold)
    assert [k for k, by in enumerate(dropped) if by < 0] == kept.tolist()
    assert all(dropped[by] < 0 and by < k for k, by in enumerate(dropped) if by >= 0)


def test_duplicates_are_wrong(call: Call) -> None:
    truth = [[0, 0, 10, 10], [20, 0, 30, 10]]
    boxes = [[0, 0, 10, 10], [1, 0, 10, 10], [50, 0, 60, 10]]
    judge = "m.judge(v.boxes, v.truth)"
    assert call(NMSPlayground._esm, judge, boxes=boxes, truth=truth) == {"found": 1, "wrong": 2}
    assert call(NMSPlayground._esm, judge, boxes=boxes, truth=[]) == {"found": 0, "wrong": 3}


def test_cells_are_stored_finely_enough() -> None:
    scene = Shapes(1, size=64, radius=(12, 24), seed=2)[0]
    values = cell_histograms(scene["image"][None], 8)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(cells().histograms(), values, atol=values.max() / 250)
    shown = cells()
    assert (shown.row, shown.column) == np.unravel_index(values.sum(2).argmax(), (8, 8))


@pytest.mark.parametrize("make", [playground, cells])
def test_state_is_the_same_every_time_and_small(make: Callable[[], Any]) -> None:
    first, second = make(), make()
    states = [{k: v for k, v in f.get_state().items() if k != "layout"} for f in (first, second)]
    assert states[0] == states[1]
    assert "0x" not in repr(first) + repr(type(first)())
    assert len(first._esm) + len(first._css) < 45_000
    assert len(json.dumps(stored_state(first))) < 80_000
    posters = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert posters[0] == posters[1] and len(posters[0]) < 60_000


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.zeros((300, 300))}, "expected at most 65536 pixels"),
        ({"boxes": np.zeros((0, 4))}, "boxes has 0 rows; expected 1 to 200"),
        ({"boxes": np.zeros((2, 3))}, r"boxes has shape \(2, 3\)"),
        ({"scores": np.zeros(3)}, r"scores has shape \(3,\); expected \(40,\)"),
        ({"truth": [[0, 0, 1, np.nan]]}, "truth has 1 values that are NaN"),
        ({"pair": [[0, 0, 10, 10], [0, 0, 200, 10]]}, "within 120 by 80"),
        ({"pair": [[0, 0, 10, 10]]}, r"pair has shape \(1, 4\)"),
    ],
)
def test_a_wrong_argument_of_the_playground_is_named(changed: dict, message: str) -> None:
    boxes, scores = some_boxes()
    given = {"image": np.zeros((96, 96)), "boxes": boxes, "scores": scores, **changed}
    with pytest.raises(ValueError, match=message):
        NMSPlayground.from_arrays(**given)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"histograms": np.zeros((8, 8))}, r"histograms has shape \(8, 8\)"),
        ({"histograms": np.full((9, 8, 8), -1)}, "has the value -1; expected 0 or more"),
        ({"cell": 9}, "8 x 8 cells do not fit"),
        ({"cell": 0}, "cell is 0"),
        ({"at": (8, 0)}, r"at\[0\] is 8"),
        ({"histograms": np.zeros((9, 64, 64)), "cell": 1}, "4096 cells; expected at most 1024"),
    ],
)
def test_a_wrong_argument_of_the_cells_is_named(changed: dict, message: str) -> None:
    given = {"image": np.zeros((64, 64)), "histograms": np.zeros((9, 8, 8)), "cell": 8, **changed}
    with pytest.raises(ValueError, match=message):
        HOGCells.from_arrays(**given)


def test_the_pair_is_dragged(open_page: Open) -> None:
    page = open_page(playground())
    field = page.locator("canvas").first
    assert float(data(page, "iou")) == pytest.approx(600 / 3400, abs=1e-5)
    box = field.bounding_box()

    def at(x: float, y: float) -> tuple[float, float]:
        return box["x"] + x / 120 * box["width"], box["y"] + y / 80 * box["height"]

    page.mouse.move(*at(35, 25))  # inside the first box only
    page.mouse.down()
    page.mouse.move(*at(65, 35), steps=5)
    page.mouse.up()
    wait_for(page, "pair", "50,30,100,70,50,30,100,70")
    assert data(page, "iou") == data(page, "giou") == "1.000000"
    field.focus()
    page.keyboard.press("ArrowLeft")
    wait_for(page, "pair", "49,30,99,70,50,30,100,70")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+ArrowUp")
    wait_for(page, "pair", "49,30,99,70,50,25,100,65")
    page.keyboard.press("Alt+ArrowRight")
    wait_for(page, "pair", "49,30,99,70,50,25,101,65")
    page.mouse.move(*at(101, 65))  # its corner
    page.mouse.down()
    page.mouse.move(*at(200, 0), steps=4)  # held inside the field, and not turned over
    page.mouse.up()
    wait_for(page, "pair", "49,30,99,70,50,25,120,29")
    assert float(data(page, "giou")) < 0 == float(data(page, "iou"))


def test_the_threshold_is_dragged(open_page: Open) -> None:
    shown = playground()
    page = open_page(shown)
    stage = page.locator("canvas").nth(1)
    for threshold in (0, 1, 0.3):
        set_slider(page, "NMS threshold", threshold)
        kept = torchvision.ops.nms(torch.tensor(shown.boxes), torch.tensor(shown.scores), threshold)
        wait_for(page, "kept", str(len(kept)))
    before = checksum(page, stage)
    stage.focus()
    page.keyboard.press("ArrowRight")
    wait_for(page, "chosen", "0")
    page.keyboard.press("ArrowLeft")
    wait_for(page, "chosen", "39")
    assert checksum(page, stage) != before
    page.keyboard.press("Escape")
    wait_for(page, "chosen", "-1")
    x1, y1, x2, _ = shown.boxes[3]
    point_at(page, stage, (x1 + x2) / 2 / 96, y1 / 96, click=True)
    page.wait_for_function("+document.querySelector('.pti-nms').dataset.chosen >= 0")


def test_the_cells_follow_the_pointer(open_page: Open) -> None:
    shown = cells(at=(0, 0))
    page = open_page(shown)
    glyphs, bars = page.locator("canvas").nth(1), page.locator("canvas").nth(2)
    before = checksum(page, bars)
    point_at(page, glyphs, 5.5 / 8, 3.5 / 8)
    wait_for(page, "column", "5")
    assert data(page, "row") == "3"
    values = shown.histograms()[3, 5]
    assert float(data(page, "total")) == pytest.approx(values.sum(), abs=1e-4)
    assert int(data(page, "best")) == values.argmax()
    assert checksum(page, bars) != before
    glyphs.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Shift+ArrowRight")
    wait_for(page, "column", "7")
    assert data(page, "row") == "4"


@pytest.mark.parametrize("make", [playground, cells])
def test_on_a_phone_and_in_the_dark(make: Callable[[], Any], open_page: Open) -> None:
    page = open_page(make(), **PHONE)
    check_phone(page)
    if make is playground:
        check_dark(page)
        return
    bars = page.locator("canvas").nth(2)
    before = checksum(page, bars)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for(page, "theme", "dark")
    assert checksum(page, bars) != before
