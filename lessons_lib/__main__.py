"""The ``lessons`` command."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from lessons_lib import __version__


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; 0 when all went well, 1 for an error that was explained, 2 for misuse."""
    args = _parser().parse_args(arguments)
    try:
        with _short_warnings():
            return args.run(args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"lessons: {error}", file=sys.stderr)
        return 1


@contextmanager
def _short_warnings() -> Iterator[None]:
    """What the library has to say about a reader's data takes one line; other warnings are as ever."""
    from lessons_lib.data import DataWarning

    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_short(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, DataWarning):
                print(f"lessons: note: {message}", file=sys.stderr)
            else:
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = show_short
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("lessons", description="The recipes of Pixels to Instances.")
    parser.add_argument("--version", action="version", version=f"lessons_lib {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("list", help="recipes, presets, and their last known result")
    command.set_defaults(run=_list)

    command = commands.add_parser("train", help="train a recipe")
    command.add_argument("recipe")
    command.add_argument("--preset", default="quick")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="replace a setting"
    )
    _add_data(command)
    command.add_argument("--out", type=Path, help="folder of the run (default: runs/NAME)")
    command.add_argument("--resume", action="store_true", help="go on where it was stopped")
    _add_root(command)
    command.set_defaults(run=_train)

    command = commands.add_parser("evaluate", help="measure trained weights")
    command.add_argument("recipe")
    _add_data(command)
    command.add_argument("--weights", type=Path, help="default: those that come with the package")
    _add_root(command)
    command.set_defaults(run=_evaluate)

    command = commands.add_parser(
        "predict",
        help="what is in your own pictures",
        description="Predicts pictures and writes, for each, the instances found as a label picture, an "
        "overlay, COCO JSON and a table (CSV), named after the picture. What cannot be read or written is "
        "named, and the others are predicted.",
    )
    command.add_argument("recipe")
    command.add_argument(
        "images",
        nargs="+",
        type=Path,
        help="PNG, JPEG or TIFF of 8 or 16 bits, any size; or folders of them",
    )
    command.add_argument("--weights", type=Path, help="default: those that come with the package")
    command.add_argument("--out", type=Path, required=True, help="folder of the results")
    command.add_argument(
        "--tile",
        type=int,
        default=1024,
        metavar="PX",
        help="pictures with a longer side are cut into tiles of this side (default: 1024)",
    )
    command.add_argument(
        "--overlap",
        type=int,
        default=128,
        metavar="PX",
        help="what neighbouring tiles share; twice the largest object is good (default: 128)",
    )
    command.add_argument(
        "--labels",
        choices=("png", "tiff"),
        default="png",
        help="label pictures (default: png; a TIFF in any case where 16 bits cannot hold the ids)",
    )
    command.add_argument("--device", default="cpu", help="cpu (default), or cuda for a GPU")
    command.set_defaults(run=_predict)

    command = commands.add_parser(
        "evaluate-maps",
        help="score a folder of saliency maps",
        description="Scores saliency maps against their truths, paired by the names of the files. What cannot "
        "be read is named, and the others are scored.",
    )
    command.add_argument("predictions", type=Path, help="folder of gray maps")
    command.add_argument("truths", type=Path, help="folder of masks, salient above half of white")
    command.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="stretch each map to 0..1 first, as the field does (default: yes)",
    )
    command.add_argument(
        "--weighted-f",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="the weighted F-measure too, which is slow (default: yes)",
    )
    command.add_argument("--boundary-f", action="store_true", help="the boundary F-measure too")
    command.add_argument(
        "--csv", type=Path, metavar="FILE", help="table of the measures of each map"
    )
    command.set_defaults(run=_evaluate_maps)

    from lessons_lib.data import cli as data

    command = commands.add_parser("data", help="list, fetch, check and convert data sets")
    data.add_arguments(command)
    command.set_defaults(run=data.run)
    return parser


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data", metavar="DIR", help="folder of your pictures (spatial-folder)")


def _add_root(command: argparse.ArgumentParser) -> None:
    command.add_argument("--root", help="folder of the data sets (else $LESSONS_DATA)")


def _use_root(args: argparse.Namespace) -> None:
    if args.root is not None:
        os.environ["LESSONS_DATA"] = args.root


