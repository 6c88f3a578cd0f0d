"""The confusion matrix and its measures against torchmetrics, and against counting by hand."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_jaccard_index,
)

from lessons_lib.semantic import ConfusionMatrix
from lessons_lib.semantic.metrics import BLOCK, MOST_CLASSES


def maps(
    classes: int, shape: tuple[int, ...], seed: int = 0, ignored: float = 0.1, ignore: int = 255
) -> tuple[Tensor, Tensor]:
    """Prediction, right in half of the pixels, and truth with some pixels ignored."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, shape)
    predicted = np.where(rng.random(shape) < 0.5, truth, rng.integers(0, classes, shape))
    truth = np.where(rng.random(shape) < ignored, ignore, truth)
    return torch.from_numpy(predicted), torch.from_numpy(truth)


def filled(predicted: Tensor, truth: Tensor, classes: int, ignore: int = 255) -> ConfusionMatrix:
    matrix = ConfusionMatrix(classes, ignore)
    matrix.update(predicted, truth)
    return matrix


def same(ours: Tensor | float, other: Tensor) -> None:
    torch.testing.assert_close(
        torch.as_tensor(ours).double(), other.double(), rtol=1e-6, atol=1e-7, equal_nan=True
    )


@pytest.mark.parametrize("classes", [1, 2, 19, 32, 256, 300, MOST_CLASSES])
@pytest.mark.parametrize("ignore", [255, -1, -100, 0, 1, 65535, 4_000_000_000])
def test_counts_equal_torchmetrics(classes: int, ignore: int) -> None:
    predicted, truth = maps(classes, (2, 31, 17), seed=classes, ignore=ignore)
    if 0 <= ignore < classes:
        assert (truth == ignore).any()
    expected = torch.zeros(classes, classes, dtype=torch.int64)
    valid = truth != ignore
    if classes > 1:
        expected = multiclass_confusion_matrix(predicted, truth, classes, ignore_index=ignore)
    else:
        expected[0, 0] = valid.sum()
    ours = filled(predicted, truth, classes, ignore)
    assert ours.matrix.dtype == torch.int64
    assert torch.equal(ours.matrix, expected)
    assert ours.matrix.sum() == valid.sum()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("case", ["all classes", "one absent", "few pixels", "nothing ignored"])
def test_measures_equal_torchmetrics(seed: int, case: str) -> None:
    classes = 7
    size = (5, 3) if case == "few pixels" else (40, 30)
    predicted, truth = maps(classes, size, seed, 0.0 if case == "nothing ignored" else 0.2)
    if case == "one absent":
        predicted[predicted == 3], truth[truth == 3] = 2, 2
    ours = filled(predicted, truth, classes)
    given = {"num_classes": classes, "ignore_index": 255}
    # torchmetrics writes a number of its own where the denominator is 0; its mean leaves the class out
    iou = multiclass_jaccard_index(predicted, truth, average="none", **given)
    nowhere = ours.matrix.sum(0) + ours.matrix.sum(1) == 0
    assert nowhere[3] or case != "one absent"
    same(ours.iou, iou.masked_fill(nowhere, math.nan))
    same(ours.mean_iou, multiclass_jaccard_index(predicted, truth, average="macro", **given))
    weighted = multiclass_jaccard_index(predicted, truth, average="weighted", **given)
    same(ours.frequency_weighted_iou, weighted)
    same(ours.pixel_accuracy, multiclass_accuracy(predicted, truth, average="micro", **given))
    accuracy = multiclass_accuracy(predicted, truth, average="none", **given)
    no_truth = ours.matrix.sum(1) == 0
    same(ours.class_accuracy, accuracy.masked_fill(no_truth, math.nan))
    if torch.equal(no_truth, nowhere):
        macro = multiclass_accuracy(predicted, truth, average="macro", **given)
        same(ours.mean_class_accuracy, macro)


