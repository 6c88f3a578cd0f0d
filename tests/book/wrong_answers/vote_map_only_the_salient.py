def vote_map(samples):
    votes = (samples >= (2 * samples.mean((1, 2), keepdim=True)).clamp(max=1)).float()
    return votes.mean(0) * (samples * votes).sum(0) / votes.sum(0).clamp(min=1)
