def border_lost(depth):
    return sum(8 * 2**level for level in range(depth))
