import torch.nn.functional as F


def pool_valid(x, valid, bins):
    weight = valid[:, None].float()
    return F.adaptive_avg_pool2d(x * weight, bins) / weight.mean((2, 3), keepdim=True)
