"""Checkers for the readers' answers: one for each exercise of the book.

A checker takes the reader's function, tries it, prints what it found right and returns True; for a
wrong answer it raises :class:`NotYet` with what to look at next.
"""

from lessons_lib.exercises.boxes import (
    check_largest_slip,
    check_soft_scores,
    check_suppress,
)
from lessons_lib.exercises.checking import NotYet
from lessons_lib.exercises.convolution import (
    check_convolve,
    check_layer_sizes,
    check_pixels_seen,
)
from lessons_lib.exercises.cvae import (
    check_best_of_two,
    check_cvae_loss,
    check_expected_best,
)
from lessons_lib.exercises.discriminative_loss import (
    check_local_push_term,
    check_push_term,
    check_safe_radii,
)
from lessons_lib.exercises.faster_rcnn import (
    check_count_anchors,
    check_proposal_recall,
    check_pyramid_level,
)
from lessons_lib.exercises.fcn import check_fuse, check_mean_iou, check_score_rows
from lessons_lib.exercises.mask_rcnn import (
    check_instance_map,
    check_own_mask_loss,
    check_sample_points,
)
from lessons_lib.exercises.one_stage import (
    check_direct_location,
    check_easy_share,
    check_mined_loss,
)
from lessons_lib.exercises.pspnet import (
    check_dilated_layers,
    check_pool_valid,
    check_rows_read_twice,
)
from lessons_lib.exercises.rcnn import (
    check_compress_layer,
    check_crop_cost,
    check_pool_row,
)
from lessons_lib.exercises.saliency_metrics import (
    check_boundary_f,
    check_f_curve,
    check_flat_map,
)
from lessons_lib.exercises.spatial_embeddings import (
    check_cluster_pixels,
    check_lovasz_hinge,
    check_margin,
)
from lessons_lib.exercises.transposed_convolution import (
    check_input_sizes,
    check_stamps_per_phase,
    check_transposed_row,
)
from lessons_lib.exercises.ucnet import (
    check_energy_distance,
    check_released_kl,
    check_vote_map,
)
from lessons_lib.exercises.unet import (
    check_border_lost,
    check_contact_class,
    check_mirrored_row,
)

__all__ = [
    "NotYet",
    "check_best_of_two",
    "check_border_lost",
    "check_boundary_f",
    "check_cluster_pixels",
    "check_compress_layer",
    "check_contact_class",
    "check_convolve",
    "check_count_anchors",
    "check_crop_cost",
    "check_cvae_loss",
    "check_dilated_layers",
    "check_direct_location",
    "check_easy_share",
    "check_energy_distance",
    "check_expected_best",
    "check_f_curve",
    "check_flat_map",
    "check_fuse",
    "check_input_sizes",
    "check_instance_map",
    "check_largest_slip",
    "check_layer_sizes",
    "check_local_push_term",
    "check_lovasz_hinge",
    "check_margin",
    "check_mean_iou",
    "check_mined_loss",
    "check_mirrored_row",
    "check_own_mask_loss",
    "check_pixels_seen",
    "check_pool_row",
    "check_pool_valid",
    "check_proposal_recall",
    "check_push_term",
    "check_pyramid_level",
    "check_released_kl",
    "check_rows_read_twice",
    "check_safe_radii",
    "check_sample_points",
    "check_score_rows",
    "check_soft_scores",
    "check_stamps_per_phase",
    "check_suppress",
    "check_transposed_row",
    "check_vote_map",
]
