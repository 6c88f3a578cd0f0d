from torchvision.ops import box_iou


def suppress(boxes, scores, threshold):
    left = scores.argsort(descending=True)
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(int(best))
        left = left[box_iou(boxes[best][None], boxes[left])[0] < threshold]
    return kept
