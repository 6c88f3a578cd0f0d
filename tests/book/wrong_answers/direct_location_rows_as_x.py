from math import exp


def direct_location(t, row, column, anchor, stride):
    x = (1 / (1 + exp(-t[0])) + row) * stride
    y = (1 / (1 + exp(-t[1])) + column) * stride
    w, h = anchor[0] * exp(t[2]), anchor[1] * exp(t[3])
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]
