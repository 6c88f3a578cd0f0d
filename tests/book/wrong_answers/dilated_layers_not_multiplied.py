def dilated_layers(layers, output_stride):
    found, reached, dilation = [], 1, 1
    for kernel, stride in layers:
        if reached * stride <= output_stride:
            reached *= stride
            found.append((kernel, stride, dilation))
        else:
            found.append((kernel, 1, dilation))
            dilation = stride
    return found
