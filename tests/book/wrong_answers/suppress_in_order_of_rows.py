from torchvision.ops import nms


def suppress(boxes, scores, threshold):
    return nms(boxes, scores, threshold).sort().values
