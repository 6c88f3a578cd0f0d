"""The figures of label maps: their numbers are NumPy's and torchmetrics', and they move."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from moving import PHONE, check_phone, checksum, data, point_at, set_slider, wait_for
from stored_figures import stored_state
from torchmetrics.classification import MulticlassJaccardIndex

from lessons_lib.widgets import MetricThatLies, SkipSwitch, StrideOverlay, labels

Call = Callable[..., Any]
Open = Callable[..., Any]
NAMES = ["background", "disc", "bar", "ring"]
SIZE = (40, 48)


class Toy:
    """Three objects on a noisy picture, and coarse predictions of them."""

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        rows, columns = np.indices(SIZE)
        self.instances = np.zeros(SIZE, np.int64)
        self.instances[(rows - 12) ** 2 + (columns - 12) ** 2 <= 49] = 5
        self.instances[26:34, 6:30] = 9
        self.instances[8:30, 36:44] = 12
        classes = {0: 0, 5: 1, 9: 2, 12: 2}
        self.truth = np.vectorize(classes.get)(self.instances)
        self.image = np.clip(0.2 + 0.25 * self.truth[None] + rng.normal(0, 0.03, (3, *SIZE)), 0, 1)
        self.holed = self.truth.copy()
        self.holed[:3] = 255

    def coarse(self, stride: int) -> np.ndarray:
        """Return the truth in cells of one class each: that of the cell's corner."""
        small = self.truth[::stride, ::stride]
        return small.repeat(stride, 0).repeat(stride, 1)[: SIZE[0], : SIZE[1]]

    def overlay(self, **options: Any) -> StrideOverlay:
        """Return an overlay of three predictions."""
        maps = {f"{s}s": self.coarse(s) for s in (16, 8, 4)}
        return StrideOverlay.from_arrays(self.image, self.holed, maps, class_names=NAMES, **options)

    def lies(self) -> MetricThatLies:
        """Return the figure of four metrics."""
        return MetricThatLies.from_arrays(self.holed, self.instances, class_names=NAMES)

    def skips(self, levels: int = 3) -> dict[tuple[bool, ...], np.ndarray]:
        """Return a prediction for every choice: the more levels are on, the finer it is."""
        return {
            key: self.coarse(2 ** (levels - sum(key)))
            for key in product((False, True), repeat=levels)
        }

    def switch(self) -> SkipSwitch:
        """Return the switch of three levels."""
        return SkipSwitch.from_arrays(
            self.image,
            self.holed,
            self.skips(),
            class_names=NAMES,
            level_names=["1/2", "1/4", "1/8"],
        )


@pytest.fixture(scope="module")
def toy() -> Toy:
    """Return the scene of these tests."""
    return Toy()


ALL = pytest.mark.parametrize("kind", ["overlay", "lies", "switch"])


# ---- scores and storage


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_torchmetrics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 7))
    truth = rng.integers(0, max(2, classes - 1), (13, 17))
    predicted = np.where(
        rng.random(truth.shape) < 0.6, truth, rng.integers(0, classes, truth.shape)
    )
    predicted[predicted == 1] = 0  # a class that is true and never predicted
    truth[rng.random(truth.shape) < 0.1] = 255
    found = labels.score(truth.astype(np.uint8), predicted.astype(np.uint8), classes)
    metric = MulticlassJaccardIndex(classes, average=None, ignore_index=255)
    theirs = metric(torch.tensor(predicted), torch.tensor(truth)).numpy()
    counts = truth != 255
    for k, value in enumerate(found.iou):
        present = (truth[counts] == k).any() or (predicted[counts] == k).any()
        assert (value is not None) == present
        if value is not None:
            assert value == pytest.approx(theirs[k], abs=1e-6)
    assert found.mean == pytest.approx(np.mean([v for v in found.iou if v is not None]))
    assert found.wrong == (predicted != truth)[counts].sum()


def test_an_absent_class_is_left_out() -> None:
    truth = np.array([[0, 0, 1, 255]], np.uint8)
    found = labels.score(truth, np.array([[0, 1, 1, 2]], np.uint8), 4)
    assert found == ([0.5, 0.5, None, None], 0.5, 1)


