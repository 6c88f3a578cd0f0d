def largest_slip(side, threshold):
    return side * (1 - threshold)
