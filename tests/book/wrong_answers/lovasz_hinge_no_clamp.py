import torch


def lovasz_hinge(scores, mask):
    sign = torch.where(mask, 1.0, -1.0)
    errors = 1 - scores * sign
    errors, order = errors.sort(descending=True)
    inside = mask[order]
    found = inside.cumsum(0)
    place = torch.arange(1, len(errors) + 1)
    jaccard = 1 - (inside.sum() - found) / (inside.sum() + place - found)
    steps = torch.diff(jaccard, prepend=torch.zeros(1))
    return (errors * steps).sum()
