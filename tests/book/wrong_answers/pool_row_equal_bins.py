def pool_row(row, start, end, bins):
    first, last = int(start + 0.5), int(end + 0.5) + 1
    size = max((last - first) // bins, 1)
    return [row[first + i * size : first + (i + 1) * size].max() for i in range(bins)]
