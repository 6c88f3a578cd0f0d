def pixels_seen(dilations):
    return 3 ** len(dilations)
