import math


def expected_best(errors, n):
    m = len(errors)
    ways = [math.comb(m - i, n - 1) for i in range(1, m + 1)]
    order = sorted(errors, reverse=True)
    return sum(w * e for w, e in zip(ways, order, strict=True)) / math.comb(m, n)
