def score_rows(rows):
    return -(-(rows + 200) // 32) - 6