@pytest.mark.parametrize("seed", range(4))
def test_packed_maps_come_back(call: Call, toy: Toy, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1, 200, 2))
    first = rng.integers(0, 256, shape).astype(np.uint8)
    constant = np.full(shape, 7, np.uint8)  # a run longer than two groups of seven bits
    noisy = np.where(rng.random(shape) < 0.01, 255, first).astype(np.uint8)
    packed = labels.pack(constant, [first, noisy, constant])
    size = {"height": shape[0], "width": shape[1]}
    back = labels.unpack(packed, size, 3)
    for a, b in zip(back, [constant, first, noisy, constant], strict=True):
        np.testing.assert_array_equal(a, b)
    code = """(() => {
        const { reference, maps } = m.decodeMaps(Uint8Array.from(v.packed).buffer, v.size, 3);
        return [reference, ...maps].map((x) => [...x]);
    })()"""
    found = call(StrideOverlay._esm, code, packed=list(packed), size=shape[0] * shape[1])
    assert found == [a.ravel().tolist() for a in back]


@ALL
def test_state_is_the_same_every_time_and_small(toy: Toy, kind: str) -> None:
    first, second = getattr(toy, kind)(), getattr(Toy(), kind)()
    states = [{k: v for k, v in f.get_state().items() if k != "layout"} for f in (first, second)]
    assert states[0] == states[1] and repr(first) == repr(second) and first.alt
    assert len(first._esm) + len(first._css) < 45_000
    assert len(json.dumps(stored_state(first))) < 50_000
    posters = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert posters[0] == posters[1] and len(posters[0]) < 40_000


def test_repr_says_what_it_is(toy: Toy) -> None:
    means = [
        labels.score(toy.holed.astype(np.uint8), toy.coarse(s).astype(np.uint8), 4).mean
        for s in (16, 8, 4)
    ]
    names = ", ".join(f"{s}s {m:.3f}" for s, m in zip((16, 8, 4), means, strict=True))
    assert repr(toy.overlay()) == f"StrideOverlay(40×48, {names})"
    assert repr(toy.lies()) == "MetricThatLies(40×48, 3 objects, 4 classes)"
    assert repr(toy.switch()).startswith("SkipSwitch(40×48, 3 levels, all 1.000, none 0.")
    for empty in (StrideOverlay(), MetricThatLies(), SkipSwitch()):
        assert "0x" not in repr(empty)


# ---- arguments

GOOD = {"image": np.zeros((4, 5)), "truth": np.ones((4, 5), int), "class_names": ["a", "b"]}
MAP = np.zeros((4, 5), int)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"truth": MAP + 2}, "truth contains 2; expected 0 to 1 or 255"),
        ({"truth": MAP + 255}, r"truth is 255 \(ignored\) everywhere"),
        ({"truth": MAP * 0.5}, "truth has type float64; expected whole numbers"),
        ({"truth": MAP[0]}, r"truth has shape \(5,\); expected \(H, W\)"),
        ({"truth": np.zeros((300, 300), int)}, "at most 65536 pixels"),
        ({"image": np.zeros((4, 6))}, r"image has shape \(4, 6\); expected \(4, 5\)"),
        ({"class_names": ["a"]}, "class_names has 1 names; expected 2 to 30"),
        ({"class_names": "ab"}, "class_names is 'ab'; expected a sequence"),
        ({"predictions": {}}, "predictions has 0 entries; expected 1 to 6"),
        ({"predictions": {"8s": MAP + 255}}, r"predictions\['8s'\] contains 255; expected 0 to 1"),
        ({"predictions": {"8s": MAP[1:]}}, r"predictions\['8s'\] has shape \(3, 5\)"),
        ({"strides": {"4s": 4}}, "strides names '4s', which is not in predictions"),
        ({"strides": {"8s": 0}}, r"strides\['8s'\] is 0; expected a whole number from 1"),
    ],
)
def test_overlay_names_a_wrong_argument(changed: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StrideOverlay.from_arrays(**{**GOOD, "predictions": {"8s": MAP}, **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"instances": MAP}, "instances marks no pixel"),
        ({"instances": MAP - 1}, "instances contains -1"),
        ({"truth": MAP}, r"object 7 with the classes \[0\] in truth; expected one class above 0"),
        ({"truth": np.tile([1, 2, 1, 1, 1], (4, 1))}, r"object 7 with the classes \[1, 2\]"),
    ],
)
def test_metric_names_a_wrong_argument(changed: dict, message: str) -> None:
    arguments = {"truth": MAP + 1, "instances": MAP + 7, "class_names": ["a", "b", "c"]}
    with pytest.raises(ValueError, match=message):
        MetricThatLies.from_arrays(**{**arguments, **changed})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"predictions": {(True,): MAP}}, r"predictions lacks \(False,\); expected all 2 choices"),
        ({"level_names": ["a"] * 5}, "level_names has 5 names; expected 1 to 4"),
        ({"level_names": []}, "level_names has 0 names"),
        (
            {"predictions": {(True,): MAP, (False,): MAP, (True, True): MAP}},
            "predictions has 3 keys; expected 2",
        ),
        (
            {"predictions": {(True,): MAP, (False,): MAP + 9}},
            r"predictions\[\(False,\)\] contains 9",
        ),
    ],
)
def test_switch_names_a_wrong_argument(changed: dict, message: str) -> None:
    both = {(True,): MAP, (False,): MAP}
    with pytest.raises(ValueError, match=message):
        SkipSwitch.from_arrays(**{**GOOD, "predictions": both, "level_names": ["x"], **changed})


