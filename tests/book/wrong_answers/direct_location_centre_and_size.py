from math import exp


def direct_location(t, row, column, anchor, stride):
    x = (1 / (1 + exp(-t[0])) + column) * stride
    y = (1 / (1 + exp(-t[1])) + row) * stride
    return [x, y, anchor[0] * exp(t[2]), anchor[1] * exp(t[3])]
