import torch


def push_term(means, delta_dist):
    count = len(means)
    if count < 2:
        return means.sum() * 0
    hinge = (2 * delta_dist - torch.pdist(means)).clamp(min=0)
    return hinge.square().sum() / (count * (count - 1))
