"""Data: synthetic scenes, real data sets, files, annotation formats, downloads."""

from .bright_nuclei import BrightNuclei
from .camvid import CamVid
from .cityscapes import Cityscapes
from .context_scenes import ContextScenes
from .digits import Digits
from .download import fetch
from .errors import DataError, DownloadError
from .files import read_image, read_labels, write_labels
from .instances import instance_table, instances_to_coco, renumber
from .labelled import LabelledPictures
from .nuclei import Nuclei
from .nuclei_crops import NucleiCrops
from .nyuv2 import NYUv2
from .palettes import voc_palette
from .paths import root
from .pictures import normalize_image, overlay
from .shapes import Shapes
from .sticks import Sticks
from .transforms import Augmented, random_scale_crop
from .voc import VOC
from .white_blood_cells import WhiteBloodCells

__all__ = [
    "VOC",
    "Augmented",
    "BrightNuclei",
    "CamVid",
    "Cityscapes",
    "ContextScenes",
    "DataError",
    "Digits",
    "DownloadError",
    "LabelledPictures",
    "NYUv2",
    "Nuclei",
    "NucleiCrops",
    "Shapes",
    "Sticks",
    "WhiteBloodCells",
    "fetch",
    "instance_table",
    "instances_to_coco",
    "normalize_image",
    "overlay",
    "random_scale_crop",
    "read_image",
    "read_labels",
    "renumber",
    "root",
    "voc_palette",
    "write_labels",
]
