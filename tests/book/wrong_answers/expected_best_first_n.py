def expected_best(errors, n):
    return min(errors[:n])
