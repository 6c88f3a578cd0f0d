"""Part I: convolutions, their sizes, and what they see."""

from lessons_lib.convolution.bilinear import bilinear_kernel
from lessons_lib.convolution.loops import (
    conv2d_loop,
    convolution_matrix,
    transposed_matrix,
    transposed_scatter,
    transposed_zero_insertion,
)
from lessons_lib.convolution.network import DigitsCNN
from lessons_lib.convolution.receptive import ReceptiveField, receptive_field
from lessons_lib.convolution.sizes import (
    conv_output_size,
    output_padding_for,
    transposed_output_size,
)
from lessons_lib.convolution.table import Layer, LayerTable, layer_table

__all__ = [
    "DigitsCNN",
    "Layer",
    "LayerTable",
    "ReceptiveField",
    "bilinear_kernel",
    "conv2d_loop",
    "conv_output_size",
    "convolution_matrix",
    "layer_table",
    "output_padding_for",
    "receptive_field",
    "transposed_matrix",
    "transposed_output_size",
    "transposed_scatter",
    "transposed_zero_insertion",
]
