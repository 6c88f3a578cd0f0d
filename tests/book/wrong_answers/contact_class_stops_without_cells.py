import numpy as np
from scipy.ndimage import distance_transform_edt


def contact_class(instances, reach):
    ids = np.unique(instances[instances > 0])
    away = np.stack([distance_transform_edt(instances != k) for k in ids])
    return np.where(np.sort(away, axis=0)[1] <= reach, 2, instances > 0)
