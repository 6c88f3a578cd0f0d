import torch
import torch.nn.functional as F


def fuse(scores, skips):
    for skip in skips:
        scores = F.interpolate(scores, skip.shape[-2:], mode="bilinear")
        scores = torch.cat([scores, skip], dim=1)
    return scores
