import numpy as np
from scipy.ndimage import binary_erosion, distance_transform_edt


def boundary_f(predicted, truth, radius):
    masks = np.asarray(predicted), np.asarray(truth)
    ours, theirs = (m & ~binary_erosion(m, border_value=1) for m in masks)
    if not ours.any() or not theirs.any():
        return 0.0
    return (distance_transform_edt(~theirs)[ours] <= radius).mean()
