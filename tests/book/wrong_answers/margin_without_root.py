import math


def margin(raw, unit, threshold):
    return unit**2 * -math.log(threshold) / math.exp(10 * raw)
