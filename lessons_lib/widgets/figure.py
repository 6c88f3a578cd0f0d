"""The base class of the interactive figures.

A new figure is three files of one name: ``my_figure.py`` with a subclass of :class:`Figure`,
``my_figure.js`` with ``export default { render }`` and, if it has styles of its own,
``my_figure.css``. The class finds the other two by the name of its module.
"""

from __future__ import annotations

import inspect
import io
import re
from pathlib import Path
from typing import Any, ClassVar

import anywidget
import traitlets
from PIL import Image

_HERE = Path(__file__).parent


class Figure(anywidget.AnyWidget):
    """A figure that runs in JupyterLab, in Colab and on a page without a kernel.

    Subclasses declare their data as synchronised traits and implement :meth:`poster`. The shared
    helpers of ``figure.js`` stand before the figure's own module, in one text, so the module uses
    them without importing anything; ``figure.css`` likewise stands before its style sheet.

    A subclass that names ``_helpers`` finds them before its module too: ``("cells",)`` brings
    ``cells.js``, which lies beside ``figure.js``.

    Attributes:
        alt: What the figure shows, in a sentence, for readers who cannot see it.
    """

    # Text, not paths: anywidget would watch a path with a thread, and the state would depend on it.
    _esm: str
    _css: str
    _helpers: ClassVar[tuple[str, ...]] = ()

    alt = traitlets.Unicode("").tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Attach the module and the style sheet that lie beside the subclass's own file."""
        # traitlets makes a subclass of its own for every instance; that one brings its module along.
        if "_esm" not in vars(cls):
            cls._attach()
        super().__init_subclass__(**kwargs)

    @classmethod
    def _attach(cls) -> None:
        source = Path(inspect.getfile(cls)) if cls.__module__ != "__main__" else None
        if source and source.with_suffix(".js").is_file():
            styles = source.with_suffix(".css")
            cls._esm = "".join(
                _packed(path)
                for path in (
                    _HERE / "figure.js",
                    *(_HERE / f"{name}.js" for name in cls._helpers),
                    source.with_suffix(".js"),
                )
            )
            cls._css = _packed(_HERE / "figure.css") + (_packed(styles) if styles.is_file() else "")
        elif not hasattr(cls, "_esm"):  # a subclass of a finished figure inherits its module
            name = source.with_suffix(".js").name if source else f"{cls.__name__}.js"
            raise FileNotFoundError(
                f"{cls.__name__} has no ES module: put {name} beside the Python file"
            )

    def poster(self) -> Image.Image:
        """Return a still picture, for places that run no JavaScript: GitHub, print, feeds."""
        raise NotImplementedError(f"{type(self).__name__} does not implement poster()")

    def describe(self) -> str:
        """Return what stands between the brackets of the figure's ``repr``."""
        return ""

    def __repr__(self) -> str:
        # The default names a memory address, which would differ in every stored output.
        return f"{type(self).__name__}({self.describe()})"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        # ipywidgets 7 (Colab) displays a widget before it asks for this bundle: no poster there.
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        picture = {"image/png": _small_png(self.poster())}
        return {**data, **picture}, {**metadata, "image/png": {"alt": self.alt}}


def _packed(path: Path) -> str:
    """Return the text without its comment lines and indentation.

    Every notebook stores this text again, so what only the reader of the source needs stays out.
    Only whole lines are touched, which is safe as long as no template literal spans lines.
    """
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"^\s*/\*(?:(?!\*/).)*\*/[ \t]*$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines = (line.strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line and not line.startswith("//"))


def _small_png(picture: Image.Image, colours: int = 64) -> bytes:
    """Encode a picture as a PNG of a few colours; the same pixels give the same bytes."""
    few = picture.convert("RGB").quantize(
        colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    buffer = io.BytesIO()
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
