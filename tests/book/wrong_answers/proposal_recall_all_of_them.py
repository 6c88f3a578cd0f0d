from lessons_lib.detection import box_iou


def proposal_recall(truth, proposals, count, threshold):
    if not len(truth):
        return 1.0
    if not len(proposals):
        return 0.0
    covered = box_iou(truth, proposals).amax(1) >= threshold
    return float(covered.float().mean())
