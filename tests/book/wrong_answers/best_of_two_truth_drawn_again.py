def best_of_two(p, distance, n):
    return distance * (2 * p * (1 - p)) ** n
