"""Predicting a reader's own pictures, from files to files, of any size."""

from .files import list_pictures, predict_file
from .joining import Found, find_in_tiles
from .pictures import predict_image, predict_picture
from .tiles import Span, Tile

__all__ = [
    "Found",
    "Span",
    "Tile",
    "find_in_tiles",
    "list_pictures",
    "predict_file",
    "predict_image",
    "predict_picture",
]
