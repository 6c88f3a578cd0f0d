"""Sphinx extension: fills the API page with one section for each public package.

A package of `lessons_lib` is public when its `__init__` has an `__all__`; a module beside them
(`lessons_lib.backbones`) likewise. Nothing has to be listed by hand.
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PAGE = "book/api"
MARK = "<!-- packages:"
SECTION = """
## {name}

```{{eval-rst}}
.. automodule:: {name}
   :members:
   :show-inheritance:
```
"""


def public_modules() -> list[str]:
    """Names of the modules directly under lessons_lib that say what is public."""
    library = importlib.import_module("lessons_lib")
    names = [
        f"lessons_lib.{module.name}"
        for module in pkgutil.iter_modules(library.__path__)
        if not module.name.startswith("_")
    ]
    return [name for name in names if getattr(load(name), "__all__", None)]


def load(name: str) -> ModuleType:
    """Imports a module; one that cannot be imported must not vanish from the page."""
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise ImportError(f"the API page cannot import {name}: {error!r}") from error


def fill(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replaces the mark on the API page by the sections."""
    if docname == PAGE:
        head, mark, _ = source[0].partition(MARK)
        if not mark:
            raise ValueError(f"{PAGE}.md has no line '{MARK} …' to put the packages at")
        source[0] = head + "".join(SECTION.format(name=name) for name in public_modules())


def always_outdated(app: Sphinx, *_: object) -> list[str]:
    """A new package changes the page although the page's own file did not change."""
    return [PAGE] if PAGE in app.env.found_docs else []


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("source-read", fill)
    app.connect("env-get-outdated", always_outdated)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
