"""The files that are written about one picture: all of them, or none."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from lessons_lib.data.errors import DataError

ENDINGS = ("labels.png", "labels.tif", "overlay.png", "coco.json", "csv")


class ResultFiles:
    """Writes ``STEM.ENDING`` files to a folder when the ``with`` block ends without an error, else none.

    Until then they lie in a hidden folder beside. Old results of the same picture go, those that have
    no successor too.

    Args:
        folder: where to; made if it is not there.
        stem: the picture's name.
    """

    def __init__(self, folder: Path, stem: str) -> None:
        self.folder, self.stem = folder, stem
        self.endings: list[str] = []

    def __enter__(self) -> ResultFiles:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.hidden = self.folder / f".{self.stem}.{os.getpid()}.part"
        shutil.rmtree(self.hidden, ignore_errors=True)
        self.hidden.mkdir()
        return self

    def write(self, ending: str, write: Callable[[Path], object]) -> None:
        """Has one file written.

        Args:
            ending: one of :data:`ENDINGS`.
            write: gets the path to write to.

        Raises:
            DataError: it cannot be written, naming the file and the system's reason.
        """
        assert ending in ENDINGS
        final = self.folder / f"{self.stem}.{ending}"
        try:
            write(self.hidden / ending)
        except OSError as error:
            raise _cannot_write(final, error) from error
        self.endings.append(ending)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._publish()
        finally:
            shutil.rmtree(self.hidden, ignore_errors=True)

    def _publish(self) -> None:
        for ending in ENDINGS:
            final = self.folder / f"{self.stem}.{ending}"
            try:
                if ending in self.endings:
                    (self.hidden / ending).replace(final)
                else:
                    final.unlink(missing_ok=True)
            except OSError as error:
                raise _cannot_write(final, error) from error


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path}: cannot be written ({error.strerror or error}); "
        "no result of this picture was written"
    )


def check_folder(folder: Path) -> None:
    """Finds out whether files can be written to a folder; leaves nothing behind.

    Raises:
        DataError: it is a file, or cannot be made or written to, with the system's reason.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: results cannot be written there (it is a file, not a folder)")
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".part") as file:
            file.write(b"\0")
    except OSError as error:
        raise DataError(
            f"{folder}: results cannot be written there ({error.strerror or error})"
        ) from error
    finally:
        for path in made:
            if path.is_dir():
                path.rmdir()
