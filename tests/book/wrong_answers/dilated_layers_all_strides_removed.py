def dilated_layers(layers, output_stride):
    found, dilation = [], 1
    for kernel, stride in layers:
        found.append((kernel, 1, dilation))
        dilation *= stride
    return found
