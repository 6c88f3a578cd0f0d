def stamps_per_phase(kernel_size, stride, dilation):
    return [sum(j % stride == r for j in range(kernel_size)) for r in range(stride)]
