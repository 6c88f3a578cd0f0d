import numpy as np


def mirrored_row(row, margin):
    return np.pad(row, margin)
