import torch


def f_curve(levels, truth):
    inside = torch.bincount(levels[truth], minlength=256)
    outside = torch.bincount(levels[~truth], minlength=256)
    hits = inside.flip(0).cumsum(0)
    alarms = outside.flip(0).cumsum(0)
    precision = hits / (hits + alarms).clamp(min=1)
    recall = hits / truth.sum().clamp(min=1)
    return 1.3 * precision * recall / (0.3 * precision + recall).clamp(min=1e-9)
