import math


def margin(raw, unit, threshold):
    return unit * math.sqrt(math.log(2) / math.exp(10 * raw))
