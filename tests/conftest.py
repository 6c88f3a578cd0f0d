"""What tests share: real data and a browser, with one rule for when they are absent.

A test that lacks something is skipped and says what; with LESSONS_REQUIRE_ALL=1 it fails instead.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def _absent(reason: str) -> NoReturn:
    if os.environ.get("LESSONS_REQUIRE_ALL") == "1":
        pytest.fail(f"{reason} (LESSONS_REQUIRE_ALL=1: not skipped)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def absent() -> Callable[[str], NoReturn]:
    """Call it with the reason where something the test needs is not there."""
    return _absent


@pytest.fixture(scope="session")
def data_root() -> Callable[[str], Path]:
    """data_root("dsb2018") is the folder of that data set under LESSONS_DATA."""

    def find(name: str) -> Path:
        root = os.environ.get("LESSONS_DATA")
        if not root:
            _absent(f"needs the data set {name}, but LESSONS_DATA is not set")
        folder = Path(root) / name
        if not folder.is_dir():
            _absent(f"needs the data set {name}, but {folder} is no folder")
        return folder

    return find


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real Chromium, driven by playwright; the tests open their own pages and contexts."""
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not found:
        _absent("needs Chromium, but none of " + ", ".join(BROWSERS) + " was found")
    from playwright import sync_api

    quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    quiet += ["--disable-background-networking", "--disable-component-update"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        quiet.append("--no-sandbox")  # Chromium refuses to run as root with it
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=quiet)
        yield chromium
        chromium.close()
