def best_of_two(p, distance, n):
    return 2 * p * (1 - p) * distance
