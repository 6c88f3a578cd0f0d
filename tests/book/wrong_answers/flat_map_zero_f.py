def flat_map(value, share):
    error = share * (1 - value) + (1 - share) * value
    return error, 0.0
