def dilated_layers(layers, output_stride):
    found, reached = [], 1
    for kernel, stride in layers:
        if reached * stride > output_stride:
            stride = 1
        reached *= stride
        found.append((kernel, stride, 1))
    return found
