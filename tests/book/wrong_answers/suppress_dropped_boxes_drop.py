from torchvision.ops import box_iou


def suppress(boxes, scores, threshold):
    order = scores.argsort(descending=True)
    iou = box_iou(boxes[order], boxes[order]).triu(diagonal=1)
    return order[~(iou > threshold).any(0)]