def test_what_is_set_later_is_checked_too(toy: Toy) -> None:
    with pytest.raises(ValueError, match="shown is '2s'; expected one of 16s, 8s, 4s"):
        toy.overlay().shown = "2s"
    with pytest.raises(ValueError, match="state is '11'; expected 3 digits"):
        toy.switch().state = "11"


def test_strides_are_read_from_names(toy: Toy) -> None:
    assert toy.overlay().strides == [16, 8, 4]
    assert toy.overlay(strides={"8s": 3}).strides == [None, 3, None]


# ---- the overlay


def test_overlay_is_dragged(toy: Toy, open_page: Open) -> None:
    figure = toy.overlay()
    page = open_page(figure)
    assert (data(page, "shown"), data(page, "divider")) == ("16s", "0.500")
    canvas = page.locator("canvas")
    before = checksum(page, canvas)
    point_at(page, canvas, 0.5, 0.3)
    page.mouse.down()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + 30, steps=5)
    page.mouse.up()
    assert float(data(page, "divider")) == pytest.approx(0.8, abs=0.01)
    assert checksum(page, canvas) != before
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 30)  # not held: stays
    assert float(data(page, "divider")) == pytest.approx(0.8, abs=0.01)
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowLeft")
    assert data(page, "divider") == "0.680"
    for index, name in enumerate(figure.names):
        page.locator(f"input[value='{name}']").click()
        wait_for(page, "shown", name)
        expected = labels.score(
            toy.holed.astype(np.uint8), toy.coarse(int(name[:-1])).astype(np.uint8), 4
        )
        assert float(data(page, "score")) == pytest.approx(expected.mean, abs=1e-4)
        tile = page.locator(".pti-number").nth(index)
        assert tile.get_attribute("data-shown") == "true"
        assert tile.inner_text() == f"{expected.mean:.3f}\nmean IoU, {name}"
        shown = page.locator(".pti-class b").all_inner_texts()
        assert shown == ["absent" if v is None else f"{v:.3f}" for v in expected.iou]
    canvas.focus()
    page.keyboard.press("ArrowUp")
    assert data(page, "shown") == "8s"
    before = checksum(page, canvas)
    page.get_by_role("checkbox").press("Space")
    wait_for(page, "grid", "true")
    assert checksum(page, canvas) != before
    set_slider(page, "opacity", 0.1)
    assert page.locator(".pti-value").inner_text() == "10 %"


def test_overlay_is_dragged_by_a_finger(toy: Toy, open_page: Open) -> None:
    page = open_page(toy.overlay(), **PHONE)
    canvas = page.locator("canvas")
    canvas.tap(position={"x": 0.25 * canvas.bounding_box()["width"], "y": 20})
    assert float(data(page, "divider")) == pytest.approx(0.25, abs=0.01)


# ---- the metrics


