def stamps_per_phase(kernel_size, stride, dilation):
    return [-(-kernel_size // stride)] * stride
