def layer_sizes(size, layers):
    sizes = []
    for k, s, p in layers:
        size = (size + 2 * p - k) // s
        sizes.append(size)
    return sizes
