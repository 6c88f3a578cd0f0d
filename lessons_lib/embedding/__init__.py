"""Part IV: instances without boxes."""

from lessons_lib.embedding.clustering import (
    cluster_known_count,
    cluster_picture,
    mean_shift,
    merge_pieces,
    tidy_instances,
)
from lessons_lib.embedding.loss import DiscriminativeLoss, discriminative_loss
from lessons_lib.embedding.metrics import (
    Matching,
    Overlap,
    aggregated_jaccard,
    count_difference,
    match_instances,
    mean_dsb_score,
    overlap,
    symmetric_best_dice,
)
from lessons_lib.embedding.network import EmbeddingUNet

__all__ = [
    "DiscriminativeLoss",
    "EmbeddingUNet",
    "Matching",
    "Overlap",
    "aggregated_jaccard",
    "cluster_known_count",
    "cluster_picture",
    "count_difference",
    "discriminative_loss",
    "match_instances",
    "mean_dsb_score",
    "mean_shift",
    "merge_pieces",
    "overlap",
    "symmetric_best_dice",
    "tidy_instances",
]
