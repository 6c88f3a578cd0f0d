"""The library of *Pixels to Instances*, a runnable book on image segmentation.

One package per part of the book, and four that all parts share: ``data``, ``training``,
``plots`` and ``widgets``.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("lessons-lib")
except PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "0+unknown"
