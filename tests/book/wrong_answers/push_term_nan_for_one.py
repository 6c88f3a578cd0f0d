import torch


def push_term(means, delta_dist):
    return (2 * delta_dist - torch.pdist(means)).clamp(min=0).square().mean()
