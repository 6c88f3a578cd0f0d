import torch


def distances(a, b):
    a, b = a.flatten(1).float(), b.flatten(1).float()
    both = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1) - both
    return 1 - both / either.clamp(min=1)


def energy_distance(samples, annotations, shares):
    w = torch.tensor(shares)
    across = (distances(samples, annotations) @ w).mean()
    among = w @ distances(annotations, annotations) @ w
    return 2 * across - distances(samples, samples).mean() - among
