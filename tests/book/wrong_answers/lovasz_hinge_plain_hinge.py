import torch


def lovasz_hinge(scores, mask):
    return (1 - scores * torch.where(mask, 1.0, -1.0)).clamp(min=0).mean()
