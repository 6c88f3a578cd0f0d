def border_lost(depth):
    return 4 * (2 * depth + 1)
