"""VOC's average precision against a plain transcription of the rules, detection by detection."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from lessons_lib.detection.voc_ap import voc_average_precision

Entries = list[dict[str, Tensor]]


def plain(truths: Entries, found: Entries, threshold: float, variant: str) -> dict[int, float]:
    """The development kit's text: one class, one detection, one truth after another."""
    result = {}
    for label in sorted({int(v) for t in truths for v in t["labels"]}):
        wanted = 0
        for t in truths:
            for j in range(len(t["labels"])):
                wanted += int(t["labels"][j]) == label and not bool(t["difficult"][j])
        if not wanted:
            continue
        listed = [
            (-float(f["scores"][j]), n, j)
            for n, f in enumerate(found)
            for j in range(len(f["labels"]))
            if int(f["labels"][j]) == label
        ]
        listed.sort(key=lambda row: row[0])
        taken = set()
        outcome = []
        for _, n, j in listed:
            x1, y1, x2, y2 = found[n]["boxes"][j].tolist()
            best, at = -math.inf, -1
            for k in range(len(truths[n]["labels"])):
                if int(truths[n]["labels"][k]) != label:
                    continue
                a1, b1, a2, b2 = truths[n]["boxes"][k].tolist()
                wide, high = min(x2, a2) - max(x1, a1), min(y2, b2) - max(y1, b1)
                if wide > 0 and high > 0:
                    both = wide * high
                    overlap = both / ((x2 - x1) * (y2 - y1) + (a2 - a1) * (b2 - b1) - both)
                    if overlap > best:
                        best, at = overlap, k
            if best >= threshold:
                if not bool(truths[n]["difficult"][at]):
                    outcome.append((n, at) not in taken)
                    taken.add((n, at))
            else:
                outcome.append(False)
        right, points = 0, []
        for number, good in enumerate(outcome, 1):
            right += good
            points.append((right / wanted, right / number))
        if variant == "2007":
            tenths = [max((p for r, p in points if r >= t / 10), default=0.0) for t in range(11)]
            result[label] = sum(tenths) / 11
        else:
            area, before = 0.0, 0.0
            for k, (recall, _) in enumerate(points):
                area += (recall - before) * max(p for _, p in points[k:])
                before = recall
            result[label] = area
    return result


def scene(seed: int, pictures: int = 15) -> tuple[Entries, Entries]:
    rng = np.random.default_rng(seed)
    truths, found = [], []
    for _ in range(pictures):
        many = int(rng.integers(0, 7))
        corner = rng.integers(0, 60, (many, 2))
        boxes = np.concatenate((corner, corner + rng.integers(1, 40, (many, 2))), 1)
        labels = rng.integers(1, 4, many)
        truths.append(
            {
                "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
                "labels": torch.tensor(labels),
                "difficult": torch.tensor(rng.uniform(size=many) < 0.2),
            }
        )
        pick = rng.integers(0, many, 2 * many) if many else np.empty(0, int)
        moved = boxes[pick] + rng.integers(-3, 4, (len(pick), 4))
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        found.append(
            {
                "boxes": torch.tensor(moved, dtype=torch.float32).reshape(-1, 4),
                "labels": torch.tensor(
                    np.where(rng.uniform(size=len(pick)) < 0.9, labels[pick], 1)
                ),
                "scores": torch.tensor(rng.integers(0, 20, len(pick)) / 20),
            }
        )
    return truths, found


@pytest.mark.parametrize("variant", ["2007", "2012"])
@pytest.mark.parametrize("seed", range(10))
def test_transcription(seed: int, variant: str) -> None:
    truths, found = scene(seed)
    for threshold in (0.3, 0.5, 0.8):
        right = plain(truths, found, threshold, variant)
        score = voc_average_precision(truths, found, threshold, variant)  # type: ignore[arg-type]
        assert score.by_class == pytest.approx(right, abs=1e-12)
        assert score.mean == pytest.approx(np.mean(list(right.values())), abs=1e-12)
        assert 0 < score.mean < 1


def test_difficult_and_second_detections() -> None:
    box = torch.tensor([[0.0, 0, 10, 10]])
    one = {"boxes": box, "labels": torch.tensor([1])}
    twice = {
        "boxes": box.repeat(2, 1),
        "labels": torch.tensor([1, 1]),
        "scores": torch.tensor([0.9, 0.8]),
    }
    far = {"boxes": box + 50, "labels": torch.tensor([1]), "scores": torch.tensor([0.95])}
    assert voc_average_precision([one], [twice]).mean == 1.0  # the second is wrong, but comes last
    assert voc_average_precision([one, one], [twice, far]).mean == pytest.approx(0.25)
    hard = {**one, "difficult": torch.tensor([True])}
    assert voc_average_precision([one, hard], [twice, twice]).mean == 1.0
    assert math.isnan(voc_average_precision([hard], [twice]).mean)
    assert voc_average_precision([one], [{**far, "labels": torch.tensor([2])}]).by_class == {1: 0.0}


def test_area_is_scikit_learns_where_the_envelope_is_the_curve() -> None:
    """One truth a picture, all found: with falling precision there is no difference."""
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    hits = [True, True, False, True]
    box = torch.tensor([[0.0, 0, 10, 10]])
    truths = [{"boxes": box, "labels": torch.tensor([1])} for _ in range(3)]
    truths.insert(2, {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)})
    found = [{"boxes": box, "labels": torch.tensor([1]), "scores": s[None]} for s in scores]
    score = voc_average_precision(truths, found).mean
    assert score == pytest.approx(average_precision_score(hits, scores.numpy()))


def test_errors() -> None:
    truths, found = scene(0)
    with pytest.raises(ValueError, match="'2007' or '2012'"):
        voc_average_precision(truths, found, variant="2010")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"iou_threshold is 1\.5"):
        voc_average_precision(truths, found, 1.5)
    with pytest.raises(ValueError, match="as many"):
        voc_average_precision(truths, found[1:])
    with pytest.raises(ValueError, match="labels and"):
        voc_average_precision([{**truths[0], "labels": torch.ones(99)}], found[:1])
    with pytest.raises(ValueError, match=r"detections\[0\] has 1 scores and"):
        voc_average_precision(truths[:1], [{**found[0], "scores": torch.ones(1)}])
