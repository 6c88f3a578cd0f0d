def crop_cost(proposals, crop, height, width):
    return height * width / (proposals * crop**2) if proposals else 0
