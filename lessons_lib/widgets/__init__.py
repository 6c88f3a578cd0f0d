"""Interactive figures: a Python class, an ES module and a style sheet each.

They answer without a kernel: everything they compute, they compute in the page.
"""

from lessons_lib.widgets.embedding_explorer import EmbeddingExplorer
from lessons_lib.widgets.figure import Figure
from lessons_lib.widgets.training_replay import TrainingReplay

__all__ = ["EmbeddingExplorer", "Figure", "TrainingReplay"]
