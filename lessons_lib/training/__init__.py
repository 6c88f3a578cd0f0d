"""Recipes, the one training loop, and what runs leave behind."""

from lessons_lib.training.evaluate import evaluate, evaluate_model, load_weights, measure_pictures
from lessons_lib.training.fit import Run, TrainingDiverged, fit
from lessons_lib.training.ledger import read_ledger
from lessons_lib.training.recipe import Preset, Recipe, collate

__all__ = [
    "Preset",
    "Recipe",
    "Run",
    "TrainingDiverged",
    "collate",
    "evaluate",
    "evaluate_model",
    "fit",
    "load_weights",
    "measure_pictures",
    "read_ledger",
]
