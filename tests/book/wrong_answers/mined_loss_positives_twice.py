def mined_loss(losses, positive, ratio):
    count = int(positive.sum())
    hard = losses.sort(descending=True)[0][: ratio * count]
    return float(losses[positive].sum() + hard.sum()) / max(1, count)
