import numpy as np


def mirrored_row(row, margin):
    left = row[1 : margin + 1][::-1]
    right = row[::-1][1 : margin + 1]
    return np.concatenate([left, row, right])
