def rows_read_twice(rows, bins):
    return 0 if rows % bins == 0 else bins - 1
