import math


def pool_row(row, start, end, bins):
    first, last = int(start + 0.5), int(end + 0.5)
    size = max(last - first, 1) / bins
    return [
        row[first + math.floor(i * size) : first + math.ceil((i + 1) * size)].max()
        for i in range(bins)
    ]
