import torch.nn.functional as F


def pool_valid(x, valid, bins):
    return F.adaptive_avg_pool2d(x * valid[:, None], bins)
