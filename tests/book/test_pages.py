"""The built pages in a real browser: nothing from another host, no errors, readable when narrow."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
PAGES = re.findall(r"(?:file|root): *(\S+)", (ROOT / "_toc.yml").read_text("utf-8"))
LIGHT_ON_DARK = """() => {
  const sum = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).reduce((a, b) => a + +b, 0);
  const style = getComputedStyle(document.body);
  return sum(style.color) > sum(style.backgroundColor);
}"""


@pytest.fixture(scope="session")
def built(absent: Callable[[str], NoReturn]) -> Path:
    """The folder of the built pages."""
    if not (HTML / "index.html").is_file():
        absent("needs the built pages: make book")
    return HTML


class Visit:
    """One page opened from the disk, with all that it asked for and complained about."""

    def __init__(self, browser: Any, file: Path, width: int, scheme: str) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("requestfailed", lambda request: self.complain("failed", request.url))
        self.page.on("pageerror", lambda error: self.complain("error", str(error)))
        self.page.on(
            "console",
            lambda message: message.type == "error" and self.complain("console", message.text),
        )
        self.page.goto(file.as_uri(), wait_until="load")
        self.page.wait_for_function(
            "!window.MathJax?.startup?.promise || MathJax.startup.promise.then(() => true)"
        )
        self.page.wait_for_timeout(300)

    def complain(self, kind: str, text: str) -> None:
        self.complaints.append(f"{kind}: {text[:300]}")

    @property
    def foreign(self) -> list[str]:
        """Requests that left the disk."""
        local = ("file:", "data:", "blob:", "about:")
        return [url for url in self.requests if not url.startswith(local)]

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("name", PAGES)
def test_page(name: str, built: Path, browser: Any) -> None:
    file = built / f"{name}.html"
    with Visit(browser, file, 1280, "light") as visit:
        page = visit.page
        assert visit.foreign == []
        assert visit.complaints == []
        assert not page.evaluate(LIGHT_ON_DARK)
        formulas = page.locator("span.math, div.math").count()
        assert page.locator("mjx-container").count() >= formulas
        assert page.locator("mjx-merror").count() == 0
        broken = page.evaluate(
            "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
        )
        assert broken == []
        silent = page.evaluate("[...document.images].filter(i => !i.alt).map(i => i.src)")
        assert silent == []
    with Visit(browser, file, 390, "dark") as visit:
        page = visit.page
        assert visit.foreign == []
        assert visit.complaints == []
        assert page.evaluate(LIGHT_ON_DARK)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("name", PAGES)
def test_html_stays_small(name: str, built: Path) -> None:
    assert (built / f"{name}.html").stat().st_size <= 300_000


def test_links_between_pages(built: Path) -> None:
    """Every link inside the book leads to a file that is there."""
    lost = []
    for file in [built / "index.html", *(built / "book").rglob("*.html")]:
        for link in re.findall(r'(?:href|src)="([^"#?]+)', file.read_text("utf-8")):
            if re.match(r"[a-z]+:|//", link):
                continue
            if not (file.parent / link).exists():
                lost.append(f"{file.relative_to(built)}: {link}")
    assert lost == []


FIGURES = {"book/11_discriminative_loss": 8, "book/labs/nuclei": 1}


@pytest.mark.parametrize(("name", "fewest"), FIGURES.items())
def test_embedding_explorer_clusters_in_the_page(
    name: str, fewest: int, built: Path, browser: Any
) -> None:
    """The stored run's figure: a smaller radius shatters, a dragged margin changes the terms."""
    with Visit(browser, built / f"{name}.html", 1280, "light") as visit:
        page = visit.page
        figure = page.locator(".pti-explorer[data-ready=true]")
        figure.wait_for()

        def shown(key: str) -> float:
            return float(figure.get_attribute(f"data-{key}"))

        assert shown("clusters") >= fewest
        assert shown("radius") == 1.5
        before = (shown("clusters"), shown("left"))
        figure.locator("input[value=delta_v]").check()
        page.wait_for_function("+document.querySelector('.pti-explorer').dataset.radius === 0.5")
        assert (shown("clusters"), shown("left")) != before
        pull = shown("pull")
        slider = figure.get_by_role("slider", name="delta v")
        box = slider.bounding_box()
        middle = box["y"] + box["height"] / 2
        page.mouse.move(box["x"] + box["width"] * (0.5 - 0.1) / 1.4, middle)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.9, middle, steps=6)
        page.mouse.up()
        page.wait_for_function(
            "old => +document.querySelector('.pti-explorer').dataset.pull < old", arg=pull
        )
        assert visit.complaints == []


def test_training_replay_scrubs_and_plays(built: Path, browser: Any) -> None:
    with Visit(browser, built / "book/11_discriminative_loss.html", 1280, "dark") as visit:
        page = visit.page
        figure = page.locator(".pti-replay[data-ready=true]")
        figure.wait_for()
        assert figure.get_attribute("data-step") == "1"
        slider = figure.get_by_role("slider", name="training step")
        assert int(slider.get_attribute("max")) >= 19, "at least 20 recorded steps"
        slider.press("End")
        page.wait_for_function("() => document.querySelector('.pti-replay').dataset.step === '400'")
        slider.press("Home")
        figure.get_by_role("button").first.click()
        page.wait_for_function("() => +document.querySelector('.pti-replay').dataset.frame >= 2")
        assert visit.complaints == []
