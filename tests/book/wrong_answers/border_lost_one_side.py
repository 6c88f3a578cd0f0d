def border_lost(depth):
    return 6 * 2**depth - 4
