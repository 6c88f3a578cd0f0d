def stamps_per_phase(kernel_size, stride, dilation):
    taps = [j * dilation % stride for j in range(kernel_size)]
    return [taps.count(r) for r in range(stride)][::-1]
