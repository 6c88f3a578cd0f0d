def boundary_f(predicted, truth, radius):
    hits = float((predicted & truth).sum())
    if not hits:
        return 0.0
    precision, recall = hits / float(predicted.sum()), hits / float(truth.sum())
    return 2 * precision * recall / (precision + recall)
