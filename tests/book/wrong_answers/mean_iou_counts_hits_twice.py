import numpy as np


def mean_iou(confusion):
    return np.nanmean(np.diag(confusion) / (confusion.sum(0) + confusion.sum(1)))
