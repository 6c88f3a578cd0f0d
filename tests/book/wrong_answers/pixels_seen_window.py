def pixels_seen(dilations):
    return 1 + 2 * sum(dilations)
