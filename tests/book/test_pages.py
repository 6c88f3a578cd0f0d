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
