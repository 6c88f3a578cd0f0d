import torch


def f_curve(levels, truth):
    predicted = levels.flatten() > torch.arange(256)[:, None]
    hits = (predicted & truth.flatten()).sum(1)
    precision = hits / predicted.sum(1).clamp(min=1)
    recall = hits / truth.sum().clamp(min=1)
    below = (0.3 * precision + recall).clamp(min=1e-9)
    return 1.3 * precision * recall / below
