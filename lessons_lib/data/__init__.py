"""Data: synthetic scenes, real data sets, files, annotation formats, downloads."""

from .annotations import Annotations, MarkedObject, MarkedPicture
from .blood_cells import BloodCells
from .bright_nuclei import BrightNuclei
from .camvid import CamVid
from .cityscapes import Cityscapes
from .cityscapes_instances import CityscapesInstances
from .cleargrasp import ClearGrasp
from .coco_instances import CocoInstances
from .coco_json import read_coco, write_coco
from .coco_panoptic import CocoPanoptic
from .contest_runs import decode_gaps, decode_starts, encode_gaps, encode_starts
from .context_scenes import ContextScenes
from .cvat_xml import read_cvat, write_cvat
from .cvppp import CVPPP
from .depth import nearness, sense_depth
from .digits import Digits
from .discs import Discs
from .download import fetch
from .errors import DataError, DataWarning, DownloadError
from .files import read_image, read_labels, write_labels
from .folder import InstanceFolder
from .half_digits import HalfDigits
from .instance_crops import InstanceCrops
from .instances import instance_table, instances_to_coco, renumber
from .labelled import LabelledPictures
from .large_pictures import PictureFile, open_picture
from .nuclei import Nuclei
from .nuclei_crops import NucleiCrops
from .nyuv2 import NYUv2
from .object_crops import object_crop
from .outlines import mask_to_polygons
from .palettes import voc_palette
from .panoptic import decode_panoptic, encode_panoptic, read_panoptic, write_panoptic
from .paths import root
from .penn_fudan import PennFudan
from .picture_statistics import PictureStatistics
from .pictures import normalize_image, overlay, overlay_boxes, overlay_panoptic
from .rgbd_saliency import RGBDSaliency
from .rgbd_scenes import RGBDScenes
from .shapes import Shapes
from .sticks import Sticks
from .transforms import Augmented, random_scale_crop
from .voc import VOC
from .voc_xml import read_voc_xml, write_voc_xml
from .white_blood_cells import WhiteBloodCells

__all__ = [
    "CVPPP",
    "VOC",
    "Annotations",
    "Augmented",
    "BloodCells",
    "BrightNuclei",
    "CamVid",
    "Cityscapes",
    "CityscapesInstances",
    "ClearGrasp",
    "CocoInstances",
    "CocoPanoptic",
    "ContextScenes",
    "DataError",
    "DataWarning",
    "Digits",
    "Discs",
    "DownloadError",
    "HalfDigits",
    "InstanceCrops",
    "InstanceFolder",
    "LabelledPictures",
    "MarkedObject",
    "MarkedPicture",
    "NYUv2",
    "Nuclei",
    "NucleiCrops",
    "PennFudan",
    "PictureFile",
    "PictureStatistics",
    "RGBDSaliency",
    "RGBDScenes",
    "Shapes",
    "Sticks",
    "WhiteBloodCells",
    "decode_gaps",
    "decode_panoptic",
    "decode_starts",
    "encode_gaps",
    "encode_panoptic",
    "encode_starts",
    "fetch",
    "instance_table",
    "instances_to_coco",
    "mask_to_polygons",
    "nearness",
    "normalize_image",
    "object_crop",
    "open_picture",
    "overlay",
    "overlay_boxes",
    "overlay_panoptic",
    "random_scale_crop",
    "read_coco",
    "read_cvat",
    "read_image",
    "read_labels",
    "read_panoptic",
    "read_voc_xml",
    "renumber",
    "root",
    "sense_depth",
    "voc_palette",
    "write_coco",
    "write_cvat",
    "write_labels",
    "write_panoptic",
    "write_voc_xml",
]
