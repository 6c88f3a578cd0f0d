def best_of_two(p, distance, n):
    return distance * p * (1 - p) ** n
