"""Data: synthetic scenes, real data sets, files, annotation formats, downloads."""

from .download import fetch
from .errors import DataError, DownloadError
from .files import read_image, read_labels, write_labels
from .instances import instance_table, instances_to_coco, renumber
from .nuclei import Nuclei
from .nuclei_crops import NucleiCrops
from .paths import root
from .pictures import normalize_image, overlay
from .sticks import Sticks

__all__ = [
    "DataError",
    "DownloadError",
    "Nuclei",
    "NucleiCrops",
    "Sticks",
    "fetch",
    "instance_table",
    "instances_to_coco",
    "normalize_image",
    "overlay",
    "read_image",
    "read_labels",
    "renumber",
    "root",
    "write_labels",
]
