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
from .focal import focal_gradient, focal_loss
from .hog import hog
from .hog_detector import HOGDetector
from .instance_targets import merge_masks
from .keypoint_head import decode_heatmaps, keypoint_loss, keypoint_targets
from .keypoint_rcnn import KeypointRCNN
from .mask_head import mask_loss, mask_targets, paste_masks
from .mask_rcnn import MaskRCNN
from .matching import match_boxes, sample_balanced
from .nms import batched_nms, nms, nms_plain
from .pictures import PictureScaler
from .pooling import roi_align, roi_pool, spatial_pyramid_pool
from .proposals import Proposed, Search
from .pyramid import FeaturePyramid, PyramidRoIAlign, assign_levels
from .rcnn import RCNN
from .retinanet import RetinaNet, RetinaSettings
from .roi_heads import RoIHeads, RoISettings
from .rpn import RegionProposalNetwork, RPNSettings
from .selective_search import MergeTree, merge_regions, selective_search
from .sppnet import SPPNet
from .ssd import SSD, SSDSettings, hard_negatives
from .ssd_boxes import DefaultBoxes, match_default_boxes
from .voc_ap import voc_average_precision
from .yolo_v1 import YOLOv1, yolo_v1_loss
from .yolo_v2 import YOLOv2, yolo_v2_loss
from .yolo_v3 import YOLOv3, yolo_v3_loss

__all__ = [
    "RCNN",
    "SSD",
    "AnchorGenerator",
    "BoxCoder",
    "DefaultBoxes",
    "FastRCNN",
    "FasterRCNN",
    "FeaturePyramid",
    "HOGDetector",
    "KeypointRCNN",
    "MaskRCNN",
    "MergeTree",
    "PictureScaler",
    "Proposed",
    "PyramidRoIAlign",
    "RPNSettings",
    "RegionProposalNetwork",
    "RetinaNet",
    "RetinaSettings",
    "RoIHeads",
    "RoISettings",
    "SPPNet",
    "SSDSettings",
    "Search",
    "YOLOv1",
    "YOLOv2",
    "YOLOv3",
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
    "decode_heatmaps",
    "focal_gradient",
    "focal_loss",
    "generalized_box_iou",
    "hard_negatives",
    "hog",
    "keypoint_loss",
    "keypoint_targets",
    "mask_loss",
    "mask_targets",
    "match_boxes",
    "match_default_boxes",
    "merge_masks",
    "merge_regions",
    "nms",
    "nms_plain",
    "paste_masks",
    "precision_recall",
    "roi_align",
    "roi_pool",
    "sample_balanced",
    "selective_search",
    "spatial_pyramid_pool",
    "voc_average_precision",
    "yolo_v1_loss",
    "yolo_v2_loss",
    "yolo_v3_loss",
]
