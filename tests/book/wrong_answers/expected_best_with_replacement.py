import numpy as np


def expected_best(errors, n):
    e, m = np.sort(errors), len(errors)
    left = (np.arange(m, -1, -1) / m) ** n
    return float(-(np.diff(left) @ e))
