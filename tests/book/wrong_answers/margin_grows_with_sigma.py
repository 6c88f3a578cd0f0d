import math


def margin(raw, unit, threshold):
    return unit * math.sqrt(-math.log(threshold) * math.exp(10 * raw))
