"""Part IV: instances without boxes."""

from lessons_lib.embedding.clustering import (
    cluster_known_count,
    cluster_picture,
    mean_shift,
    merge_pieces,
    tidy_instances,
)
from lessons_lib.embedding.erfnet import ERFNet, SpatialERFNet
from lessons_lib.embedding.loss import DiscriminativeLoss, discriminative_loss
from lessons_lib.embedding.lovasz import lovasz_hinge
from lessons_lib.embedding.metrics import (
    Matching,
    Overlap,
    aggregated_jaccard,
    count_difference,
    instance_measures,
    match_instances,
    mean_dsb_score,
    overlap,
    symmetric_best_dice,
)
from lessons_lib.embedding.network import EmbeddingUNet
from lessons_lib.embedding.spatial_clustering import SpatialInstances, cluster_spatial
from lessons_lib.embedding.spatial_geometry import embed, margin_of
from lessons_lib.embedding.spatial_loss import SpatialEmbeddingLoss, spatial_embedding_loss
from lessons_lib.embedding.spatial_network import SpatialUNet

__all__ = [
    "DiscriminativeLoss",
    "ERFNet",
    "EmbeddingUNet",
    "Matching",
    "Overlap",
    "SpatialERFNet",
    "SpatialEmbeddingLoss",
    "SpatialInstances",
    "SpatialUNet",
    "aggregated_jaccard",
    "cluster_known_count",
    "cluster_picture",
    "cluster_spatial",
    "count_difference",
    "discriminative_loss",
    "embed",
    "instance_measures",
    "lovasz_hinge",
    "margin_of",
    "match_instances",
    "mean_dsb_score",
    "mean_shift",
    "merge_pieces",
    "overlap",
    "spatial_embedding_loss",
    "symmetric_best_dice",
    "tidy_instances",
]
