def best_of_two(p, distance, n):
    return distance * ((1 - p) ** (n + 1) + p ** (n + 1))
