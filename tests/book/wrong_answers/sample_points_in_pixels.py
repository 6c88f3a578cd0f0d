import numpy as np


def sample_points(low, high, stride, bins, points):
    count = bins * points
    return low + (high - low) / count * (np.arange(count) + 0.5)
