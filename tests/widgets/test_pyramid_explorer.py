"""The pyramid figure: its averages and what it brings back are torch's, and it moves."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from moving import PHONE, check_phone, checksum, data, point_at, set_slider, wait_for
from stored_figures import stored_state

from lessons_lib.widgets import PyramidExplorer
from lessons_lib.widgets.pyramid_explorer import pooled

Call = Callable[..., Any]
Open = Callable[..., Any]
SIZE = (40, 56)  # no multiple of 3 or 6: cells overlap


def scene(seed: int = 0, **options: Any) -> PyramidExplorer:
    """Return a figure with a noisy picture and three channels of features."""
    rng = np.random.default_rng(seed)
    image = np.clip(np.linspace(0, 1, SIZE[1]) + rng.normal(0, 0.1, (3, *SIZE)), 0, 1)
    features = rng.normal(size=(3, 10, 14)).cumsum(axis=2)
    maps = [rng.integers(0, 3, SIZE), rng.integers(0, 3, SIZE)]
    options = {"predictions": maps, "class_names": ["none", "boat", "car"], **options}
    return PyramidExplorer.from_arrays(image, features, **options)


def torch_levels(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Return torch's averages (C, b, b) and what it brings back (C, H, W)."""
    small = F.adaptive_avg_pool2d(torch.tensor(values)[None].double(), bins)
    back = F.interpolate(small, SIZE, mode="bilinear", align_corners=False)
    return small[0].numpy(), back[0].numpy()


@pytest.mark.parametrize("bins", [1, 2, 3, 6, 7, 12])
@pytest.mark.parametrize("size", [(40, 56), (7, 13), (5, 1)], ids=str)
def test_pooling_is_torchs(call: Call, bins: int, size: tuple[int, int]) -> None:
    values = np.random.default_rng(bins).normal(size=(2, *size))
    expected = F.adaptive_avg_pool2d(torch.tensor(values)[None], bins)[0].numpy()
    np.testing.assert_allclose(pooled(values, bins), expected, atol=1e-12)
    found = call(
        PyramidExplorer._esm,
        "v.values.map((x) => [...m.pool(x, v.h, v.w, v.bins)])",
        values=values.reshape(2, -1).tolist(),
        h=size[0],
        w=size[1],
        bins=bins,
    )
    np.testing.assert_allclose(np.reshape(found, expected.shape), expected, atol=1e-12)


@pytest.mark.parametrize("bins", [1, 2, 3, 6, 12])
@pytest.mark.parametrize("size", [(40, 56), (9, 4)], ids=str)
def test_what_is_brought_back_is_torchs(call: Call, bins: int, size: tuple[int, int]) -> None:
    means = np.random.default_rng(bins).normal(size=(bins, bins))
    expected = F.interpolate(torch.tensor(means)[None, None], size, mode="bilinear")[0, 0].numpy()
    code = """Array.from({ length: v.h }, (_, y) => Array.from({ length: v.w }, (_, x) =>
        m.valueBack(v.means, v.bins, y, x, v.h, v.w)))"""
    values = {"means": means.ravel().tolist(), "bins": bins, "h": size[0], "w": size[1]}
    np.testing.assert_allclose(call(PyramidExplorer._esm, code, **values), expected, atol=1e-12)


def test_state_is_the_same_every_time_and_small() -> None:
    first, second = scene(), scene()
    states = [{k: v for k, v in f.get_state().items() if k != "layout"} for f in (first, second)]
    assert states[0] == states[1]
    assert repr(first) == repr(second) == "PyramidExplorer(40×56, 3 channels, bins 1, 2, 3, 6)"
    assert len(first._esm) + len(first._css) < 45_000
    assert len(json.dumps(stored_state(first))) < 60_000
    posters = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert posters[0] == posters[1] and len(posters[0]) < 60_000
    assert "0x" not in repr(PyramidExplorer()) and "6 by 6" in first.alt


def test_features_are_stored_closely() -> None:
    features = np.random.default_rng(1).normal(size=(4, 6, 5))
    figure = PyramidExplorer.from_arrays(np.zeros((12, 10)), torch.tensor(features))
    ranges = np.ptp(features, axis=(1, 2))
    assert (np.abs(figure.features() - features).max(axis=(1, 2)) <= ranges / 509).all()


