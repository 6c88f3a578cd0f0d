def score_rows(rows):
    return (rows + 198) // 32 - 6
