def rows_read_twice(rows, bins):
    return bins - 1
