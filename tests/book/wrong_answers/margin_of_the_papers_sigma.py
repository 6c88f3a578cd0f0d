import math


def margin(raw, unit, threshold):
    return unit * math.sqrt(-2 * raw**2 * math.log(threshold))
