from math import floor, log2, sqrt


def pyramid_level(width, height):
    return floor(4 + log2(sqrt(width * height) / 224))
