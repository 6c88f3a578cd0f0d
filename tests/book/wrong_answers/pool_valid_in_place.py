import torch.nn.functional as F


def pool_valid(x, valid, bins):
    weight = valid[:, None].float()
    x *= weight
    count = F.adaptive_avg_pool2d(weight, bins)
    return F.adaptive_avg_pool2d(x, bins) / count.clamp(min=1e-6)
