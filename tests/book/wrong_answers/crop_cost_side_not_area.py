def crop_cost(proposals, crop, height, width):
    return proposals * crop / (height * width)
