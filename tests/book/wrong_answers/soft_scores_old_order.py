import torch
from torchvision.ops import box_iou


def soft_scores(boxes, scores, sigma):
    scores = scores.clone()
    order = scores.argsort(descending=True)
    iou = box_iou(boxes, boxes)
    for n, best in enumerate(order):
        rest = order[n + 1 :]
        scores[rest] *= torch.exp(-iou[best, rest].square() / sigma)
    return scores
