import torch


def distances(a, b):
    a, b = a.flatten(1).float(), b.flatten(1).float()
    both = a @ b.T
    either = a.sum(1)[:, None] + b.sum(1) - both
    return 1 - torch.where(either > 0, both / either.clamp(min=1), 1.0)


def energy_distance(samples, annotations, shares):
    across = distances(samples, annotations).mean()
    return (
        2 * across - distances(samples, samples).mean() - distances(annotations, annotations).mean()
    )
