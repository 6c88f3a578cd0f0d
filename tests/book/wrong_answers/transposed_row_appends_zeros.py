import numpy as np


def transposed_row(x, w, stride, padding, output_padding):
    canvas = np.zeros((len(x) - 1) * stride + len(w))
    for i, value in enumerate(x):
        canvas[i * stride : i * stride + len(w)] += value * w
    kept = canvas[padding : len(canvas) - padding]
    return np.concatenate([kept, np.zeros(output_padding)])
