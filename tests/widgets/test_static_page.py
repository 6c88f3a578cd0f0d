"""Stored figures on a page without a kernel, moved by a reader's mouse, keys and fingers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets
import pytest
from stored_figures import Scene

Open = Callable[..., Any]
TOUCH = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2}
PHONE = {"viewport": {"width": 390, "height": 844}, **TOUCH}


def data(page: Any, name: str, figure: str = ".pti-figure") -> str:
    return page.locator(figure).first.get_attribute(f"data-{name}")


def changed(page: Any, name: str, before: str) -> str:
    """Wait until a data attribute is another than before, and return it."""
    page.wait_for_function(
        "([name, before]) => document.querySelector('.pti-figure').dataset[name] !== before",
        arg=[name, before],
        timeout=10_000,
    )
    return data(page, name)


def radius(page: Any, value: str) -> Any:
    """Return one of the buttons that choose the clusters' radius."""
    return page.locator(f"input[value='{value}']")


def drag(page: Any, slider: Any, start: float, end: float) -> None:
    """Drag a slider's thumb between two places of its track, both in [0, 1]."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    thumb = 16  # px, so the thumb's middle runs from 8 px to width - 8 px

    def x(part: float) -> float:
        return box["x"] + thumb / 2 + part * (box["width"] - thumb)

    middle = box["y"] + box["height"] / 2
    page.mouse.move(x(start), middle)
    page.mouse.down()
    page.mouse.move(x(end), middle, steps=8)
    page.mouse.up()


def pixels(page: Any, canvas: Any) -> int:
    """Return a checksum of what a canvas shows."""
    page.wait_for_timeout(60)  # let the repaint be asked for, and, however slow the machine, happen
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return canvas.evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
        ".reduce((sum, v) => (31 * sum + v) | 0, 0)"
    )


def test_dragging_a_margin_clusters_anew(scene: Scene, open_page: Open) -> None:
    page = open_page(scene.explorer(radius="delta_v"))
    assert data(page, "instances") == "8"
    shattered = data(page, "clusters")
    assert int(shattered) > 8
    canvases = page.locator("canvas").all()
    before = [pixels(page, c) for c in canvases]
    drag(page, page.get_by_role("slider", name="delta v"), (0.5 - 0.1) / 1.4, 1)
    assert changed(page, "clusters", shattered) and float(data(page, "radius")) == 1.5
    assert data(page, "clusters") == "8" and float(data(page, "pull")) < 1e-4
    assert all(pixels(page, c) != b for c, b in zip(canvases, before, strict=True))
    tile = page.locator(".pti-number").first.inner_text()
    assert tile == f"8\nfound, 8 true; {data(page, 'left')} px left over"
    push = data(page, "push")
    drag(page, page.get_by_role("slider", name="delta d"), (1.5 - 0.2) / 2.8, 1)
    assert float(changed(page, "push", push)) > float(push)


def test_a_small_radius_shatters_the_clusters(scene: Scene, open_page: Open) -> None:
    page = open_page(scene.explorer())
    radius(page, "delta_v").click()
    assert float(changed(page, "radius", "1.5")) == 0.5
    assert int(data(page, "clusters")) > 8
    radius(page, "2delta_v").click()
    assert float(changed(page, "radius", "0.5")) == 1
    pull = data(page, "pull")
    drag(page, page.get_by_role("slider", name="delta v"), (0.5 - 0.1) / 1.4, 0)
    assert float(changed(page, "pull", pull)) > float(pull)


@pytest.mark.parametrize("value", ["delta_v", "2delta_v", "delta_d"])
def test_clustering_is_quick(scene: Scene, open_page: Open, value: str) -> None:
    page = open_page(scene.explorer(radius="delta_d" if value == "delta_v" else "delta_v"))
    before = data(page, "radius")
    radius(page, value).click()
    changed(page, "radius", before)
    print(f"{value}: {data(page, 'ms')} ms")
    assert float(data(page, "ms")) < 400  # 20 to 60 ms on an idle core; tests share theirs


def test_pointing_is_linked_both_ways(scene: Scene, open_page: Open) -> None:
    page = open_page(scene.explorer())
    picture, plane = page.locator("canvas").all()
    empty = pixels(page, plane)
    y, x = (int(v[len(v) // 2]) for v in (scene.instances == 8).nonzero())
    box = picture.bounding_box()
    page.mouse.move(
        box["x"] + box["width"] * (x + 0.5) / 96, box["y"] + box["height"] * (y + 0.5) / 96
    )
    assert data(page, "pixel") == f"({x}, {y})" and data(page, "point")
    assert "instance 8, cluster" in page.locator(".pti-hover").inner_text()
    assert pixels(page, plane) != empty  # the plane marks the pixel's point
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    assert page.locator(".pti-hover").inner_text() == "Pixel (0, 0): background"
    unmarked = pixels(page, picture)
    box = plane.bounding_box()
    for part in range(1, 20):  # some place of the plane's middle row or its diagonal has a point
        page.mouse.move(box["x"] + box["width"] * part / 20, box["y"] + box["height"] * part / 20)
        if data(page, "point"):
            break
    assert data(page, "point")
    assert pixels(page, picture) != unmarked  # and the picture the point's pixel
    page.mouse.move(1, 1)
    assert data(page, "pixel") == ""


def test_every_control_answers_to_keys(scene: Scene, open_page: Open) -> None:
    page = open_page(scene.explorer())
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowRight")  # begins at the first foreground pixel
    first = data(page, "pixel")
    x, y = map(int, first.strip("()").split(","))
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    assert data(page, "pixel") == f"({x + 1}, {y + 5})"
    focus = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(focus) == "solid"
    page.keyboard.press("Tab")
    page.keyboard.press("Escape")
    assert data(page, "pixel") == ""
    page.keyboard.press("ArrowUp")
    start = data(page, "point")
    moved = []
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        moved.append(data(page, "point"))
    assert set(moved) - {start}
    page.keyboard.press("Tab")
    pull = data(page, "pull")
    page.keyboard.press("ArrowLeft")
    changed(page, "pull", pull)
    assert (
        page.evaluate(
            "document.activeElement.ariaValueText || "
            "document.activeElement.getAttribute('aria-valuetext')"
        )
        == "0.45"
    )
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert float(changed(page, "radius", "1.5")) == 0.9
    # The screen reader hears the end state, once.
    page.wait_for_timeout(700)
    assert page.get_by_role("status").inner_text().startswith(f"{data(page, 'clusters')} clusters")


def test_replay_scrubs_and_plays(scene: Scene, open_page: Open) -> None:
    page = open_page(scene.replay(score_name="SBD"))
    plane = page.locator("canvas").nth(1)
    before = pixels(page, plane)
    slider = page.get_by_role("slider", name="training step")
    drag(page, slider, 0, 1)
    page.wait_for_function("document.querySelector('.pti-figure').dataset.step === '460'")
    assert pixels(page, plane) != before
    # the step is reached a moment before the glide towards it ends
    page.wait_for_function("document.querySelector('.pti-now').innerText === '0.950'")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function("document.querySelector('.pti-figure').dataset.time === '20.000'")
    assert data(page, "step") == "400"
    button = page.get_by_role("button")
    button.press("Enter")
    page.wait_for_function("document.querySelector('.pti-figure').dataset.frame >= '22'")
    assert data(page, "playing") == "true" and "Pause" in button.inner_text()
    page.wait_for_function("document.querySelector('.pti-figure').dataset.playing === 'false'")
    assert data(page, "step") == "460" and "Play" in button.inner_text()
    button.click()  # from the end: once more from the start
    page.wait_for_function("document.querySelector('.pti-figure').dataset.frame === '2'")
    times = [float(data(page, "time")) for _ in range(4) if page.wait_for_timeout(40) is None]
    assert any(t % 1 for t in times)  # it glides from step to step
    button.click()
    page.wait_for_function("document.querySelector('.pti-figure').dataset.time.endsWith('.000')")
    assert data(page, "playing") == "false"


def test_replay_respects_a_wish_for_less_motion(scene: Scene, open_page: Open) -> None:
    page = open_page(scene.replay(), reduced_motion="reduce")
    page.get_by_role("slider", name="training step").focus()
    page.keyboard.press("End")
    assert data(page, "time") == "23.000"  # there at once
    page.get_by_role("button").click()
    seen = set()
    for _ in range(30):
        page.wait_for_timeout(50)
        seen.add(data(page, "time"))
    assert len(seen) > 1 and all(t.endswith(".000") for t in seen)


def test_a_curve_can_be_scrubbed(scene: Scene, open_page: Open) -> None:
    page = open_page(scene.replay())
    box = page.locator(".pti-curves canvas").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 10)
    page.wait_for_function(
        "Math.abs(document.querySelector('.pti-figure').dataset.step - 230) < 21"
    )


def test_figures_follow_the_pages_theme(scene: Scene, open_page: Open) -> None:
    page = open_page(scene.explorer(), scene.replay(), color_scheme="dark")
    colour = "getComputedStyle(document.querySelector('.pti-figure')).color"

    def theme_after(script: str) -> str:
        page.evaluate(script)
        page.wait_for_timeout(50)
        return data(page, "theme")

    assert data(page, "theme") == "dark"  # the system's wish, where the page has none
    assert page.evaluate(colour) == "rgb(230, 233, 238)"
    dark = pixels(page, page.locator("canvas").nth(1))
    assert theme_after("document.documentElement.dataset.theme = 'light'") == "light"
    assert pixels(page, page.locator("canvas").nth(1)) != dark
    assert theme_after("document.documentElement.dataset.theme = 'dark'") == "dark"
    page.evaluate("delete document.documentElement.dataset.theme")
    assert theme_after("document.body.dataset.jpThemeLight = 'true'") == "light"
    assert theme_after("document.body.dataset.jpThemeLight = 'false'") == "dark"
    page.evaluate("delete document.body.dataset.jpThemeLight")
    assert theme_after("document.documentElement.setAttribute('theme', 'light')") == "light"
    assert theme_after("document.documentElement.removeAttribute('theme')") == "dark"
    page.emulate_media(color_scheme="light")
    assert theme_after("0") == "light"


def test_a_phone_shows_everything_and_takes_fingers(scene: Scene, open_page: Open) -> None:
    page = open_page(scene.explorer(), scene.replay(), **PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    outside = """() => [...document.querySelectorAll('.pti-figure *')].filter(e => {
        const box = e.getBoundingClientRect();
        return box.width && !e.closest('.pti-hidden') && (box.right > 391 || box.left < -1);
    }).length"""
    assert page.evaluate(outside) == 0
    picture = page.locator("canvas").first
    y, x = (int(v[len(v) // 2]) for v in (scene.instances == 8).nonzero())
    side = picture.bounding_box()["width"]
    picture.tap(position={"x": side * (x + 0.5) / 96, "y": side * (y + 0.5) / 96})
    assert data(page, "point")  # stays marked after the finger is gone
    radius(page, "2delta_v").tap()
    assert float(changed(page, "radius", "1.5")) == 1
    for control in page.locator("input, button").all():
        assert control.bounding_box()["height"] >= 24


def test_one_figure_shown_twice_moves_together(scene: Scene, open_page: Open) -> None:
    figure = scene.explorer()
    page = open_page(figure, figure)
    page.get_by_role("slider", name="delta d").first.press("ArrowRight")
    page.wait_for_timeout(300)
    radii = [f.get_attribute("data-radius") for f in page.locator(".pti-figure").all()]
    assert radii == ["1.55", "1.55"]


def test_what_cannot_start_says_so_in_its_place(scene: Scene, open_page: Open) -> None:
    good, broken = scene.explorer(), scene.replay()
    broken.set_trait("_esm", "export default { render() { throw new Error('no picture'); } };")
    controls = ipywidgets.VBox([ipywidgets.IntSlider()])
    progress = ipywidgets.HBox([ipywidgets.FloatProgress()])
    page = open_page(broken, good, controls, progress, ready=False)
    page.locator(".pti-figure[data-ready=true]").wait_for(timeout=20_000)
    alert = page.get_by_role("alert").inner_text()
    assert alert == "This interactive figure could not start: no picture"
    assert "needs Python" in page.get_by_role("note").inner_text()
    assert page.locator(".static-widget").last.inner_text() == ""


def test_damaged_or_missing_state_says_so(scene: Scene, open_page: Open) -> None:
    page = open_page(scene.explorer(), ready=False, state="{")
    assert "its stored state is damaged" in page.get_by_role("alert").inner_text()
    page = open_page(scene.explorer(), ready=False, state='{"state": {}}')
    assert "its state is not stored on this page" in page.get_by_role("alert").inner_text()
