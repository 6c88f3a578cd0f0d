import torch


def push_term(means, delta_dist):
    if len(means) < 2:
        return means.sum() * 0
    return (delta_dist - torch.pdist(means)).clamp(min=0).square().mean()
