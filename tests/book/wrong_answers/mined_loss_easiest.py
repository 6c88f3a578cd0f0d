def mined_loss(losses, positive, ratio):
    count = int(positive.sum())
    easy = losses[~positive].sort()[0][: ratio * count]
    return float(losses[positive].sum() + easy.sum()) / max(1, count)
