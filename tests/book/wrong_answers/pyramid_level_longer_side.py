from math import floor, log2


def pyramid_level(width, height):
    return min(5, max(2, floor(4 + log2(max(width, height) / 224))))
