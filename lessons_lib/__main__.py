"""The ``lessons`` command."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from lessons_lib import __version__


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; 0 when all went well, 1 for an error that was explained, 2 for misuse."""
    args = _parser().parse_args(arguments)
    try:
        return args.run(args)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"lessons: {error}", file=sys.stderr)
        return 1


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
    command.add_argument("--out", type=Path, help="folder of the run (default: runs/NAME)")
    command.add_argument("--resume", action="store_true", help="go on where it was stopped")
    _add_root(command)
    command.set_defaults(run=_train)

    command = commands.add_parser("evaluate", help="measure trained weights")
    command.add_argument("recipe")
    command.add_argument("--weights", type=Path, help="default: those that come with the package")
    _add_root(command)
    command.set_defaults(run=_evaluate)

    command = commands.add_parser("predict", help="what is in your own pictures")
    command.add_argument("recipe")
    command.add_argument("images", nargs="+", type=Path)
    command.add_argument("--weights", type=Path, help="default: those that come with the package")
    command.add_argument("--out", type=Path, required=True)
    command.set_defaults(run=_predict)

    from lessons_lib.data import cli as data

    command = commands.add_parser("data", help="list, fetch, check and convert data sets")
    data.add_arguments(command)
    command.set_defaults(run=data.run)
    return parser


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

    _use_root(args)
    settings: dict[str, Any] = {}
    for item in args.set:
        key, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"--set {item} lacks an equals sign; write KEY=VALUE")
        settings[key] = value
    recipe = get_recipe(args.recipe)
    out = args.out or Path("runs") / f"{recipe.name}-{args.preset}-seed{args.seed}"
    run = fit(recipe, args.preset, seed=args.seed, out=out, resume=args.resume, **settings)
    _print_metrics(run.metrics)
    print(f"weights, logs and ledger entry: {out}")
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    from lessons_lib.recipes import get_recipe
    from lessons_lib.training import evaluate

    _use_root(args)
    _print_metrics(evaluate(get_recipe(args.recipe), args.weights))
    return 0


def _predict(args: argparse.Namespace) -> int:
    from lessons_lib.predict import predict_file
    from lessons_lib.recipes import get_recipe
    from lessons_lib.training import load_weights

    recipe = get_recipe(args.recipe)
    model, facts = load_weights(recipe, args.weights)
    stems = [path.stem for path in args.images]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"images has {twice} more than once; results are named after the files")
    for path in args.images:
        print(f"{path}: {predict_file(recipe, model, facts['options'], path, args.out)}")
    return 0


def _print_metrics(metrics: dict[str, float]) -> None:
    width = max(map(len, metrics))
    for name, value in metrics.items():
        print(f"{name:{width}}  {value:.4f}")


if __name__ == "__main__":
    sys.exit(main())
