import torch


def overlaps(a, b):
    a, b = a.flatten(1).float(), b.flatten(1).float()
    both = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1) - both
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)


def energy_distance(samples, annotations, shares):
    w = torch.tensor(shares)
    across = (overlaps(samples, annotations) @ w).mean()
    among = w @ overlaps(annotations, annotations) @ w
    return 2 * across - overlaps(samples, samples).mean() - among
