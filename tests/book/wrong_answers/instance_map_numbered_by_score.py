import torch


def instance_map(masks, scores):
    ids = torch.zeros(masks.shape[1:], dtype=torch.int64)
    for number, k in enumerate(scores.argsort().tolist()):
        ids[masks[k]] = number + 1
    return ids
