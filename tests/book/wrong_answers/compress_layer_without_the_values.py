import torch


def compress_layer(weight, rank):
    u, s, v = torch.linalg.svd(weight, full_matrices=False)
    return v[:rank], u[:, :rank]
