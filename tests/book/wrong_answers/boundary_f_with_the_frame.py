import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt


def boundary_f(predicted, truth, radius):
    ours, theirs = (m & ~binary_erosion(m) for m in (np.asarray(predicted), np.asarray(truth)))
    if not ours.any() or not theirs.any():
        return float(ours.any() == theirs.any())
    precision = (distance_transform_edt(~theirs)[ours] <= radius).mean()
    recall = (distance_transform_edt(~ours)[theirs] <= radius).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
