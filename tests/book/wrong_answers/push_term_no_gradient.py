import torch


def push_term(means, delta_dist):
    if len(means) < 2:
        return torch.tensor(0.0)
    return float((2 * delta_dist - torch.pdist(means.detach())).clamp(min=0).square().mean())