def _list(args: argparse.Namespace) -> int:
    from lessons_lib.recipes import RECIPES
    from lessons_lib.training import read_ledger

    for recipe in RECIPES.values():
        print(f"{recipe.name}: {recipe.summary}")
        for name, preset in recipe.presets.items():
            print(f"  {name:6} {preset.summary}")
            runs = read_ledger(recipe.name, name)
            if not runs:
                print("         not run")
            for run in runs:
                label = f"seed {run['seed']}" + (f", {run['variant']}" if "variant" in run else "")
                score = run["metrics"][recipe.score]
                print(
                    f"         {label}: {recipe.score} {score:.3f} in {run['seconds']:.0f} s, "
                    f"{run['device']}"
                )
    return 0


def _train(args: argparse.Namespace) -> int:
    from lessons_lib.recipes import get_recipe
    from lessons_lib.training import fit
    from lessons_lib.training.evaluate import check_takes_data

    _use_root(args)
    settings: dict[str, Any] = {}
    for item in args.set:
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"--set {item} lacks an equals sign; write KEY=VALUE")
        settings[key] = value
    recipe = get_recipe(args.recipe)
    if args.data is not None:
        check_takes_data(recipe, recipe.preset(args.preset).options)
        settings["data"] = args.data
    out = args.out or Path("runs") / f"{recipe.name}-{args.preset}-seed{args.seed}"
    run = fit(recipe, args.preset, seed=args.seed, out=out, resume=args.resume, **settings)
    if os.environ.get("RANK", "0") == "0":  # of several processes, the one that wrote them
        _print_metrics(run.metrics)
        print(f"weights, logs and ledger entry: {out}")
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from lessons_lib.recipes import get_recipe
    from lessons_lib.training import evaluate

    _use_root(args)
    _print_metrics(evaluate(get_recipe(args.recipe), args.weights, args.data))
    return 0


def _evaluate_maps(args: argparse.Namespace) -> int:
    from lessons_lib.saliency.maps import score_maps

    report = score_maps(
        args.predictions,
        args.truths,
        normalize=args.normalize,
        weighted_f=args.weighted_f,
        boundary_f=args.boundary_f,
    )
    for problem in report.problems:
        print(f"lessons: {problem}", file=sys.stderr)
    for note in report.notes:
        print(f"lessons: note: {note}", file=sys.stderr)
    if args.csv is not None:
        report.write_csv(args.csv)
    stretched = "each stretched to 0..1" if args.normalize else "as they are"
    print(f"{len(report.rows)} maps, {stretched}")
    _print_metrics(report.scores)
    return 1 if report.problems else 0


def _predict(args: argparse.Namespace) -> int:
    from lessons_lib.predict.files import explain, list_pictures, predict_file, same_names
    from lessons_lib.predict.pictures import check_sizes
    from lessons_lib.predict.result_files import check_folder, check_own_folder
    from lessons_lib.recipes import get_recipe
    from lessons_lib.training import load_weights

    recipe = get_recipe(args.recipe)
    check_sizes(args.tile, args.overlap)
    pictures = list_pictures(args.images)
    check_own_folder(args.out, pictures)
    check_folder(args.out)
    others = same_names(pictures)
    model, facts = load_weights(recipe, args.weights)
    try:
        model = model.to(args.device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {args.device} cannot be used: {error}") from error
    chosen = {"tile": args.tile, "overlap": args.overlap, "labels": args.labels, "progress": True}
    failed = 0
    for path in pictures:
        try:
            if path in others:
                raise ValueError(
                    f"{path}: results are named after the files, and those of {others[path]} have the same names"
                )
            told = predict_file(recipe, model, facts["options"], path, args.out, **chosen)
        except Exception as error:  # whatever it is, the other pictures can be predicted
            failed += 1
            print(f"lessons: {explain(path, error)}", file=sys.stderr, flush=True)
        else:
            print(f"{path}: {told}", flush=True)
    if failed and len(pictures) > 1:
        print(f"lessons: {failed} of {len(pictures)} pictures failed", file=sys.stderr)
    return 1 if failed else 0


def _print_metrics(metrics: dict[str, float]) -> None:
    width = max(map(len, metrics))
    for name, value in metrics.items():
        print(f"{name:{width}}  {value:.4f}")


if __name__ == "__main__":
    sys.exit(main())
