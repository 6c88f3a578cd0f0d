import torch


def compress_layer(weight, rank):
    u, _, v = torch.linalg.svd(weight, full_matrices=False)
    return v[:rank], u[:, :rank]
