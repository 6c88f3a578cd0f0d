"""``lessons data list | fetch NAME | check NAME or DIR | convert``: its arguments, and what they do."""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import blood_cells, camvid, cityscapes, nyuv2, voc, white_blood_cells
from .boxed import check_boxed
from .checks import Report
from .cityscapes_instances import check_streets
from .cleargrasp import check_scenes
from .coco_instances import check_instances
from .coco_json import MASKS
from .coco_panoptic import check_panoptic
from .convert import TARGETS, convert
from .cvppp import check_plants
from .download import SOURCES, fetch, find_source, is_present
from .errors import DataError, DownloadError
from .folder_check import check_folder, count_problems, describe_folder
from .forms import FORMS, Choices
from .labelled_check import check_labelled
from .nuclei_check import check_nuclei
from .paths import root as data_root
from .penn_fudan import check_people
from .rgbd_check import check_saliency
from .voc_xml import COUNTING

CHECKS: dict[str, Callable[..., Report]] = {
    "nuclei": check_nuclei,
    "blood-cells": partial(check_boxed, blood_cells.find_parts),
    "white-blood-cells": partial(check_labelled, white_blood_cells.find_parts),
    "penn-fudan": check_people,
    "coco": check_instances,
    "coco-panoptic": check_panoptic,
    "voc": voc.check_voc,
    "cityscapes": partial(check_labelled, cityscapes.find_parts),
    "cityscapes-instances": check_streets,
    "camvid": partial(check_labelled, camvid.find_parts),
    "nyuv2": partial(check_labelled, nyuv2.find_parts),
    "cvppp": check_plants,
    "rgbd-saliency": check_saliency,
    "cleargrasp": check_scenes,
}

_ABOUT = [
    *(f"{name}: {form.about}" for name, form in FORMS.items()),
    "csv: table of instances, area and centroid",
    "merged, original: nuclei with their pictures, label PNGs or one mask a nucleus",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands below ``lessons data`` to its parser."""
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument(
        "--root",
        type=Path,
        help="folder of all data sets (default: $LESSONS_DATA, else a cache folder of yours)",
    )
    commands = parser.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    commands.add_parser("list", parents=[where], help="data sets, and which of them are here")
    command = commands.add_parser("fetch", parents=[where], help="download and unpack a data set")
    command.add_argument("name", choices=sorted(SOURCES))
    command = commands.add_parser("check", parents=[where], help="read it all, list every problem")
    command.add_argument(
        "name", metavar="NAME|DIR", help=f"one of {', '.join(sorted(CHECKS))}, or a folder of yours"
    )
    command = commands.add_parser("convert", parents=[where], help="write it in another form")
    command.add_argument("source", help="data set's name, or a file or folder of annotations")
    command.add_argument("target", type=Path, help="new folder, or file, as the form is")
    command.add_argument("--to", required=True, choices=TARGETS, help="; ".join(_ABOUT))
    command.add_argument(
        "--from",
        dest="form",
        choices=sorted(FORMS),
        help="form of the source (default: recognised)",
    )
    command.add_argument(
        "--counting", choices=COUNTING, help="what VOC's XML means: pixels from 1, or corners"
    )
    command.add_argument(
        "--masks", choices=MASKS, default=MASKS[0], help="how COCO's JSON has masks"
    )
    command.add_argument("--images", type=Path, help="folder of the pictures, if sizes are needed")


def run(args: argparse.Namespace) -> int:
    """Do what the parsed arguments say; returns the exit code, 0 if all is well."""
    commands = {"list": _list, "fetch": _fetch, "check": _check, "convert": _convert}
    try:
        return commands[args.data_command](args)
    except (DataError, DownloadError, ImportError, OSError) as error:
        print(f"lessons data {args.data_command}: {error}", file=sys.stderr)
        return 1


def _list(args: argparse.Namespace) -> int:
    root = data_root(args.root)
    print(f"root: {root}")
    for source in SOURCES.values():
        folder = root / source.folder
        state = "here" if is_present(source, folder) else "not here"
        print(f"{source.name:<20} {state:<9} {source.licence:<8} {source.about}\n{'':<20} {folder}")
    return 0


def _fetch(args: argparse.Namespace) -> int:
    source = find_source(args.name)
    here = is_present(source, data_root(args.root) / source.folder)
    folder = fetch(args.name, args.root, progress=sys.stderr.isatty())
    print(f"{args.name}: {'already in' if here else 'fetched to'} {folder}")
    return 0


def _check(args: argparse.Namespace) -> int:
    if args.name not in CHECKS:
        return _check_folder(Path(args.name))
    folder = data_root(args.root) / find_source(args.name).folder
    report = CHECKS[args.name](folder, progress=sys.stderr.isatty())
    for problem in report.problems:
        print(problem)
    for note in report.notes:
        print(f"note: {note}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.kinds.items()))
    instances = f"{report.instances} instances, " if report.instances else ""
    print(
        f"{args.name} in {folder}: {report.pictures} pictures ({kinds}), "
        f"{instances}{count_problems(report)}"
    )
    return 1 if report.problems else 0


def _check_folder(folder: Path) -> int:
    if not folder.is_dir():
        raise DataError(
            f"{folder}: there is no such folder, and no data set of that name; those are "
            f"{', '.join(sorted(CHECKS))}"
        )
    report = check_folder(folder, progress=sys.stderr.isatty())
    for problem in report.problems:
        print(f"problem: {problem}")
    for note in report.notes:
        print(f"note: {note}")
    for line in describe_folder(folder, report):
        print(line)
    return 1 if report.problems else 0


def _convert(args: argparse.Namespace) -> int:
    source, counting = Path(args.source), "pixels"
    if known := SOURCES.get(args.source):
        source = data_root(args.root) / known.folder
        if known.name == "blood-cells":
            source, counting = blood_cells.find_folder(source), "corners"
        elif known.name == "voc":
            source = voc.latest_kit(source)
    choices = Choices(args.counting or counting, args.masks, args.images)
    count, lost = convert(source, args.target, args.to, args.form, choices)
    print(f"{count} pictures written to {args.target} as {args.to}")
    for line in lost:
        print(f"lost, for {args.to} cannot hold it: {line}")
    return 0
