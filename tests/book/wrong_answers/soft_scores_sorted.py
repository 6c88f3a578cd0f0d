import torch
from torchvision.ops import box_iou


def soft_scores(boxes, scores, sigma):
    scores, iou = scores.clone(), box_iou(boxes, boxes)
    left = list(range(len(scores)))
    while left:
        best = max(left, key=lambda k: float(scores[k]))
        left.remove(best)
        scores[left] *= torch.exp(-iou[best, left].square() / sigma)
    return scores.sort(descending=True).values
