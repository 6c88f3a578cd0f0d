import numpy as np


def mean_iou(confusion):
    hits, true = np.diag(confusion), confusion.sum(1)
    iou = hits / np.maximum(confusion.sum(0) + true - hits, 1)
    return (true * iou).sum() / true.sum()
