def input_sizes(output_size, kernel_size, stride, padding):
    return [(output_size - 1) * stride + kernel_size - 2 * padding]
