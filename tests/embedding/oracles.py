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


def spatial_embedding_loop(
    outputs, instances, sigma, center, unit, margin=None, semantic=None, foreground=10.0, ignore=-1
):
    """Neven et al. (2019), sections 3.1 to 3.4, as released: one picture and one instance at a time, every
    pixel sorted for every instance; unweighted terms. Differentiable."""
    outputs = {name: value.double() for name, value in outputs.items()}
    batch, classes, height, width = outputs["seed"].shape
    grid = torch.stack(
        [
            torch.arange(width).expand(height, width),
            torch.arange(height)[:, None].expand(height, width),
        ]
    )
    totals = [0.0, 0.0, 0.0]
    for b in range(batch):
        x = grid / unit
        e = x + torch.tanh(outputs["offset"][b])
        counted = instances[b] != ignore
        if semantic is not None:
            counted &= semantic[b] != 255
        seed = torch.sigmoid(outputs["seed"][b])
        target, is_class = torch.zeros_like(seed), torch.zeros_like(seed, dtype=torch.bool)
        hinges, spreads = [], []
        for k in sorted(set(instances[b][counted].tolist()) - {0}):
            mask = (instances[b] == k) & counted
            middle = (e if center == "learned" else x)[:, mask].mean(1)
            if sigma == "fixed":
                s = torch.full((2,), np.log(2) * (unit / margin) ** 2, dtype=torch.float64)
            else:
                raw = outputs["sigma"][b][:, mask]
                s = torch.exp(10 * raw.mean(1)).expand(2)
                spreads.append((raw - raw.mean(1, keepdim=True)).square().mean())
            phi = torch.exp(-((e - middle[:, None, None]).square() * s[:, None, None]).sum(0))
            hinges.append(lovasz_hinge_sorted(2 * phi[counted] - 1, mask[counted]))
            for c in range(classes):
                own = mask if semantic is None else mask & (semantic[b] == c + 1)
                target[c][own], is_class[c][own] = phi.detach()[own], True
        miss = (seed - target).square() * torch.where(is_class, foreground, 1.0) * counted
        terms = [
            sum(hinges) / max(1, len(hinges)),
            sum(spreads) / max(1, len(spreads)),
            miss.sum() / (height * width),
        ]
        totals = [a + t / batch for a, t in zip(totals, terms, strict=True)]
    return dict(zip(("instance", "smoothness", "seed"), totals, strict=True))


def lovasz_hinge_sorted(scores, mask):
    """Algorithm 1 of Berman et al. (2018) with hinge errors, for one mask."""
    errors = 1 - scores * (2.0 * mask - 1)
    errors, order = torch.sort(errors, descending=True)
    mask = mask[order].double()
    intersection = mask.sum() - mask.cumsum(0)
    union = mask.sum() + (1 - mask).cumsum(0)
    jaccard = 1 - intersection / union
    steps = torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
    return (errors.relu() * steps).sum()


def cluster_spatial_loop(outputs, unit, seed_from, phi_from, foreground_from, least, share):
    """Section 3.3 of Neven et al. (2019) on one picture, with every φ of every seed computed."""
    offset, raw, seed = (outputs[name].double().numpy() for name in ("offset", "sigma", "seed"))
    _, height, width = offset.shape
    seed = 1 / (1 + np.exp(-seed[0]))
    y, x = np.mgrid[:height, :width]
    e = np.stack([x, y]) / unit + np.tanh(offset)
    labels = np.zeros((height, width), int)
    free, scores = np.where(seed > foreground_from, seed, -1.0), []
    while free.max() >= seed_from:
        i = np.unravel_index(free.argmax(), free.shape)
        s = np.broadcast_to(np.exp(10 * raw[:, i[0], i[1]]), (2,))
        phi = np.exp(-sum((e[d] - e[d][i]) ** 2 * s[d] for d in range(2)))
        proposal = (phi > phi_from) & (seed > foreground_from)
        new = proposal & (labels == 0)
        if new.sum() >= least and new.sum() >= share * proposal.sum():
            scores.append(seed[i])
            labels[new] = len(scores)
        free[proposal] = -1
        free[i] = -1
    return labels, scores


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
