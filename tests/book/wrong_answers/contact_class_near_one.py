import numpy as np
from scipy.ndimage import distance_transform_edt


def contact_class(instances, reach):
    away = distance_transform_edt(instances == 0)
    if not instances.any():
        return np.zeros_like(instances)
    return np.where((away > 0) & (away <= reach), 2, instances > 0)
