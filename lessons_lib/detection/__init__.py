"""Boxes and what finds them: HOG, the R-CNN line, and how detectors are scored."""

from .anchors import AnchorGenerator, anchor_shapes, cluster_shapes
from .average_precision import (
    average_precision,
    average_precision_by_class,
    coco_form,
    precision_recall,
)
from .boxes import box_area, box_iou, clip_boxes, convert_boxes, generalized_box_iou
from .coder import BoxCoder
from .fast_rcnn import FastRCNN
from .faster_rcnn import FasterRCNN
from .hog import hog
from .hog_detector import HOGDetector
from .matching import match_boxes, sample_balanced
from .nms import batched_nms, nms, nms_plain
from .pictures import PictureScaler
from .pooling import roi_align, roi_pool, spatial_pyramid_pool
from .proposals import Proposed, Search
from .pyramid import FeaturePyramid, PyramidRoIAlign, assign_levels
from .rcnn import RCNN
from .roi_heads import RoIHeads, RoISettings
from .rpn import RegionProposalNetwork, RPNSettings
from .selective_search import MergeTree, merge_regions, selective_search
from .sppnet import SPPNet
from .voc_ap import voc_average_precision

__all__ = [
    "RCNN",
    "AnchorGenerator",
    "BoxCoder",
    "FastRCNN",
    "FasterRCNN",
    "FeaturePyramid",
    "HOGDetector",
    "MergeTree",
    "PictureScaler",
    "Proposed",
    "PyramidRoIAlign",
    "RPNSettings",
    "RegionProposalNetwork",
    "RoIHeads",
    "RoISettings",
    "SPPNet",
    "Search",
    "anchor_shapes",
    "assign_levels",
    "average_precision",
    "average_precision_by_class",
    "batched_nms",
    "box_area",
    "box_iou",
    "clip_boxes",
    "cluster_shapes",
    "coco_form",
    "convert_boxes",
    "generalized_box_iou",
    "hog",
    "match_boxes",
    "merge_regions",
    "nms",
    "nms_plain",
    "precision_recall",
    "roi_align",
    "roi_pool",
    "sample_balanced",
    "selective_search",
    "spatial_pyramid_pool",
    "voc_average_precision",
]
