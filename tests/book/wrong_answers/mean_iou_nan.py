import numpy as np


def mean_iou(confusion):
    hits = np.diag(confusion)
    return (hits / (confusion.sum(0) + confusion.sum(1) - hits)).mean()
