def border_lost(depth):
    return 184
