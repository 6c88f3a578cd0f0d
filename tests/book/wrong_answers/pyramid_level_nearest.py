from math import log2, sqrt


def pyramid_level(width, height):
    return min(5, max(2, round(4 + log2(sqrt(width * height) / 224))))
