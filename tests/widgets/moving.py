"""What tests do with a figure on a page: read its data, drag its sliders, point at its canvases."""

from __future__ import annotations

from typing import Any

TOUCH = {"has_touch": True, "is_mobile": True, "device_scale_factor": 2}
PHONE = {"viewport": {"width": 390, "height": 844}, **TOUCH}

OUTSIDE = """() => [...document.querySelectorAll('.pti-figure *')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.width && !e.closest('.pti-hidden, .pti-scroll, .pti-segments input')
        && (box.right > innerWidth + 1 || box.left < -1);
}).length"""


def data(page: Any, name: str, nth: int = 0) -> str:
    """Return a data attribute of a figure, "" where there is none."""
    return page.locator(".pti-figure").nth(nth).get_attribute(f"data-{name}") or ""


def wait_for(page: Any, name: str, value: str, nth: int = 0) -> None:
    """Wait until a data attribute of a figure has this value."""
    page.wait_for_function(
        "([nth, name, value]) => document.querySelectorAll('.pti-figure')[nth]"
        ".getAttribute(`data-${name}`) === value",
        arg=[nth, name, value],
        timeout=10_000,
    )


def set_slider(page: Any, name: str, value: float) -> None:
    """Move a slider as a reader does with its keys: to one end, then step by step."""
    slider = page.get_by_role("slider", name=name, exact=True)
    slider.focus()
    low, step = (float(slider.get_attribute(a) or 0) for a in ("min", "step"))
    page.keyboard.press("Home")
    for _ in range(round((value - low) / step)):
        page.keyboard.press("ArrowRight")


def point_at(page: Any, canvas: Any, u: float, v: float, *, click: bool = False) -> None:
    """Move the mouse to a place of a canvas, in [0, 1] each way, and click where asked."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    place = (box["x"] + u * box["width"], box["y"] + v * box["height"])
    page.mouse.move(*place)
    if click:
        page.mouse.click(*place)


def checksum(page: Any, canvas: Any) -> int:
    """Return a checksum of what a canvas shows."""
    page.wait_for_timeout(60)  # let the repaint happen
    return canvas.evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
        ".reduce((sum, v) => (31 * sum + v) | 0, 0)"
    )


def check_phone(page: Any) -> None:
    """A phone shows the whole figure, and every control is large enough for a finger."""
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate(OUTSIDE) == 0
    for control in page.locator("input, button").all():
        if control.is_visible():
            assert control.bounding_box()["height"] >= 20


def check_dark(page: Any) -> None:
    """The figure's first canvas is painted anew when the page turns dark."""
    canvas = page.locator("canvas").first
    before = checksum(page, canvas)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    wait_for(page, "theme", "dark")
    assert checksum(page, canvas) != before
