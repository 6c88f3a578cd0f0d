import torch


def local_push_term(means, centroids, delta_dist, reach):
    hinge = (2 * delta_dist - torch.pdist(means)).clamp(min=0).square()
    return (hinge * (torch.pdist(centroids) < reach)).mean()
