"""``lessons data list | fetch NAME | check NAME | convert``: its arguments, and what they do."""

import argparse
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from . import camvid, cityscapes, nyuv2, voc, white_blood_cells
from .convert import CONVERTERS
from .download import SOURCES, fetch, find_source, is_present
from .errors import DataError, DownloadError
from .labelled_check import check_labelled
from .nuclei_check import Report, check_nuclei
from .paths import root as data_root

CHECKS: dict[str, Callable[..., Report]] = {
    "nuclei": check_nuclei,
    "white-blood-cells": partial(check_labelled, white_blood_cells.find_parts),
    "voc": partial(check_labelled, voc.find_parts),
    "cityscapes": partial(check_labelled, cityscapes.find_parts),
    "camvid": partial(check_labelled, camvid.find_parts),
    "nyuv2": partial(check_labelled, nyuv2.find_parts),
}


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
    command.add_argument("name", choices=sorted(CHECKS))
    command = commands.add_parser("convert", parents=[where], help="write it in another form")
    command.add_argument("source", help="data set's name, or a folder of pictures or of label PNGs")
    command.add_argument("target", type=Path, help="new folder, or file for coco and csv")
    command.add_argument("--to", required=True, choices=sorted(CONVERTERS), help="the form")


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
        print(f"{source.name:<18} {state:<9} {source.licence:<8} {source.about}\n{'':<18} {folder}")
    return 0


def _fetch(args: argparse.Namespace) -> int:
    source = find_source(args.name)
    here = is_present(source, data_root(args.root) / source.folder)
    folder = fetch(args.name, args.root, progress=sys.stderr.isatty())
    print(f"{args.name}: {'already in' if here else 'fetched to'} {folder}")
    return 0


def _check(args: argparse.Namespace) -> int:
    folder = data_root(args.root) / find_source(args.name).folder
    report = CHECKS[args.name](folder, progress=sys.stderr.isatty())
    for problem in report.problems:
        print(problem)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.kinds.items()))
    instances = f"{report.instances} instances, " if args.name == "nuclei" else ""
    print(
        f"{args.name} in {folder}: {report.pictures} pictures ({kinds}), "
        f"{instances}{len(report.problems) or 'no'} problems"
    )
    return 1 if report.problems else 0


def _convert(args: argparse.Namespace) -> int:
    known = SOURCES.get(args.source)
    source = data_root(args.root) / known.folder if known else Path(args.source)
    count = CONVERTERS[args.to](source, args.target)
    print(f"{count} pictures written to {args.target} as {args.to}")
    return 0
