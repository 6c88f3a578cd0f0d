from torchvision.ops import box_iou


def suppress(boxes, scores, threshold):
    kept = []
    for k in range(len(boxes)):
        if all(box_iou(boxes[k][None], boxes[j][None]) <= threshold for j in kept):
            kept.append(k)
    return kept
