import numpy as np


def sample_points(low, high, stride, bins, points):
    return np.linspace(low / stride, high / stride, bins * points)
