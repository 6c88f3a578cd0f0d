import torch


def local_push_term(means, centroids, delta_dist, reach):
    return (2 * delta_dist - torch.pdist(means)).clamp(min=0).square().mean() * (reach > 0)
