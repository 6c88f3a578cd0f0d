import numpy as np
from scipy.ndimage import distance_transform_edt


def contact_class(instances, reach):
    near = np.zeros(instances.shape, int)
    for k in np.unique(instances[instances > 0]):
        near += distance_transform_edt(instances != k) <= reach
    return np.where((near >= 2) & (instances == 0), 2, instances > 0)
