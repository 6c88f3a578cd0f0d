import torch


def local_push_term(means, centroids, delta_dist, reach):
    near = torch.pdist(means) < reach
    if not near.any():
        return means.sum() * 0
    return (2 * delta_dist - torch.pdist(centroids)).clamp(min=0).square()[near].mean()