def spoil(
    truth: np.ndarray, ids: np.ndarray, lost: list[int], grow: int, border: int, stuff: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Spoil a perfect prediction, pixel by pixel; return truth and prediction in their frame."""
    truth, ids = (np.pad(a.astype(int), border) for a in (truth, ids))
    classes = {int(k): truth[(ids == k) & (truth != 255)][0] for k in np.unique(ids[ids > 0])}
    found = np.where(np.isin(ids, lost), 0, ids)
    for _ in range(abs(grow)):
        before = found.copy()
        for y, x in np.ndindex(found.shape):
            near = [
                before[y + dy, x + dx]
                for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1))
                if 0 <= y + dy < found.shape[0] and 0 <= x + dx < found.shape[1]
            ]
            if grow > 0 and before[y, x] == 0:
                found[y, x] = min([k for k in near if k], default=0)
            if grow < 0 and any(k != before[y, x] for k in near):
                found[y, x] = 0
    predicted = np.vectorize(lambda k: classes.get(k, 0))(found)
    if stuff:
        loose = (found == 0) & (ids == 0) & (truth != 255)
        predicted[loose] = truth[loose]
    return truth, predicted


def four_metrics(truth: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, float]:
    """Return the four metrics, straight from their definitions."""
    t, p = truth[truth != 255], predicted[truth != 255]
    true = [k for k in range(classes) if (t == k).any()]
    iou = {
        k: ((t == k) & (p == k)).sum() / ((t == k) | (p == k)).sum()
        for k in range(classes)
        if ((t == k) | (p == k)).any()
    }
    return {
        "pixel": (t == p).mean(),
        "class": np.mean([(p[t == k] == k).mean() for k in true]),
        "miou": np.mean(list(iou.values())),
        "fwiou": sum((t == k).mean() * iou[k] for k in true),
        "background": (t == 0).mean(),
    }


@pytest.mark.parametrize("seed", range(12))
def test_the_page_spoils_and_measures_as_numpy(call: Call, seed: int) -> None:
    rng = np.random.default_rng(seed)
    h, w = (int(n) for n in rng.integers(6, 20, 2))
    ids = np.zeros((h, w), int)
    for k in (1, 2, 3, 4):  # some touch, some hide another, some are cut off
        y, x = rng.integers(0, h), rng.integers(0, w)
        ids[max(0, y - 3) : y + 4, max(0, x - 3) : x + 3] = k
    ids = np.unique(ids, return_inverse=True)[1].reshape(h, w)
    truth = np.array([0, 1, 2, 2, 1])[ids]
    truth[(rng.random((h, w)) < 0.05) & (ids == 0)] = 3  # stuff
    truth[rng.random((h, w)) < 0.05] = 255
    some = np.flatnonzero(np.bincount(ids.ravel(), minlength=5) > 0)
    lost = [int(k) for k in some if k and rng.random() < 0.4]
    for grow, border, stuff in [
        (0, 0, True),
        (1, 0, True),
        (3, 1, True),
        (-1, 2, False),
        (-3, 9, True),
        (2, 5, False),
    ]:
        settings = {"lost": lost, "grow": grow, "border": border, "stuff": stuff}
        code = """(() => {
            const bytes = (x) => Uint8Array.from(x);
            const { matrix } = m.spoilt(bytes(v.truth), bytes(v.ids), v.h, v.w, 4, v.settings);
            return [matrix, m.metrics(matrix)];
        })()"""
        matrix, found = call(
            MetricThatLies._esm,
            code,
            truth=truth.ravel().tolist(),
            ids=ids.ravel().tolist(),
            h=h,
            w=w,
            settings=settings,
        )
        t, p = spoil(truth, ids, lost, grow, border, stuff)
        assert matrix == labels.confusion(t, p, 4).matrix.tolist(), settings
        assert found == pytest.approx(four_metrics(t, p, 4))


def check_metrics(
    page: Any, toy: Toy, lost: list[int], grow: int, border: int, stuff: bool
) -> None:
    """The page's numbers are those of a prediction spoilt in this way."""
    ids = np.unique(toy.instances, return_inverse=True)[1].reshape(SIZE)
    t, p = spoil(toy.holed, ids, lost, grow, border, stuff)
    for name, value in four_metrics(t, p, 4).items():
        assert float(data(page, name)) == pytest.approx(value, abs=1e-6), name
    cells = page.locator("td").all_inner_texts()[1:]
    assert cells == [str(n) for n in labels.confusion(t, p, 4).matrix.flatten().tolist()]
    shown = page.locator(".pti-class b").all_inner_texts()
    assert shown[0] == f"{100 * float(data(page, 'pixel')):.1f} %"


def click_object(page: Any, toy: Toy, original: int, border: int = 0) -> None:
    """Click the middle of an object."""
    y, x = (float(v.mean()) for v in (toy.instances == original).nonzero())
    frame = (SIZE[0] + 2 * border, SIZE[1] + 2 * border)
    place = ((x + border + 0.5) / frame[1], (y + border + 0.5) / frame[0])
    point_at(page, page.locator("canvas"), *place, click=True)


def test_metrics_follow_the_reader(toy: Toy, open_page: Open) -> None:
    page = open_page(toy.lies())
    check_metrics(page, toy, [], 0, 0, True)
    assert data(page, "pixel") == data(page, "miou") == "1.000000"
    click_object(page, toy, 9)
    wait_for(page, "lost", "2")
    check_metrics(page, toy, [2], 0, 0, True)
    set_slider(page, "borders", 2)
    wait_for(page, "lost", "2")
    page.wait_for_timeout(80)
    check_metrics(page, toy, [2], 2, 0, True)
    set_slider(page, "empty background", 7)
    page.wait_for_timeout(80)
    check_metrics(page, toy, [2], 2, 7, True)
    click_object(page, toy, 9, border=7)  # found again, though the scene is smaller now
    wait_for(page, "lost", "")
    set_slider(page, "borders", -3)
    page.wait_for_timeout(80)
    check_metrics(page, toy, [], -3, 7, True)
    point_at(page, page.locator("canvas"), 0.01, 0.01, click=True)  # no object there
    assert data(page, "lost") == ""
    page.get_by_role("button", name="Perfect again").click()
    wait_for(page, "pixel", "1.000000")
    assert data(page, "miou") == "1.000000"


def test_pixel_accuracy_can_be_made_to_lie(toy: Toy, open_page: Open) -> None:
    page = open_page(toy.lies())
    assert "95 %" in page.locator(".pti-note").inner_text() and data(page, "solved") == "false"
    page.get_by_role("button", name="Predict background everywhere").press("Enter")
    wait_for(page, "lost", "1,2,3")
    slider = page.get_by_role("slider", name="empty background")
    slider.press("End")
    wait_for(page, "solved", "true")
    assert float(data(page, "pixel")) >= 0.95 and float(data(page, "miou")) < 0.5
    border = int(slider.get_attribute("max"))
    check_metrics(page, toy, [1, 2, 3], 0, border, False)
    assert page.locator(".pti-note").inner_text().startswith("Done: ")


def test_objects_are_lost_with_keys(toy: Toy, open_page: Open) -> None:
    page = open_page(toy.lies())
    canvas = page.locator("canvas")
    canvas.focus()
    page.keyboard.press("Enter")  # none chosen yet
    page.keyboard.press("ArrowRight")
    assert data(page, "cursor") == "1" and data(page, "lost") == ""
    page.keyboard.press("ArrowLeft")
    assert data(page, "cursor") == "3"
    page.keyboard.press("Space")
    wait_for(page, "lost", "3")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    wait_for(page, "lost", "1,3")
    check_metrics(page, toy, [1, 3], 0, 0, True)


# ---- the switch


def test_every_state_of_the_switch_is_right(toy: Toy, open_page: Open) -> None:
    page = open_page(toy.switch())
    assert data(page, "state") == "111" and data(page, "wrong") == "0"
    boxes = page.get_by_role("checkbox")
    seen = set()
    canvas = page.locator("canvas").first
    for flips in ((), (0,), (1,), (0,), (2,), (0,), (1,), (0,)):  # a Gray code
        for k in flips:
            boxes.nth(k).press("Space") if k else boxes.nth(k).click()
        state = data(page, "state")
        seen.add(state)
        predicted = toy.skips()[tuple(v == "1" for v in state)]
        expected = labels.score(toy.holed.astype(np.uint8), predicted.astype(np.uint8), 4)
        assert float(data(page, "score")) == pytest.approx(expected.mean, abs=1e-4)
        assert int(data(page, "wrong")) == expected.wrong
        assert page.locator(".pti-number b").first.inner_text() == f"{expected.mean:.3f}"
        shown = page.locator(".pti-class b").all_inner_texts()
        assert shown == ["absent" if v is None else f"{v:.3f}" for v in expected.iou]
    assert len(seen) == 8
    marked = checksum(page, canvas)
    boxes.nth(3).click()
    wait_for(page, "errors", "false")
    assert checksum(page, canvas) != marked


@ALL
def test_label_figures_on_a_phone_and_in_the_dark(toy: Toy, open_page: Open, kind: str) -> None:
    page = open_page(getattr(toy, kind)(), **PHONE)
    check_phone(page)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for(page, "theme", "dark")
    colour = "getComputedStyle(document.querySelector('.pti-figure')).color"
    assert page.evaluate(colour) == "rgb(230, 233, 238)"
    if kind == "lies":  # it has no picture: the ground is the page's
        page.evaluate("document.documentElement.dataset.theme = 'light'")
        wait_for(page, "theme", "light")
        click_object(page, toy, 5)
        wait_for(page, "lost", "1")


def test_figures_share_a_page_and_keep_their_styles(toy: Toy, open_page: Open) -> None:
    # Every figure brings figure.css again, after the styles of those before it.
    page = open_page(toy.switch(), toy.lies(), toy.overlay())
    style = "s => getComputedStyle(document.querySelector(s))"
    assert page.evaluate(f"({style})('.pti-switches').display") == "flex"
    columns = page.evaluate(f"({style})('.pti-metric .pti-class').gridTemplateColumns")
    assert len(columns.split()) == 3
