def rows_read_twice(rows, bins):
    return rows % bins
