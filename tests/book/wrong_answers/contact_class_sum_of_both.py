import numpy as np
from scipy.ndimage import distance_transform_edt


def contact_class(instances, reach):
    ids = np.unique(instances[instances > 0])
    if len(ids) < 2:
        return (instances > 0).astype(int)
    away = np.stack([distance_transform_edt(instances != k) for k in ids])
    first, second = np.sort(away, axis=0)[:2]
    return np.where(first + second <= reach, 2, instances > 0)
