"""Labs need real pictures: without them every cell is skipped, and says which set is absent.

A lab names its data sets in the notebook's metadata, {"lessons": {"data": ["dsb2018"]}}: folders
under LESSONS_DATA. With LESSONS_REQUIRE_ALL=1 an absent set is a failure.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)  # before nbval starts a kernel
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips or fails a cell whose notebook lacks its data."""
    notebook = getattr(item.parent, "nb", None)
    if notebook is None:
        return
    root = os.environ.get("LESSONS_DATA")
    needed = notebook.metadata.get("lessons", {}).get("data", [])
    for name in needed:
        if root and (Path(root) / name).is_dir():
            continue
        where = (
            f"LESSONS_DATA={root} has no such folder"
            if root
            else "LESSONS_DATA is not set"
        )
        reason = f"{item.path.name} needs the data set {name}, but {where}"
        if os.environ.get("LESSONS_REQUIRE_ALL") == "1":
            pytest.fail(
                f"{reason} (LESSONS_REQUIRE_ALL=1: not skipped)", pytrace=False
            )
        pytest.skip(reason)
