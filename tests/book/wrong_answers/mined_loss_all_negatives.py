def mined_loss(losses, positive, ratio):
    return float(losses.sum()) / max(1, int(positive.sum()))
