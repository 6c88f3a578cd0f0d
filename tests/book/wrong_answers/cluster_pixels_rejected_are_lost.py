import torch


def cluster_pixels(places, spreads, seeds, seed_threshold):
    ids = torch.zeros(len(seeds), dtype=torch.int64)
    free = seeds >= seed_threshold
    found = 0
    while free.any():
        best = torch.where(free, seeds, -1).argmax()
        distance = (spreads[best] * (places - places[best]) ** 2).sum(1)
        proposal = torch.exp(-distance) > 0.5
        unclaimed = proposal & (ids == 0)
        if unclaimed.sum() >= 0.5 * proposal.sum():
            found += 1
            ids[unclaimed] = found
        else:
            ids[unclaimed] = -1
        free[best] = False
        free[proposal] = False
    return ids.clamp(min=0)
