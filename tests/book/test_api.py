"""The API reference has a page for every public package."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import lessons_lib

PAGE = """# {0}

```{{eval-rst}}
.. automodule:: {0}
   :members:
   :show-inheritance:
```
"""


SPLIT = ("data", "detection")
"""Packages of so many names that one page would be too large: a page a topic, in a folder."""


def public_modules() -> set[str]:
    """Public is what stands directly in lessons_lib and has an `__all__`."""
    found = set()
    for module in pkgutil.iter_modules(lessons_lib.__path__):
        name = f"lessons_lib.{module.name}"
        if not module.name.startswith("_") and hasattr(importlib.import_module(name), "__all__"):
            found.add(module.name)
    return found


def test_every_public_module_has_its_page(root: Path) -> None:
    contents = (root / "_toc.yml").read_text("utf-8")
    public = public_modules()
    for name in public:
        page = root / f"book/api/{name}.md"
        assert f"file: book/api/{name}\n" in contents, f"_toc.yml should list book/api/{name}"
        if name not in SPLIT:
            wanted = PAGE.format(f"lessons_lib.{name}")
            assert page.read_text("utf-8") == wanted, f"{page} should be:\n{wanted}"
    assert {page.stem for page in root.glob("book/api/*.md")} == public
    assert {folder.name for folder in (root / "book/api").iterdir() if folder.is_dir()} == {*SPLIT}


@pytest.mark.parametrize("name", SPLIT)
def test_every_name_of_a_split_package_stands_on_one_page(name: str, root: Path) -> None:
    module = importlib.import_module(f"lessons_lib.{name}")
    contents = (root / "_toc.yml").read_text("utf-8")
    listed: list[str] = []
    for page in sorted((root / f"book/api/{name}").glob("*.md")):
        assert f"file: book/api/{name}/{page.stem}\n" in contents, f"_toc.yml should list {page}"
        text = page.read_text("utf-8")
        assert f".. currentmodule:: lessons_lib.{name}\n" in text
        for kind, entry in re.findall(r"^\.\. auto(class|function):: (\w+)$", text, re.M):
            assert inspect.isclass(getattr(module, entry)) == (kind == "class"), entry
            listed.append(entry)
    assert sorted(listed) == sorted(module.__all__)
