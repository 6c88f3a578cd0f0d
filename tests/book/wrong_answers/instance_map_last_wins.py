import torch


def instance_map(masks, scores):
    ids = torch.zeros(masks.shape[1:], dtype=torch.int64)
    for k, mask in enumerate(masks):
        ids[mask] = k + 1
    return ids
