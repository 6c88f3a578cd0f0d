import torch
import torch.nn.functional as F


def own_mask_loss(logits, labels, targets):
    if not len(logits):
        return logits.sum()
    own = logits[torch.arange(len(logits)), labels - 1]
    return F.binary_cross_entropy_with_logits(own, targets)
