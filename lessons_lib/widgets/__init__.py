"""Interactive figures: a Python class, an ES module and a style sheet each.

They answer without a kernel: everything they compute, they compute in the page.
"""

from lessons_lib.widgets.anchor_clusters import AnchorClusters
from lessons_lib.widgets.anchor_matcher import AnchorMatcher
from lessons_lib.widgets.convolution_stepper import ConvolutionStepper
from lessons_lib.widgets.embedding_explorer import EmbeddingExplorer
from lessons_lib.widgets.figure import Figure
from lessons_lib.widgets.focal_loss import FocalLossExplorer
from lessons_lib.widgets.gaussian_explorer import GaussianExplorer
from lessons_lib.widgets.hog_cells import HOGCells
from lessons_lib.widgets.latent_walk import LatentWalk
from lessons_lib.widgets.metric_that_lies import MetricThatLies
from lessons_lib.widgets.nms_playground import NMSPlayground
from lessons_lib.widgets.pyramid_explorer import PyramidExplorer
from lessons_lib.widgets.region_merging import RegionMerging
from lessons_lib.widgets.roi_shift import RoIShift
from lessons_lib.widgets.saliency_painter import SaliencyPainter
from lessons_lib.widgets.sample_vote import SampleVote
from lessons_lib.widgets.skip_switch import SkipSwitch
from lessons_lib.widgets.stride_overlay import StrideOverlay
from lessons_lib.widgets.training_replay import TrainingReplay
from lessons_lib.widgets.transposed_stepper import TransposedStepper

__all__ = [
    "AnchorClusters",
    "AnchorMatcher",
    "ConvolutionStepper",
    "EmbeddingExplorer",
    "Figure",
    "FocalLossExplorer",
    "GaussianExplorer",
    "HOGCells",
    "LatentWalk",
    "MetricThatLies",
    "NMSPlayground",
    "PyramidExplorer",
    "RegionMerging",
    "RoIShift",
    "SaliencyPainter",
    "SampleVote",
    "SkipSwitch",
    "StrideOverlay",
    "TrainingReplay",
    "TransposedStepper",
]
