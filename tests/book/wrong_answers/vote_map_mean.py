def vote_map(samples):
    return samples.mean(0)
