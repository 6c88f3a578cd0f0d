"""Part II: every pixel gets a class."""

from lessons_lib.semantic.borders import border_weight_map, separate_touching
from lessons_lib.semantic.fcn import FCN, semantic_loss
from lessons_lib.semantic.inference import predict_multiscale, predict_windows
from lessons_lib.semantic.metrics import ConfusionMatrix
from lessons_lib.semantic.pspnet import PSPNet, PyramidPooling
from lessons_lib.semantic.tiling import predict_tiled, tiles
from lessons_lib.semantic.unet import UNet, UNetTrunk

__all__ = [
    "FCN",
    "ConfusionMatrix",
    "PSPNet",
    "PyramidPooling",
    "UNet",
    "UNetTrunk",
    "border_weight_map",
    "predict_multiscale",
    "predict_tiled",
    "predict_windows",
    "semantic_loss",
    "separate_touching",
    "tiles",
]
