"""Removes from the built pages what no page asks for: most of MathJax, and the state of controls.

    python tools/prune_build.py _build/html

MathJax comes as 20 MB of which the pages load one script, its fonts and, for rare commands, TeX
extensions. The browser test opens every page and fails on any file that is then missing.

A page also carries the state of all its notebook's widgets. Without a kernel only the figures use
theirs. Of sliders and progress bars the page's runtime asks what they are and what is inside them.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

KEPT = ("tex-chtml.js", "output/chtml/fonts/", "input/tex/extensions/")
STATE = re.compile(
    r'(<script type="application/vnd\.jupyter\.widget-state\+json">)(.*?)(</script>)', re.DOTALL
)


def prune(pages: Path) -> None:
    """Deletes the unused files below `pages` and the folders that become empty; slims the pages."""
    mathjax = pages / "_static" / "mathjax"
    for file in sorted(mathjax.rglob("*"), reverse=True):
        if file.is_dir():
            if not any(file.iterdir()):
                file.rmdir()
        elif not file.relative_to(mathjax).as_posix().startswith(KEPT):
            file.unlink()
    for page in pages.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        slim = STATE.sub(lambda found: found[1] + slim_state(found[2]) + found[3], text)
        if slim != text:
            page.write_text(slim, encoding="utf-8")


def slim_state(text: str) -> str:
    """The stored state with figures whole, controls by kind and content, and no layouts or styles."""
    document: dict[str, Any] = json.loads(text)
    document["state"] = {
        name: model if model["model_name"] == "AnyModel" else outline(model)
        for name, model in document["state"].items()
        if not model["model_name"].endswith(("LayoutModel", "StyleModel"))
    }
    # "</" would end the script element
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).replace("</", "<\\/")


def outline(model: dict[str, Any]) -> dict[str, Any]:
    """What the runtime asks of a control: its kind, and the controls inside it."""
    children = model["state"].get("children")
    return {"model_name": model["model_name"], "state": {"children": children} if children else {}}


if __name__ == "__main__":
    prune(Path(sys.argv[1]))
