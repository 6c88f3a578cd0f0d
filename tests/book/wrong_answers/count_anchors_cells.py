def count_anchors(height, width, strides, per_cell):
    return sum(-(-height // s) * -(-width // s) for s in strides)
