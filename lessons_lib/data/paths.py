"""Where the data live on this machine."""

import os
from pathlib import Path

import pooch


def root(path: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds all data sets, one folder each; it need not exist yet.

    Args:
        path: The folder, if the caller has one. Else the environment variable ``LESSONS_DATA`` is
            asked, else it is a cache folder of the user's (``pooch.os_cache("lessons_lib")``).
    """
    if path is not None:
        return Path(path).expanduser()
    from_environment = os.environ.get("LESSONS_DATA")
    if from_environment:
        return Path(from_environment).expanduser()
    return Path(pooch.os_cache("lessons_lib"))
