"""Removes from the built pages what no page asks for: most of MathJax.

    python tools/prune_build.py _build/html

MathJax comes as 20 MB of which the pages load one script, its fonts and, for rare commands, TeX
extensions. The browser test opens every page and fails on any file that is then missing.
"""

from __future__ import annotations

import sys
from pathlib import Path

KEPT = ("tex-chtml.js", "output/chtml/fonts/", "input/tex/extensions/")


def prune(pages: Path) -> None:
    """Deletes the unused files below `pages` and the folders that become empty."""
    mathjax = pages / "_static" / "mathjax"
    for file in sorted(mathjax.rglob("*"), reverse=True):
        if file.is_dir():
            if not any(file.iterdir()):
                file.rmdir()
        elif not file.relative_to(mathjax).as_posix().startswith(KEPT):
            file.unlink()


if __name__ == "__main__":
    prune(Path(sys.argv[1]))
