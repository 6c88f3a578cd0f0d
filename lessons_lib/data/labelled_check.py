"""Look through a data set with a class for every pixel for everything that is wrong with it."""

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from .checks import Report
from .errors import DataError
from .labelled import IGNORE
from .picture_sets import Part


def check_labelled(
    find_parts: Callable[[Path], Iterable[Part]], folder: Path, progress: bool = True
) -> Report:
    """Read every file of a folder and list all problems; ``kinds`` are the pictures of each part.

    Problems are: a picture without labels or labels without a picture, a list with files that are not
    there, an unreadable or truncated file, labels of another size than their picture, a label or
    colour that is no class, and a picture all of whose pixels are ignored (but not in a part named
    "test", whose truth may be withheld).

    Raises:
        FileNotFoundError: There is nothing of the kind in the folder at all.
        DataError: A list or table that all pictures need is broken.
    """
    parts = list(find_parts(folder))
    report = Report(problems=[problem for part in parts for problem in part.problems])
    jobs = [(part.name, picture) for part in parts for picture in part.pictures]
    for name, picture in tqdm(jobs, desc="check", unit="picture", disable=not progress):
        report.pictures += 1
        report.kinds[name] += 1
        try:
            _, semantic = picture.read()
            picture.extras()
        except DataError as error:
            report.problems.append(str(error))
            continue
        if name != "test" and np.all(semantic == IGNORE):
            report.problems.append(f"{picture.truth}: every pixel is ignored")
    return report
