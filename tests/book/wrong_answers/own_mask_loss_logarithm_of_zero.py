import torch


def own_mask_loss(logits, labels, targets):
    if not len(logits):
        return logits.sum()
    p = logits[torch.arange(len(logits)), labels].sigmoid().clamp(1e-30, 1 - 1e-30)
    return -(targets * p.log() + (1 - targets) * (1 - p).log()).mean()
