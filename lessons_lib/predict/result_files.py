"""The files that are written about one picture: all of them, or none."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from lessons_lib.data.errors import DataError

LABELS = ("labels.png", "labels.tif")
ENDINGS = (*LABELS, "overlay.png", "coco.json", "csv")


class ResultFiles:
    """Writes ``STEM.ENDING`` files to a folder when the ``with`` block ends without an error, else none.

    Until then they lie in a hidden folder beside. Old files of the same names are replaced; where one
    cannot be, those that were replaced already come back.

    Args:
        folder: where to; made if it is not there.
        stem: the picture's name.
        tidy: when a label picture is written, an old one in the other form (PNG or TIFF) goes. False where
            it may be the reader's own: beside the picture.
    """

    def __init__(self, folder: Path, stem: str, *, tidy: bool = True) -> None:
        self.folder, self.stem, self.tidy = folder, stem, tidy
        self.endings: list[str] = []
        self.moves: list[tuple[Path, Path]] = []

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
            if not self.moves:
                shutil.rmtree(self.hidden, ignore_errors=True)

    def _publish(self) -> None:
        """Moves old files into the hidden folder and new ones out of it; undoes all if one cannot be moved."""
        chosen = [ending for ending in ENDINGS if ending in self.endings or self._is_old(ending)]
        finals = {ending: self.folder / f"{self.stem}.{ending}" for ending in chosen}
        for final in finals.values():
            if final.is_dir():
                raise _cannot_write(final, OSError(errno.EISDIR, os.strerror(errno.EISDIR)))
        for ending, final in finals.items():
            try:
                if os.path.lexists(final):
                    self._move(final, self.hidden / f"old.{ending}")
                if ending in self.endings:
                    self._move(self.hidden / ending, final)
            except BaseException as error:
                self._undo()
                if isinstance(error, OSError):
                    raise _cannot_write(final, error) from error
                raise
        self.moves.clear()

    def _is_old(self, ending: str) -> bool:
        """Whether it is the other form of the label picture that is written."""
        return self.tidy and ending in LABELS and any(e in LABELS for e in self.endings)

    def _move(self, source: Path, target: Path) -> None:
        self.moves.append((source, target))  # first, for an interrupt may come in between
        source.replace(target)

    def _undo(self) -> None:
        """Takes back what was moved, the last first; if that fails, the hidden folder stays with the rest."""
        while self.moves:
            source, target = self.moves[-1]
            try:
                if os.path.lexists(target):
                    target.replace(source)
            except OSError as error:
                raise DataError(
                    f"{source}: cannot be put back ({error.strerror or error}); "
                    f"the old results of this picture are in {self.hidden}"
                ) from error
            self.moves.pop()


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path}: cannot be written ({error.strerror or error}); "
        "no result of this picture was written"
    )


def holds(folder: Path, picture: Path) -> bool:
    """Whether a picture lies in a folder; of a link the place of what it points to counts too."""
    for parent in {picture.parent, Path(os.path.realpath(picture)).parent}:
        with suppress(OSError):  # one of them is not there
            if folder.samefile(parent):
                return True
    return False


def check_own_folder(folder: Path, pictures: Iterable[Path]) -> None:
    """Refuses a folder of results that holds pictures to predict: files of the reader's could be replaced.

    Raises:
        ValueError: naming the folder and the rule.
    """
    if any(holds(folder, path) for path in pictures):
        raise ValueError(
            f"--out is {folder}, which holds pictures to predict; results go to a folder of their own"
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
