"""The merging figure: its regions, boxes and overlaps are the library's, and it moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torchvision
from moving import PHONE, check_phone, checksum, data, set_slider, wait_for
from stored_figures import stored_state

from lessons_lib.data import Shapes
from lessons_lib.detection import MergeTree, merge_regions
from lessons_lib.widgets import RegionMerging

Call = Callable[..., Any]
Open = Callable[..., Any]


def parts(index: int = 0) -> tuple[Any, MergeTree]:
    scene = Shapes(index + 1, size=96, radius=(12, 24), seed=2)[index]
    return scene, merge_regions(scene["image"], scale=50, min_size=30)


def figure(index: int = 0, **options: Any) -> RegionMerging:
    scene, tree = parts(index)
    return RegionMerging.from_tree(scene["image"], tree, scene["boxes"], **options)


def test_the_page_computes_what_the_library_does(call: Call) -> None:
    scene, tree = parts(1)
    shown = figure(1)
    count = len(tree.pairs) + 1
    values = {"pairs": shown.pairs, "boxes": shown.boxes, "truth": shown.truth}
    best = call(RegionMerging._esm, "m.bestOverlaps(v.boxes, v.pairs, v.truth)", **values)
    iou = torchvision.ops.box_iou(scene["boxes"].new_tensor(tree.boxes), scene["boxes"]).numpy()
    expected = np.array([iou[: count + k].max(0) for k in range(count)])
    np.testing.assert_allclose(best, expected, atol=1e-5)
    np.testing.assert_allclose(shown.best_overlaps(), expected, atol=1e-5)
    for merges in (0, 1, count // 2, count - 1):
        nodes = call(RegionMerging._esm, "m.nodesAfter(v.pairs, v.merges)", merges=merges, **values)
        assert (np.array(nodes)[tree.labels] == tree.regions(merges)).all()


def test_state_is_the_same_every_time_and_small() -> None:
    first, second = figure(), figure()
    states = [{k: v for k, v in f.get_state().items() if k != "layout"} for f in (first, second)]
    assert states[0] == states[1]
    assert repr(first).startswith("RegionMerging(96×96, ") and "0x" not in repr(RegionMerging())
    assert len(first._esm) + len(first._css) < 45_000
    assert len(json.dumps(stored_state(first))) < 80_000
    posters = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert posters[0] == posters[1] and len(posters[0]) < 60_000
    assert "96 by 96" in first.alt


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.zeros((300, 300))}, "expected at most 65536 pixels"),
        ({"image": np.zeros((9, 9))}, r"tree.labels has shape \(96, 96\); expected \(9, 9\)"),
        ({"truth": np.zeros((2, 3))}, r"truth has shape \(2, 3\); expected \(N, 4\)"),
        ({"truth": np.full((1, 4), np.nan)}, "truth has 4 values that are NaN"),
        ({"names": ["one", "two"], "truth": np.zeros((1, 4))}, "names has 2 entries; expected 1"),
        ({"merges": -1}, "merges is -1; expected a whole number from 0 to"),
    ],
)
def test_a_wrong_argument_is_named(changed: dict, message: str) -> None:
    scene, tree = parts()
    with pytest.raises(ValueError, match=message):
        RegionMerging.from_tree(**{"image": scene["image"], "tree": tree, **changed})


def test_too_many_regions_and_a_wrong_tree_are_named() -> None:
    scene, tree = parts()
    many = MergeTree(tree.labels, np.zeros((256, 2), int), tree.similarity, tree.boxes)
    with pytest.raises(ValueError, match="tree has 257 regions; expected at most 256"):
        RegionMerging.from_tree(scene["image"], many)
    wrong = MergeTree(tree.labels + 1, tree.pairs, tree.similarity, tree.boxes)
    with pytest.raises(ValueError, match=r"tree.labels has values 1 to"):
        RegionMerging.from_tree(scene["image"], wrong)
    with pytest.raises(ValueError, match=f"merges is 999; expected 0 to {len(tree.pairs)}"):
        figure().merges = 999


def check_numbers(page: Any, shown: RegionMerging, merges: int) -> None:
    wait_for(page, "merges", str(merges))
    shown.merges = merges
    best = shown.best_overlaps()[merges]
    assert data(page, "regions") == str(len(shown.pairs) + 1 - merges)
    assert data(page, "boxes") == str(shown.proposals())
    assert data(page, "found") == str(int((best >= 0.5).sum()))
    assert [float(v) for v in data(page, "best").split(",")] == pytest.approx(best, abs=1e-4)


def test_the_figure_follows_the_reader(open_page: Open) -> None:
    shown = figure(1)
    last = len(shown.pairs)
    page = open_page(shown)
    stage, boxed, chart = (page.locator("canvas").nth(k) for k in range(3))
    check_numbers(page, shown, last // 2)
    before = [checksum(page, canvas) for canvas in (stage, boxed, chart)]
    set_slider(page, "merges", last)
    check_numbers(page, shown, last)
    assert data(page, "regions") == "1"
    after = [checksum(page, canvas) for canvas in (stage, boxed, chart)]
    assert all(a != b for a, b in zip(before, after, strict=True))
    stage.focus()
    page.keyboard.press("ArrowLeft")
    check_numbers(page, shown, last - 1)
    page.keyboard.press("Shift+ArrowLeft")
    check_numbers(page, shown, last - 6)
    page.keyboard.press("Home")
    box = chart.bounding_box()
    page.mouse.move(box["x"] + 34, box["y"] + 20)
    page.mouse.down()
    check_numbers(page, shown, 0)
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 20, steps=4)
    page.mouse.up()
    check_numbers(page, shown, last)
    before = checksum(page, stage)
    page.get_by_role("checkbox").check()
    wait_for(page, "colour", "true")
    assert checksum(page, stage) != before


def test_without_objects_and_with_one_region(open_page: Open) -> None:
    plain = np.full((12, 15), 0.5)
    tree = MergeTree(
        np.zeros((12, 15), int), np.zeros((0, 2), int), np.zeros(0), np.array([[0, 0, 15, 12]])
    )
    page = open_page(RegionMerging.from_tree(plain, tree))
    assert data(page, "regions") == "1" and data(page, "found") == "0"


def test_the_merging_on_a_phone_and_in_the_dark(open_page: Open) -> None:
    page = open_page(figure(), **PHONE)
    check_phone(page)
    chart = page.locator("canvas").nth(2)
    before = checksum(page, chart)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for(page, "theme", "dark")
    assert checksum(page, chart) != before
