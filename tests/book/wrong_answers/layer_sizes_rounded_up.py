def layer_sizes(size, layers):
    sizes = []
    for k, s, p in layers:
        size = -(-(size + 2 * p - k) // s) + 1
        sizes.append(size)
    return sizes
