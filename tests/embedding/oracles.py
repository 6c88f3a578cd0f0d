"""Plain transcriptions of definitions: slow, in float64, one loop for each sum sign."""

import itertools

import numpy as np
import torch


def discriminative_loss_loop(embedding, instances, dv=0.5, dd=1.5, norm=2, ignore=-1):
    """Equations 1 to 4 of De Brabandere et al. (2017), picture by picture, unweighted terms."""
    totals = torch.zeros(3, dtype=torch.float64)
    for x, ids in zip(embedding.double(), instances, strict=True):
        means, variance = [], 0.0
        for c in sorted(set(ids.flatten().tolist()) - {0, ignore}):
            pixels = x[:, ids == c].T
            mean = pixels.mean(0)
            total = 0.0
            for pixel in pixels:
                distance = torch.linalg.vector_norm(mean - pixel, norm)
                total = total + max(distance - dv, distance * 0) ** 2
            variance = variance + total / len(pixels)
            means.append(mean)
        count = len(means)
        if count == 0:
            continue
        push = 0.0
        for a, b in itertools.permutations(means, 2):
            distance = torch.linalg.vector_norm(a - b, norm)
            push = push + max(2 * dd - distance, distance * 0) ** 2
        totals = totals + torch.stack(
            [
                torch.as_tensor(variance / count),
                torch.as_tensor(push / (count * (count - 1)) if count > 1 else 0.0).double(),
                sum(torch.linalg.vector_norm(m, norm) for m in means) / count,
            ]
        )
    return totals / len(embedding)


def instance_masks(labels):
    """The masks of a label map, ids ascending."""
    return [labels == k for k in np.unique(labels) if k != 0]


def iou(a, b):
    return np.logical_and(a, b).sum() / np.logical_or(a, b).sum()


def dice(a, b):
    return 2 * np.logical_and(a, b).sum() / (a.sum() + b.sum())


def best_dice(first, second):
    return np.mean([max((dice(a, b) for b in second), default=0.0) for a in first])


def symmetric_best_dice_loop(predicted, truth):
    p, t = instance_masks(predicted), instance_masks(truth)
    if not p or not t:
        return float(not p and not t)
    return min(best_dice(p, t), best_dice(t, p))


def aggregated_jaccard_loop(predicted, truth):
    """Algorithm 1 of Kumar et al. (2017)."""
    p, t = instance_masks(predicted), instance_masks(truth)
    if not p or not t:
        return float(not p and not t)
    intersection, union, used = 0, 0, set()
    for g in t:
        scores = [iou(g, s) for s in p]
        j = int(np.argmax(scores))
        if scores[j] > 0:
            intersection += np.logical_and(g, p[j]).sum()
            union += np.logical_or(g, p[j]).sum()
            used.add(j)
        else:
            union += g.sum()
    union += sum(s.sum() for j, s in enumerate(p) if j not in used)
    return intersection / union
