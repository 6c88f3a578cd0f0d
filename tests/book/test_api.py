"""The API reference has a page for every public package."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import lessons_lib

PAGE = """# {0}

```{{eval-rst}}
.. automodule:: {0}
   :members:
   :show-inheritance:
```
"""


def test_every_public_module_has_its_page(root: Path) -> None:
    """Public is what stands directly in lessons_lib and has an `__all__`."""
    contents = (root / "_toc.yml").read_text("utf-8")
    public = set()
    for module in pkgutil.iter_modules(lessons_lib.__path__):
        name = f"lessons_lib.{module.name}"
        if module.name.startswith("_") or not hasattr(importlib.import_module(name), "__all__"):
            continue
        public.add(module.name)
        page = root / f"book/api/{module.name}.md"
        wanted = PAGE.format(name)
        assert page.is_file() and page.read_text("utf-8") == wanted, f"{page} should be:\n{wanted}"
        listed = f"file: book/api/{module.name}\n" in contents
        assert listed, f"_toc.yml should list book/api/{module.name}"
    assert {page.stem for page in root.glob("book/api/*.md")} == public