IMAGE = np.zeros((4, 5))
MAP = np.zeros((4, 5), int)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image": np.zeros((300, 300))}, "expected at most 65536 pixels"),
        ({"bins": ()}, r"bins is \[\]; expected one to six rising numbers"),
        ({"bins": (2, 1)}, r"bins is \[2, 1\]"),
        ({"bins": (0, 1)}, r"bins\[0\] is 0; expected a whole number from 1 to 12"),
        ({"features": IMAGE}, r"features has shape \(4, 5\); expected \(C, h, w\)"),
        ({"features": np.zeros((17, 2, 2))}, r"features has shape \(17, 2, 2\)"),
        ({"features": np.full((1, 2, 2), np.nan)}, "features has 4 values that are NaN"),
        ({"predictions": [MAP]}, "predictions has 1 entries; expected 2"),
        ({"predictions": [MAP, MAP]}, "class_names is None"),
        (
            {"predictions": [MAP, MAP + 2], "class_names": ["a", "b"]},
            r"predictions\['with'\] contains 2; expected 0 to 1",
        ),
    ],
)
def test_a_wrong_argument_is_named(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PyramidExplorer.from_arrays(**{"image": IMAGE, **changed})


def test_what_is_set_later_is_checked_too() -> None:
    figure = scene()
    with pytest.raises(ValueError, match=r"bin is 4; expected one of \[1, 2, 3, 6\]"):
        figure.bin = 4
    with pytest.raises(ValueError, match="channel is 3; expected -1 to 2"):
        figure.channel = 3


def check_numbers(page: Any, values: np.ndarray, x: int, y: int) -> None:
    """The table's numbers at a pixel, and the data of the chosen level, are torch's."""
    rows = [row.split("\t") for row in page.locator("tbody tr").all_inner_texts()]
    assert [row[0] for row in rows] == ["1×1", "2×2", "3×3", "6×6"]
    for row, bins in zip(rows, (1, 2, 3, 6), strict=True):
        small, back = torch_levels(values, bins)
        r, c = int((y + 0.5) * bins / SIZE[0]), int((x + 0.5) * bins / SIZE[1])
        assert row[1] == f"{r}, {c}"
        n = values.shape[1]
        assert row[2] == f"{r * n // bins}–{-(-(r + 1) * n // bins) - 1}"
        average, got = small[:, r, c].mean(), back[:, y, x].mean()
        assert [float(v.replace("−", "-")) for v in row[4:]] == pytest.approx(
            [average, got], abs=6e-4
        )
        if data(page, "bin") == str(bins):
            assert data(page, "cell") == f"{r},{c}"
            assert float(data(page, "value")) == pytest.approx(average, abs=1e-5)
            assert float(data(page, "upsampled")) == pytest.approx(got, abs=1e-5)


def test_the_figure_follows_the_reader(open_page: Open) -> None:
    figure = scene()
    page = open_page(figure)
    features = figure.features()
    stage = page.locator("canvas").first
    assert data(page, "bin") == "3" and data(page, "channel") == "0"
    for x, y in [(28, 20), (0, 0), (55, 39), (19, 13)]:
        point_at(page, stage, (x + 0.5) / SIZE[1], (y + 0.5) / SIZE[0])
        wait_for(page, "point", f"{x},{y}")
        check_numbers(page, features[:1], x, y)
    stage.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    wait_for(page, "point", "18,18")
    before = checksum(page, page.locator("canvas").nth(1))
    page.locator("input[value='6']").click()
    wait_for(page, "bin", "6")
    check_numbers(page, features[:1], 18, 18)
    assert checksum(page, page.locator("canvas").nth(1)) != before
    set_slider(page, "channel", 2)
    wait_for(page, "channel", "2")
    check_numbers(page, features[2:], 18, 18)
    page.locator("input[value='picture']").click()
    wait_for(page, "channel", "-1")
    bare = PyramidExplorer(picture=figure.picture, bins=figure.bins)
    check_numbers(page, bare.features(), 18, 18)
    page.locator(".pti-levels .pti-panel").nth(1).click()
    wait_for(page, "bin", "2")


def test_two_predictions_are_switched(open_page: Open) -> None:
    rng = np.random.default_rng(0)
    maps = {"plain": rng.integers(0, 3, SIZE), "pyramid": rng.integers(0, 3, SIZE)}
    page = open_page(scene(predictions=maps))
    stage = page.locator("canvas").first
    shown = {checksum(page, stage)}
    for k in ("1", "2"):
        page.locator(f".pti-figure fieldset:last-child input[value='{k}']").click()
        wait_for(page, "overlay", k)
        shown.add(checksum(page, stage))
    assert len(shown) == 3
    names = ["none", "boat", "car"]
    said = [names[m[20, 28]] for m in maps.values()]
    text = page.locator(".pti-note").inner_text()
    assert text == f"Pixel (28, 20): plain: {said[0]}; pyramid: {said[1]}."


def test_the_pyramid_on_a_phone_and_in_the_dark(open_page: Open) -> None:
    page = open_page(scene(), **PHONE)
    check_phone(page)
    stage = page.locator("canvas").first
    side = stage.bounding_box()
    stage.tap(position={"x": 0.9 * side["width"], "y": 0.1 * side["height"]})
    assert data(page, "point") == f"{int(0.9 * SIZE[1])},{int(0.1 * SIZE[0])}"
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for(page, "theme", "dark")
