def vote_map(samples):
    votes = samples >= (2 * samples.mean((1, 2), keepdim=True)).clamp(max=1)
    majority = votes.float().mean(0) > 0.5
    return (votes == majority).float().mean(0)
