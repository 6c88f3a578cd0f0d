"""From one form of annotations to another: ``lessons data convert``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .annotations import Annotations, label_map
from .errors import DataError
from .forms import FORMS, Choices, losses, recognise
from .instance_folders import Sample, read_samples, to_csv, to_merged, to_original

WITH_PICTURES = {"merged": to_merged, "original": to_original}
TARGETS = sorted({*FORMS, *WITH_PICTURES, "csv"})


def convert(
    source: Path, target: Path, to: str, form: str | None = None, choices: Choices | None = None
) -> tuple[int, list[str]]:
    """Write annotations in another form; the target is there whole or not at all.

    Three targets need instances and are not read back by this function: "merged" and "original", folders
    of nuclei with their pictures, and "csv", a table with area and centroid of each instance.

    Args:
        source: File or folder.
        target: File, or folder that does not exist yet.
        to: One of :data:`TARGETS`.
        form: Of the source, one of ``FORMS``; None: :func:`~lessons_lib.data.forms.recognise`.
        choices: What the forms do not say themselves.

    Returns:
        The number of pictures, and a line for each thing that the form cannot hold and that is lost.

    Raises:
        DataError: Something is broken, or cannot be written in this form; names file and element.
        FileNotFoundError: The source is not there.
        FileExistsError: The target is a folder, and there already.
        ValueError: Unknown form.
    """
    choices = choices or Choices()
    for name, value, known in (("to", to, TARGETS), ("form", form or "coco", list(FORMS))):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; expected one of {', '.join(known)}")
    form = form or recognise(source)
    if to in WITH_PICTURES:
        if form != "labels":
            raise DataError(
                f"{source}: is {form}; {to} is made from folders of instances and pictures"
            )
        return WITH_PICTURES[to](source, target), []
    if to == "csv":
        samples = (
            read_samples(source)
            if form == "labels"
            else _samples(FORMS[form].read(source, choices))
        )
        return to_csv(samples, target), []
    annotations = FORMS[form].read(source, choices)
    if not annotations.pictures:
        raise FileNotFoundError(f"{source}: there are no annotations here")
    _check_names(source, annotations)
    writer = FORMS[to]
    if writer.folder:
        _write_folder(target, to, annotations, choices)
    else:
        writer.write(target, annotations, choices)
    return len(annotations.pictures), losses(annotations, writer)


def _samples(annotations: Annotations) -> Iterator[Sample]:
    for picture in annotations.pictures:
        yield Path(picture.file_name).stem, None, label_map(picture)


def _check_names(source: Path, annotations: Annotations) -> None:
    """Files are named after pictures, so names must be names, and different."""
    seen: set[str] = set()
    for picture in annotations.pictures:
        stem = Path(picture.file_name).stem
        if stem in seen:
            raise DataError(f"{source}: two pictures are called {stem}")
        seen.add(stem)


def _write_folder(target: Path, to: str, annotations: Annotations, choices: Choices) -> None:
    if target.exists():
        raise FileExistsError(f"{target}: exists already; give a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        FORMS[to].write(temporary, annotations, choices)
        temporary.chmod(0o755)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
