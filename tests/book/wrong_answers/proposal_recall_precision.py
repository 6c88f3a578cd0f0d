from lessons_lib.detection import box_iou


def proposal_recall(truth, proposals, count, threshold):
    if not len(truth):
        return 1.0
    if not len(proposals):
        return 0.0
    hits = box_iou(truth, proposals[:count]).amax(0) >= threshold
    return float(hits.float().mean())
