"""Figures that several chapters draw."""

from lessons_lib.plots.boxes import show_boxes
from lessons_lib.plots.curves import learning_curves
from lessons_lib.plots.pictures import colour_instances, show_pictures

__all__ = ["colour_instances", "learning_curves", "show_boxes", "show_pictures"]
