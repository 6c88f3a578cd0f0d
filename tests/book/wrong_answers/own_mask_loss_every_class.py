import torch.nn.functional as F


def own_mask_loss(logits, labels, targets):
    if not len(logits):
        return logits.sum()
    wanted = targets[:, None].expand_as(logits)
    return F.binary_cross_entropy_with_logits(logits, wanted)