def test_by_hand() -> None:
    """Ten pixels of class 0, eight found; class 1 has two, one found; class 2 only predicted."""
    ours = ConfusionMatrix.from_matrix([[8, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    assert ours.pixel_accuracy == pytest.approx(9 / 12)
    same(ours.class_accuracy, torch.tensor([0.8, 0.5, math.nan, math.nan]))
    assert ours.mean_class_accuracy == pytest.approx(0.65), "class 2 has no truth: left out"
    same(ours.iou, torch.tensor([8 / 11, 1 / 3, 0.0, math.nan]))
    assert ours.mean_iou == pytest.approx((8 / 11 + 1 / 3 + 0) / 3), "class 2 was predicted: counts"
    assert ours.frequency_weighted_iou == pytest.approx((10 * 8 / 11 + 2 / 3) / 12)


@pytest.mark.parametrize("shape", [(0,), (0, 4, 4), (3, 3)])
def test_without_a_pixel_everything_is_nan(shape: tuple[int, ...]) -> None:
    nothing = torch.full(shape, 255)
    ours = filled(torch.zeros(shape, dtype=torch.int64), nothing, 3)
    assert ours.matrix.sum() == 0
    for value in (
        ours.pixel_accuracy,
        ours.mean_class_accuracy,
        ours.mean_iou,
        ours.frequency_weighted_iou,
    ):
        assert math.isnan(value)
    assert ours.iou.isnan().all() and ours.class_accuracy.isnan().all()


def test_one_class() -> None:
    ours = filled(torch.zeros(4, 5, dtype=torch.int64), torch.zeros(4, 5, dtype=torch.int64), 1)
    assert ours.matrix.tolist() == [[20]]
    assert ours.mean_iou == ours.pixel_accuracy == ours.frequency_weighted_iou == 1


def test_perfect_and_all_wrong() -> None:
    truth = torch.arange(4).repeat(25)
    assert filled(truth, truth, 4).mean_iou == 1
    wrong = filled((truth + 1) % 4, truth, 4)
    assert wrong.mean_iou == wrong.pixel_accuracy == wrong.mean_class_accuracy == 0


@pytest.mark.parametrize("p_type", ["bool", "uint8", "int8", "int32", "int64"])
@pytest.mark.parametrize("t_type", ["bool", "uint8", "int64", "uint16"])
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_every_integer_type(p_type: str, t_type: str, kind: str) -> None:
    rng = np.random.default_rng(3)
    predicted, truth = rng.integers(0, 2, (2, 6, 7))
    if t_type != "bool":
        truth[:2] = 255
    p, t = predicted.astype(p_type), truth.astype(t_type)
    expected = filled(torch.from_numpy(predicted), torch.from_numpy(truth), 2).matrix
    ours = ConfusionMatrix(2)
    if kind == "tensor":
        ours.update(torch.from_numpy(p), torch.from_numpy(t))
    else:
        ours.update(p, t)
    assert torch.equal(ours.matrix, expected)


def test_awkward_memory() -> None:
    """Transposed, flipped, read-only and of more pixels than one block, at block borders too."""
    for pixels in (BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17):
        predicted, truth = maps(5, (pixels,), seed=pixels)
        expected = multiclass_confusion_matrix(predicted, truth, 5, ignore_index=255)
        assert torch.equal(filled(predicted, truth, 5).matrix, expected)
    predicted, truth = maps(5, (12, 9))
    expected = filled(predicted, truth, 5).matrix
    assert torch.equal(filled(predicted.T, truth.T, 5).matrix, expected)
    p, t = predicted.numpy()[::-1, ::-1], truth.numpy()[::-1, ::-1]
    t.setflags(write=False)
    ours = ConfusionMatrix(5)
    ours.update(p, t)
    assert torch.equal(ours.matrix, expected)


@pytest.mark.parametrize("classes", [3, 32, 256])
@pytest.mark.parametrize(
    "label", [-1, -300, 255, 256, 300, 4096, 2**15, 2**16, 2**31, 2**32, 2**40 + 1, 2**63 - 1]
)
@pytest.mark.parametrize("which", ["predicted", "truth"])
def test_wrong_labels_are_refused(classes: int, label: int, which: str) -> None:
    if 0 <= label < classes or (which == "truth" and label == 255):
        return
    predicted, truth = maps(classes, (BLOCK + 100,), ignored=0)
    where = BLOCK + 50  # in the second block
    if which == "truth":
        truth[where] = label
    else:
        predicted[where] = label
    ours = ConfusionMatrix(classes)
    with pytest.raises(ValueError, match=rf"^{which} has the label {label} \(1 such pixels\)"):
        ours.update(predicted, truth)
    assert ours.matrix.sum() == 0, "nothing is added"
    truth[where] = 255
    if label == 255 or classes == 256:
        return
    ours.update(predicted, truth)  # on ignored pixels any prediction is allowed
    assert ours.matrix.sum() == BLOCK + 99


def test_each_wrong_label_next_to_the_range() -> None:
    for classes in (1, 2, 3, 4, 5, 19, 33):
        for label in range(classes, 255):
            for predicted, truth in ((label, 0), (0, label)):
                with pytest.raises(ValueError, match=f"label {label} "):
                    ConfusionMatrix(classes).update(np.array([predicted]), np.array([truth]))


def test_wrong_arguments_are_named() -> None:
    zeros = torch.zeros(2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="classes is 0"):
        ConfusionMatrix(0)
    with pytest.raises(ValueError, match=f"classes is {MOST_CLASSES + 1}"):
        ConfusionMatrix(MOST_CLASSES + 1)
    with pytest.raises(ValueError, match="class_names has 1"):
        ConfusionMatrix(2, class_names=["one"])
    with pytest.raises(TypeError, match=r"predicted is torch\.float32"):
        ConfusionMatrix(2).update(zeros.float(), zeros)
    with pytest.raises(TypeError, match=r"truth is torch\.float64"):
        ConfusionMatrix(2).update(zeros.numpy(), zeros.numpy().astype(float))
    with pytest.raises(ValueError, match=r"predicted has shape \(2, 2\) and truth \(4,\)"):
        ConfusionMatrix(2).update(zeros, zeros.flatten())
    with pytest.raises(ValueError, match="other has 3 classes; this one has 2"):
        ConfusionMatrix(2).merge(ConfusionMatrix(3))
    with pytest.raises(ValueError, match=r"matrix has shape \(2, 3\)"):
        ConfusionMatrix.from_matrix(torch.zeros(2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="count -1"):
        ConfusionMatrix.from_matrix([[0, -1], [0, 0]])
    with pytest.raises(TypeError, match="matrix is"):
        ConfusionMatrix.from_matrix([[0.5]])


def test_accumulates_merges_and_resets() -> None:
    pairs = [maps(4, (9, 8), seed) for seed in range(4)]
    whole = ConfusionMatrix(4)
    for predicted, truth in pairs:
        whole.update(predicted, truth)
    once = filled(torch.stack([p for p, _ in pairs]), torch.stack([t for _, t in pairs]), 4)
    assert torch.equal(whole.matrix, once.matrix)
    parts = [filled(*pair, 4) for pair in pairs]
    assert torch.equal(parts[0].merge(parts[1]).merge(parts[2]).merge(parts[3]).matrix, once.matrix)
    alone = whole.reduce()
    assert torch.equal(alone.matrix, whole.matrix) and alone is not whole
    whole.reset()
    assert whole.matrix.sum() == 0 and alone.matrix.sum() == once.matrix.sum()


def test_table() -> None:
    ours = ConfusionMatrix.from_matrix([[3, 1], [0, 4]], class_names=["sky", "road"])
    assert str(ours).splitlines() == [
        "class                share  accuracy     IoU",
        "sky                  0.500     0.750   0.750",
        "road                 0.500     1.000   0.800",
        "mean                           0.875   0.775",
        "all pixels                     0.875",
        "frequency-weighted                     0.775",
    ]
    assert "nan" in str(ConfusionMatrix(2))
    assert repr(ours) == "ConfusionMatrix(classes=2, ignore_index=255): 8 pixels"


SCRIPT = """
import sys, torch, torch.distributed as dist
from lessons_lib.semantic import ConfusionMatrix
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
ours = ConfusionMatrix(3)
ours.update(torch.full((5 + rank,), rank), torch.full((5 + rank,), 2))
own = ours.matrix.clone()
for _ in range(2):
    total = ours.reduce()
assert torch.equal(ours.matrix, own), "its own counts stay"
assert total.matrix.tolist() == [[0, 0, 0], [0, 0, 0], [5, 6, 0]], total.matrix
dist.destroy_process_group()
"""


def test_two_processes(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(rank), str(tmp_path / "meeting")],
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for process in processes:
        _, complaint = process.communicate(timeout=120)
        assert process.returncode == 0, complaint[-2000:]
