def input_sizes(output_size, kernel_size, stride, padding):
    least = (output_size - 1) * stride + kernel_size - 2 * padding
    return list(range(least, least + stride + 1))
