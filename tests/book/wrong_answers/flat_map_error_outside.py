def flat_map(value, share):
    return value, 1.3 * share / (0.3 * share + 1)
