import numpy as np


def transposed_row(x, w, stride, padding, output_padding):
    canvas = np.zeros((len(x) - 1) * stride + len(w) + output_padding)
    for i, value in enumerate(x):
        canvas[i * stride : i * stride + len(w)] += value * w
    return np.pad(canvas, padding)
