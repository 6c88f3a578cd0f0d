"""Fetch a data set: download with a known hash, unpack safely, or say what to do by hand."""

import os
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests

from .archives import unpack_zip
from .errors import DataError, DownloadError
from .paths import root as data_root


@dataclass(frozen=True)
class Source:
    """Where a data set comes from and where it goes.

    ``sha256`` may be None where no hash is known; then any file is taken, and ``fetch`` says so.
    ``present`` are paths in the data set's folder; if one of them exists, nothing is fetched.
    """

    name: str
    folder: str
    url: str
    archive: str
    sha256: str | None
    unpacked: str
    max_bytes: int
    present: tuple[str, ...]
    licence: str
    about: str


# The hash is the one that several independent users of this file have published for it.
SOURCES = {
    source.name: source
    for source in (
        Source(
            name="nuclei",
            folder="dsb2018",
            url="https://data.broadinstitute.org/bbbc/BBBC038/stage1_train.zip",
            archive="stage1_train.zip",
            sha256="dcb6edc2690f137406638b2309581a71522c4dff19157d118453b448dcddcb68",
            unpacked="stage1_train",
            max_bytes=2 * 1024**3,
            present=("stage1_train", "images", "dev", "train"),
            licence="CC0",
            about="670 pictures of nuclei, one mask a nucleus (BBBC038, Data Science Bowl 2018)",
        ),
    )
}


def fetch(name: str, root: str | os.PathLike[str] | None = None, *, progress: bool = True) -> Path:
    """Download a data set and unpack it, unless it is there already.

    Args:
        name: One of ``SOURCES``, as ``lessons data list`` prints them.
        root: The folder of all data sets; None as :func:`~lessons_lib.data.root` says.
        progress: Show a progress bar.

    Returns:
        The data set's own folder.

    Raises:
        ValueError: Unknown name.
        DownloadError: The download or its hash failed, or the archive is broken or unsafe; the
            message says what to fetch by hand and where to put it. Nothing is left half unpacked.
    """
    return fetch_into(find_source(name), data_root(root) / find_source(name).folder, progress)


def find_source(name: str) -> Source:
    """The registered source of that name; ValueError if there is none."""
    if name not in SOURCES:
        raise ValueError(f"data set is {name!r}; expected one of {', '.join(SOURCES)}")
    return SOURCES[name]


def is_present(source: Source, folder: Path) -> bool:
    """Whether the data set is in its folder already, in any of its forms."""
    return any((folder / part).exists() for part in source.present)


def fetch_into(source: Source, folder: Path, progress: bool = True) -> Path:
    """As :func:`fetch`, into a given folder of the data set itself.

    An archive that was put into the folder by hand is used instead of a download.
    """
    if is_present(source, folder):
        return folder
    archive = folder / source.archive
    by_hand = archive.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if by_hand:
            _check_hash(archive, source.sha256)
        else:
            _download(source, folder, progress)
        unpack_zip(archive, folder / source.unpacked, source.max_bytes)
    except (requests.RequestException, OSError, ValueError) as error:
        raise DownloadError(_advice(source, archive, error)) from error
    finally:
        if not by_hand:
            archive.unlink(missing_ok=True)
    return folder


def _download(source: Source, folder: Path, progress: bool) -> None:
    if source.sha256 is None:
        print(f"{source.name}: no hash is known for {source.url}; it is taken as it comes")
    pooch.retrieve(
        source.url,
        known_hash=source.sha256 and f"sha256:{source.sha256}",
        fname=source.archive,
        path=folder,
        downloader=pooch.HTTPDownloader(progressbar=progress, timeout=60),
    )


def _check_hash(archive: Path, sha256: str | None) -> None:
    if sha256 is not None and (found := pooch.file_hash(str(archive))) != sha256:
        raise DataError(f"{archive}: its SHA-256 is {found}; expected {sha256}")


def _advice(source: Source, archive: Path, error: Exception) -> str:
    known = f" (SHA-256 {source.sha256})" if source.sha256 else ""
    return (
        f"{source.name} could not be fetched: {error}\n"
        f"By hand: download {source.url}{known},\nput it at {archive},\n"
        f"and call `lessons data fetch {source.name}` again, which unpacks it."
    )
