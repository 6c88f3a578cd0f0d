def vote_map(samples):
    votes = samples >= (2 * samples.mean((1, 2), keepdim=True)).clamp(max=1)
    majority = votes.float().mean(0) > 0.5
    agree = (votes == majority).float()
    return agree.mean(0) * (samples * agree).sum(0) / agree.sum(0).clamp(min=1)
