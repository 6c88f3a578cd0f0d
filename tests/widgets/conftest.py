"""Trial data, and pages with stored figures in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stored_figures import Scene, write_page

from lessons_lib.widgets import Figure


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Return 8 sticks on 96×96 px with 16 dimensions."""
    return Scene()


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that opens figures on a page; the page must stay quiet and ask no host."""
    contexts, complaints, requests = [], [], []

    def open_(
        *figures: Figure, ready: bool = True, state: str | None = None, **options: Any
    ) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(write_page(tmp_path / "page.html", *figures, state=state).as_uri())
        if ready:
            for k in range(len(figures)):
                page.locator(".pti-figure[data-ready=true]").nth(k).wait_for(timeout=20_000)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not complaints
    assert [url for url in requests if not url.startswith(("file:", "blob:"))] == []


@pytest.fixture
def call(browser: Any) -> Iterator[Callable[..., Any]]:
    """Return call(source, code, **values): runs code in a page, `m` being the source's module."""
    page = browser.new_page()

    def run(source: str, code: str, **values: Any) -> Any:
        script = """async ([source, code, values]) => {
            const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
            return new Function("m", "v", `return (${code})`)(await import(url), values);
        }"""
        return page.evaluate(script, [source, code, values])

    yield run
    page.close()
