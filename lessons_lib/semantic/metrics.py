"""How well predicted classes agree with the truth: every measure from one confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

Labels = Tensor | NDArray[np.integer]

MOST_CLASSES = 1024
BLOCK = 1 << 15  # pixels that stay in a processor's cache while their index is made


class ConfusionMatrix:
    """Counts pixels by true and by predicted class, over as many pictures as it is shown.

    The measures are those of Long, Shelhamer and Darrell, *Fully Convolutional Networks for Semantic
    Segmentation*, CVPR 2015, section 5, computed from the sums over *all* pixels of all pictures. (A
    mean of every picture's own mean IoU is another number.)

    **Ignored pixels.** Where the truth is ``ignore_index`` a pixel is left out, whatever was predicted
    there. Prediction has no way to abstain: any class it gives elsewhere counts.

    **Absent classes.** A class that no pixel has, neither in the truth nor in the prediction, has the
    IoU 0/0: NaN, and left out of :attr:`mean_iou`. A class that the truth does not have has the accuracy
    0/0, even if it was predicted: NaN, and left out of :attr:`mean_class_accuracy`. With no pixel at all
    every measure is NaN.

    Args:
        classes: number of classes C, 1 to 1024; labels are 0..C-1.
        ignore_index: the truth's label for "do not count"; any integer. If it is one of the classes,
            the pixels of that class are left out, but a prediction of it elsewhere counts.
        class_names: C names for the printed table.

    Raises:
        ValueError: for a number of classes out of range, or another number of names.
    """

    def __init__(
        self, classes: int, ignore_index: int = 255, class_names: Sequence[str] | None = None
    ) -> None:
        if not 1 <= classes <= MOST_CLASSES:
            raise ValueError(f"classes is {classes}; it must be in 1..{MOST_CLASSES}")
        if class_names is not None and len(class_names) != classes:
            raise ValueError(f"class_names has {len(class_names)} names; classes is {classes}")
        self.classes = classes
        self.ignore_index = ignore_index
        self.class_names = None if class_names is None else tuple(class_names)
        self.matrix = torch.zeros(classes, classes, dtype=torch.int64)
        """int64 (C, C) on the CPU: pixels by [truth, prediction]."""

    @classmethod
    def from_matrix(
        cls,
        matrix: Labels | Sequence[Sequence[int]],
        ignore_index: int = 255,
        class_names: Sequence[str] | None = None,
    ) -> ConfusionMatrix:
        """A confusion matrix with given counts, integers (C, C) [truth, prediction].

        Raises:
            TypeError: for counts that are not integers.
            ValueError: for a matrix that is not square, or a negative count.
        """
        counts = torch.as_tensor(matrix).cpu()
        _check_integers("matrix", counts)
        if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
            raise ValueError(f"matrix has shape {tuple(counts.shape)}; it must be (C, C)")
        if counts.numel() and counts.min() < 0:
            raise ValueError(f"matrix has the count {int(counts.min())}; none may be negative")
        result = cls(len(counts), ignore_index, class_names)
        result.matrix += counts.long()
        return result

    def update(self, predicted: Labels, truth: Labels) -> None:
        """Adds the pixels of one or more label maps.

        On the CPU, uint8 maps cost less than one ``torch.bincount`` of an int64 map of their size, int64
        maps up to twice as much, most of it for reading them (``benchmarks/confusion_matrix.py``).

        Args:
            predicted: classes 0..C-1 (not scores), integer, of any shape, on any device.
            truth: classes 0..C-1 or ``ignore_index``, integer, of the same shape.

        Raises:
            TypeError: for maps that are not integer.
            ValueError: for maps of different shapes, or a label that is none of the classes, where the
                truth is not ignored; names the label. Nothing is added then.
        """
        p, t = _as_integers("predicted", predicted), _as_integers("truth", truth)
        if p.shape != t.shape:
            raise ValueError(
                f"predicted has shape {tuple(p.shape)} and truth {tuple(t.shape)}; "
                "they must be the same"
            )
        p, t = p.detach().reshape(-1), t.detach().reshape(-1).to(p.device)
        counts = self._count(p, t)
        if counts is None:  # an odd label somewhere, which may lie on ignored pixels only
            p, t = self._valid_pixels(p, t)
            counts = self._count(p, t)
            assert counts is not None
        self.matrix += counts

    def merge(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Adds the counts of another one, and returns itself.

        Raises:
            ValueError: if the other has another number of classes.
        """
        if other.classes != self.classes:
            raise ValueError(f"other has {other.classes} classes; this one has {self.classes}")
        self.matrix += other.matrix
        return self

    def reduce(self) -> ConfusionMatrix:
        """The sum over all processes of ``torch.distributed``, as a new confusion matrix.

        Every process must call it. This one keeps its own counts, so a second call gives the same. With
        one process, or where none were started, it is a copy.
        """
        counts = self.matrix.clone()
        if dist.is_available() and dist.is_initialized():
            if dist.get_backend() == dist.Backend.NCCL:  # sums on GPUs only
                counts = counts.cuda()
            dist.all_reduce(counts)
        return ConfusionMatrix.from_matrix(counts, self.ignore_index, self.class_names)

    def reset(self) -> None:
        """Forgets all pixels."""
        self.matrix.zero_()

    @property
    def pixel_accuracy(self) -> float:
        """Share of the pixels whose class is right: Σ n_ii / Σ t_i. NaN without pixels."""
        return float(self._hits.sum() / self._true.sum())

    @property
    def class_accuracy(self) -> Tensor:
        """float64 (C,): share of each class's pixels that were found, n_ii / t_i; NaN without truth."""
        return self._hits / self._true

    @property
    def mean_class_accuracy(self) -> float:
        """Mean of :attr:`class_accuracy` over the classes that the truth has."""
        return float(self.class_accuracy.nanmean())

    @property
    def iou(self) -> Tensor:
        """float64 (C,): n_ii / (t_i + Σ_j n_ji - n_ii); NaN for a class that is nowhere."""
        return self._hits / (self._true + self.matrix.sum(0).double() - self._hits)

    @property
    def mean_iou(self) -> float:
        """Mean of :attr:`iou` over the classes that truth or prediction have."""
        return float(self.iou.nanmean())

    @property
    def frequency_weighted_iou(self) -> float:
        """Σ t_i IoU_i / Σ t_i: every class counts by its true pixels. NaN without pixels."""
        return float((self._true * self.iou).nansum() / self._true.sum())

    @property
    def _hits(self) -> Tensor:
        return self.matrix.diagonal().double()

    @property
    def _true(self) -> Tensor:
        return self.matrix.sum(1).double()

    def __str__(self) -> str:
        """A table: a line a class with its share of the true pixels, accuracy and IoU; then the means."""
        names = self.class_names or [str(k) for k in range(self.classes)]
        width = max(map(len, [*names, "frequency-weighted"]))
        share = self._true / self._true.sum()
        lines = [f"{'class':<{width}} {'share':>7} {'accuracy':>9} {'IoU':>7}"]
        for name, *values in zip(names, share, self.class_accuracy, self.iou, strict=True):
            lines.append(f"{name:<{width}} " + _cells(*map(float, values)))
        lines.append(f"{'mean':<{width}} " + _cells(None, self.mean_class_accuracy, self.mean_iou))
        lines.append(f"{'all pixels':<{width}} " + _cells(None, self.pixel_accuracy, None))
        weighted = _cells(None, None, self.frequency_weighted_iou)
        lines.append(f"{'frequency-weighted':<{width}} " + weighted)
        return "\n".join(line.rstrip() for line in lines)

    def __repr__(self) -> str:
        return (
            f"ConfusionMatrix(classes={self.classes}, ignore_index={self.ignore_index}): "
            f"{int(self.matrix.sum())} pixels"
        )

    def _count(self, predicted: Tensor, truth: Tensor) -> Tensor | None:
        """The counts (C, C) of flat maps; None if a label is none of the classes, nor ignored.

        One ``bincount`` over ``truth · columns + predicted``. Rows and columns are powers of two with
        room for all legal labels. So a label too large for them shows in the bits of all labels
        or-ed together, one cheap pass, and any other wrong one ends in a bin that must be empty.
        """
        last_row = max(self.classes - 1, self.ignore_index)
        if last_row >= 2 * MOST_CLASSES:  # an unusual ignore_index: leave its pixels out first
            last_row = self.classes - 1
        rows, columns = (1 << last.bit_length() for last in (last_row, self.classes - 1))
        narrow = torch.int16 if rows * columns <= 1 << 15 else torch.int32
        index = torch.empty(truth.shape, dtype=narrow, device=truth.device)
        block = min(len(truth), BLOCK) if truth.device.type == "cpu" else len(truth)
        row = index.new_empty(block)
        for start in range(0, len(truth), max(1, block)):
            here = slice(start, start + block)
            t, p, part = truth[here], predicted[here], index[here]
            if not (_below(t, rows) and _below(p, columns)):
                return None
            part.copy_(p).add_(row[: len(t)].copy_(t), alpha=columns)
        bins = torch.bincount(index, minlength=rows * columns).view(rows, columns).cpu()
        if 0 <= self.ignore_index < rows:
            bins[self.ignore_index] = 0
        counts = bins[: self.classes, : self.classes]
        return counts if counts.sum() == bins.sum() else None

    def _valid_pixels(self, predicted: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """The pixels that are not ignored; ValueError if a label there is none of the classes."""
        valid = truth.long() != self.ignore_index
        p, t = predicted[valid].long(), truth[valid].long()
        for name, labels, rule in [
            ("predicted", p, f"it must be in 0..{self.classes - 1}"),
            ("truth", t, f"it must be in 0..{self.classes - 1}, or {self.ignore_index} = ignore"),
        ]:
            wrong = labels[(labels < 0) | (labels >= self.classes)]
            if len(wrong):
                raise ValueError(
                    f"{name} has the label {int(wrong[0])} ({len(wrong)} such pixels); {rule}"
                )
        return p, t


def _below(labels: Tensor, power: int) -> bool:
    """Whether all labels are in 0..power-1, for a power of two."""
    if labels.device.type == "cpu":  # NumPy can or all values together, faster than min and max
        return 0 <= int(np.bitwise_or.reduce(labels.numpy())) < power
    if labels.numel() == 0:
        return True
    low, high = labels.aminmax()
    return int(low) >= 0 and int(high) < power


def _as_integers(name: str, labels: Labels) -> Tensor:
    if not isinstance(labels, Tensor):
        # torch shares the memory of an array only if that is contiguous and may be written
        labels = torch.from_numpy(np.require(labels, requirements=["C", "W"]))
    _check_integers(name, labels)
    return labels.byte() if labels.dtype == torch.bool else labels


def _check_integers(name: str, labels: Tensor) -> None:
    if labels.is_floating_point() or labels.is_complex():
        raise TypeError(f"{name} is {labels.dtype}; it must be integer")


def _cells(share: float | None, accuracy: float | None, iou: float | None) -> str:
    shown = ["" if value is None else f"{value:.3f}" for value in (share, accuracy, iou)]
    return f"{shown[0]:>7} {shown[1]:>9} {shown[2]:>7}"
