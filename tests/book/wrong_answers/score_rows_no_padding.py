def score_rows(rows):
    return -(-rows // 32)
