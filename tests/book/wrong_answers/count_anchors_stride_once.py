def count_anchors(height, width, strides, per_cell):
    return per_cell * sum(height * width / s for s in strides)
