"""The saliency measures against pysodmetrics, against published values, and against plain loops."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import py_sod_metrics as pysod
import pytest
import torch
from PIL import Image

from lessons_lib.saliency import (
    SaliencyScores,
    as_pairs,
    boundary_f_measure,
    e_measure,
    f_measure,
    mean_absolute_error,
    precision_recall,
    s_measure,
    weighted_f_measure,
)

# pysodmetrics says at each use that its F-measure has a newer form
pytestmark = pytest.mark.filterwarnings("ignore:This class will be removed")

CLOSE = 1e-6
SIZES = [(2, 2), (7, 5), (1, 9), (13, 1), (32, 48), (61, 40)]
TRUTHS = ["random", "blob", "all black", "all white", "one pixel", "corner pixel"]
PREDICTIONS = [
    "random",
    "binary",
    "narrow",
    "all black",
    "all white",
    "half",
    "one pixel",
    "levels",
]


def make_truth(kind: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """bool (H, W)."""
    height, width = size
    truth = np.zeros(size, bool)
    if kind == "random":
        truth = rng.random(size) < 0.3
    elif kind == "blob":
        truth[height // 4 : height // 2 + 1, width // 3 : width // 2 + 1] = True
    elif kind == "all white":
        truth[:] = True
    elif kind == "one pixel":
        truth[height // 3, width // 3] = True
    elif kind == "corner pixel":
        truth[0, 0] = True
    return truth


def make_prediction(kind: str, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """float64 (H, W) in [0, 1]."""
    noise = rng.random(size)
    if kind == "one pixel":
        noise[:] = 0
        noise[size[0] // 2, size[1] // 2] = 0.7
    made = {
        "binary": np.round(noise),
        "narrow": 0.5 + noise / 1000,
        "all black": np.zeros(size),
        "all white": np.ones(size),
        "half": np.full(size, 0.5),
        "levels": np.floor(noise * 256) / 255,
    }
    return np.clip(made.get(kind, noise), 0, 1)


def theirs(prediction: np.ndarray, truth: np.ndarray, normalize: bool) -> dict[str, np.ndarray]:
    """What pysodmetrics says of one picture; curves from the lowest threshold up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it divides by zero where quarters are empty
        mae, f, s = pysod.MAE(), pysod.Fmeasure(), pysod.Smeasure()
        e, weighted = pysod.Emeasure(), pysod.WeightedFmeasure()
        for measure in (mae, f, s, e, weighted):
            measure.step(prediction, truth, normalize=normalize)
    return {
        "MAE": mae.maes[0],
        "F adaptive": f.adaptive_fms[0],
        "F": f.changeable_fms[0][::-1],
        "precision": f.precisions[0][::-1],
        "recall": f.recalls[0][::-1],
        "S": s.sms[0],
        "E adaptive": e.adaptive_ems[0],
        "E": e.changeable_ems[0][::-1],
        "F weighted": weighted.weighted_fms[0],
    }


def ours(prediction: np.ndarray, truth: np.ndarray, normalize: bool) -> dict[str, torch.Tensor]:
    pair = prediction, truth, normalize
    f, e, (precision, recall) = f_measure(*pair), e_measure(*pair), precision_recall(*pair)
    return {
        "MAE": mean_absolute_error(*pair),
        "F adaptive": f.adaptive,
        "F": f.curve,
        "precision": precision,
        "recall": recall,
        "S": s_measure(*pair),
        "E adaptive": e.adaptive,
        "E": e.curve,
        "F weighted": weighted_f_measure(*pair),
    }


def leaves_quarters_empty(truth: np.ndarray) -> bool:
    """Whether the object's centre lies in the last row or column: pysodmetrics' S is NaN then."""
    if not truth.any() or truth.all():
        return False
    centre = np.argwhere(truth).mean(0).round() + 1
    return bool((centre >= truth.shape).any())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", TRUTHS)
@pytest.mark.parametrize("form", ["float64", "float32", "uint8", "uint8 normalized"])
def test_equal_pysodmetrics(kind: str, size: tuple[int, int], form: str) -> None:
    rng = np.random.default_rng([TRUTHS.index(kind), *size])
    truth = make_truth(kind, size, rng)
    for name in PREDICTIONS:
        prediction = make_prediction(name, size, rng)
        normalize = form == "uint8 normalized"
        if form == "float32":
            prediction = prediction.astype(np.float32)
        mine, its = (prediction, truth), (prediction.astype(np.float64), truth)
        if form.startswith("uint8"):
            mine = its = np.round(prediction * 255).astype(np.uint8), truth.astype(np.uint8) * 255
            if form == "uint8":
                its = mine[0] / 255, truth
        expected, got = theirs(*its, normalize), ours(*mine, normalize)
        if leaves_quarters_empty(truth):
            assert math.isnan(expected.pop("S"))
            assert 0 <= got.pop("S") <= 1
        if form.startswith("uint8") and np.ptp(mine[0]) == 0 and 0 < mine[0][0, 0] < 255:
            # rounding decides there whether a constant k / 255 has a variance; here it has none
            expected.pop("S", None)
        for measure, value in expected.items():
            difference = np.abs(np.asarray(value) - got[measure].numpy()).max()
            assert difference < CLOSE, (name, measure, difference)


@pytest.mark.parametrize("seed", range(3))
def test_batches_equal_single_pictures(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predictions, truths = rng.random((5, 1, 20, 31)), rng.random((5, 1, 20, 31)) < 0.2
    truths[1], truths[2] = False, True
    batch = {name: value.numpy() for name, value in ours(predictions, truths, True).items()}
    for number, (prediction, truth) in enumerate(zip(predictions, truths, strict=True)):
        for name, value in ours(prediction[0], truth[0], True).items():
            assert value.shape == batch[name].shape[1:]
            np.testing.assert_allclose(batch[name][number], value, rtol=0, atol=1e-12)
    boundary = boundary_f_measure(predictions, truths)
    assert boundary.shape == (5,) and boundary.dtype == torch.float64


def test_an_object_at_the_edge_is_the_limit_of_one_beside_it() -> None:
    # a picture with the object in its last column, and the same with one more column of nothing, of which the
    # quarters beyond the centre consist: as they get small, so does what they say
    rng = np.random.default_rng(0)
    prediction, truth = rng.random((20, 400)), np.zeros((20, 400), bool)
    truth[5:9, 399] = True
    wider = np.pad(prediction, ((0, 0), (0, 1))), np.pad(truth, ((0, 0), (0, 1)))
    assert abs(s_measure(prediction, truth) - s_measure(*wider)) < 0.01


@pytest.mark.parametrize("value", [0.1, 0.3, 0.7, 100 / 255])
def test_a_constant_quarter_scores_one_whatever_the_constant(value: float) -> None:
    # an object of one pixel, the last of its quarter: the other three are constant in both maps, and the
    # quarter that has it is not alike, for the prediction does not change there
    truth = np.zeros((40, 60), bool)
    truth[3, 5] = True
    share = 1 / truth.size
    inside, outside = (2 * x / (x**2 + 1) for x in (value, 1 - value))
    expected = (share * inside + (1 - share) * outside + 1 - 4 * 6 / truth.size) / 2
    assert float(s_measure(np.full((40, 60), value), truth)) == pytest.approx(expected, abs=1e-9)


def test_published_values(data_root: Callable[[str], Path]) -> None:
    folder = data_root("oracle_saliency") / "pysodmetrics_3"
    expected = json.loads((folder / "expected_by_version.json").read_text("utf-8"))["v1_4_0"]
    scores = SaliencyScores(normalize=True, weighted_f=True)
    for path in sorted((folder / "preds").glob("*.png")):
        pair = (Image.open(folder / part / path.name).convert("L") for part in ("preds", "masks"))
        scores.update(*(np.array(picture) for picture in pair))
    assert scores.pictures == 3
    names = {"MAE": "MAE", "Smeasure": "S", "wFmeasure": "F_weighted"}
    names |= {f"{a}{m}m": f"{m}_{b}" for m in "FE" for a, b in
              [("max", "max"), ("mean", "mean"), ("adp", "adaptive")]}  # fmt: skip
    got = scores.compute()
    for theirs_, mine in names.items():
        assert abs(expected[theirs_] - got[mine]) < CLOSE, (mine, expected[theirs_], got[mine])


def test_a_set_has_the_maximum_of_the_mean_curve() -> None:
    rng = np.random.default_rng(4)
    scores = SaliencyScores(normalize=True, weighted_f=True, boundary_f=True)
    f, e, others = pysod.Fmeasure(), pysod.Emeasure(), [pysod.MAE(), pysod.Smeasure()]
    own, boundary = [], []
    for size in [(30, 20), (17, 45), (8, 9)]:
        pictures = rng.integers(0, 200, (4, 1, *size), np.uint8)
        truths = np.zeros((4, 1, *size), np.uint8)
        truths[:, :, 2 : size[0] // 2, 3 : size[1] // 2] = 255
        pictures[truths > 0] += np.uint8(rng.integers(0, 56))
        own += scores.update(torch.from_numpy(pictures), torch.from_numpy(truths))
        boundary += boundary_f_measure(pictures, truths, True).tolist()
        for picture, truth in zip(pictures[:, 0], truths[:, 0], strict=True):
            for measure in (f, e, *others):
                measure.step(picture, truth)
    got = scores.compute()
    for letter, result in (("F", f.get_results()["fm"]), ("E", e.get_results()["em"])):
        assert abs(got[f"{letter}_max"] - result["curve"].max()) < CLOSE
        assert abs(got[f"{letter}_mean"] - result["curve"].mean()) < CLOSE
        assert abs(got[f"{letter}_adaptive"] - result["adp"]) < CLOSE
        assert got[f"{letter}_max"] < np.mean([one[f"{letter}_max"] for one in own]) - 1e-3
    assert abs(got["MAE"] - others[0].get_results()["mae"]) < CLOSE
    assert abs(got["S"] - others[1].get_results()["sm"]) < CLOSE
    assert abs(got["F_boundary"] - np.mean(boundary)) < 1e-12
    np.testing.assert_allclose(scores.curves[0].numpy()[::-1], f.get_results()["fm"]["curve"])
    for name, value in got.items():  # the means are those of the pictures; the maxima are not
        if not name.endswith("max"):
            assert abs(value - np.mean([one[name] for one in own])) < 1e-12


def test_two_halves_merge_and_processes_add_up() -> None:
    rng = np.random.default_rng(5)
    pairs = [(rng.random((3, 1, 9, n)), rng.random((3, 1, 9, n)) < 0.4) for n in (8, 14, 400_0)]
    whole, first, second = SaliencyScores(), SaliencyScores(), SaliencyScores()
    for number, pair in enumerate(pairs):
        whole.update(*pair)
        (first if number == 0 else second).update(*pair)
    together = first.merge(second)
    assert together is first and together.pictures == 9
    assert together.compute() == pytest.approx(whole.compute(), abs=1e-12)
    assert whole.reduce().compute() == whole.compute()
    with pytest.raises(ValueError, match="other has normalize=True; this one has normalize=False"):
        first.merge(SaliencyScores(normalize=True))
    whole.reset()
    with pytest.raises(ValueError, match="no picture was added"):
        whole.compute()


def test_large_pictures_are_measured_in_parts_of_the_batch() -> None:
    rng = np.random.default_rng(6)
    prediction, truth = rng.random((3, 1, 300, 500)), rng.random((3, 1, 300, 500)) < 0.3
    rows = SaliencyScores().update(prediction, truth)
    assert len(rows) == 3
    assert [row["S"] for row in rows] == pytest.approx(s_measure(prediction, truth).tolist())
    assert [row["MAE"] for row in rows] == pytest.approx(
        mean_absolute_error(prediction, truth).tolist()
    )


def outline_by_loop(mask: np.ndarray) -> list[tuple[int, int]]:
    found = []
    for y, x in np.argwhere(mask).tolist():
        around = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
        inside = [p for p in around if 0 <= p[0] < mask.shape[0] and 0 <= p[1] < mask.shape[1]]
        if any(not mask[p] for p in inside):
            found.append((y, x))
    return found


def boundary_by_loop(predicted: np.ndarray, truth: np.ndarray, tolerance: float) -> float:
    ours_, theirs_ = outline_by_loop(predicted), outline_by_loop(truth)
    if not ours_ or not theirs_:
        return float(len(ours_) == len(theirs_))
    radius = tolerance * math.sqrt(truth.shape[0] ** 2 + truth.shape[1] ** 2)

    def near(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> float:
        return sum(any(math.dist(a, b) <= radius for b in others) for a in some) / len(some)

    precision, recall = near(ours_, theirs_), near(theirs_, ours_)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize("tolerance", [0, 0.0075, 0.05, 0.12, 0.5])
def test_boundaries_equal_a_loop_over_all_pairs(tolerance: float) -> None:
    rng = np.random.default_rng(7)
    for size in [(18, 24), (31, 9), (1, 12), (2, 2)]:
        for kind in TRUTHS:
            truth = make_truth(kind, size, rng)
            for shift in (0, 1, 4):
                prediction = np.clip(np.roll(truth, shift, 1) + rng.normal(0, 0.3, size), 0, 1)
                got = boundary_f_measure(prediction, truth, tolerance=tolerance)
                expected = boundary_by_loop(prediction >= 0.5, truth, tolerance)
                assert float(got) == pytest.approx(expected, abs=1e-12)


def test_regions_and_boundaries_are_two_things() -> None:
    truth = np.zeros((100, 100), bool)
    truth[20:80, 20:80] = True
    ring = truth.copy()
    ring[23:77, 23:77] = False  # the outline only, 3 px wide
    assert f_measure(ring, truth).maximum < 0.55
    assert boundary_f_measure(ring, truth) > 0.6  # its outer outline is right, the inner one is not
    shifted = np.roll(truth, 3, 0)
    assert f_measure(shifted, truth).maximum > 0.94
    assert boundary_f_measure(shifted, truth) < 0.6


def test_gray_truths_and_integers() -> None:
    prediction = np.array([[0.2, 0.9], [0.4, 0.6]])
    truths = [
        np.array([[False, True], [False, True]]),
        np.array([[0.5, 0.51], [0.0, 1.0]], np.float32),
        np.array([[128, 129], [0, 255]], np.uint8),
        np.array([[0, 1], [0, 1]], np.uint8),
    ]
    assert {float(mean_absolute_error(prediction, truth)) for truth in truths} == {0.275}
    half = torch.tensor(prediction).half()
    assert mean_absolute_error(half, torch.tensor(truths[0])).dtype == torch.float64
    needs_gradient = torch.tensor(prediction, requires_grad=True)
    assert not s_measure(needs_gradient, torch.tensor(truths[0])).requires_grad


@pytest.mark.parametrize(
    ("prediction", "truth", "error", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), ValueError, r"prediction has shape \(2, 3\) and tr"),
        (np.zeros((2, 3, 4)), np.zeros((2, 3, 4)), ValueError, r"it must be \(B, 1, H, W\) or"),
        (np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 3, 4)), ValueError, r"must be \(B, 1, H, W\)"),
        (np.zeros((0, 1, 3, 4)), np.zeros((0, 1, 3, 4)), ValueError, "none of them 0"),
        (np.full((2, 2), 1.5), np.zeros((2, 2)), ValueError, "prediction has values from 1.5 to"),
        (np.full((2, 2), -0.1), np.zeros((2, 2)), ValueError, r"must be in \[0, 1\]"),
        (np.array([[0.1, np.nan]]), np.zeros((1, 2)), ValueError, "prediction has values from nan"),
        (np.zeros((1, 2)), np.array([[0.1, np.nan]]), ValueError, "truth has values from nan"),
        (np.zeros((2, 2)), np.full((2, 2), 255.0), ValueError, "truth has values from 255.0 to"),
        (np.zeros((2, 2), int), np.zeros((2, 2)), TypeError, "prediction is torch.int64; it must"),
        (np.zeros((2, 2)), np.zeros((2, 2), int), TypeError, "uint8 or bool"),
        ([[0.5]], np.zeros((1, 1)), TypeError, "prediction is a list; it must be a tensor or an"),
    ],
)
def test_errors_name_the_argument(
    prediction: np.ndarray, truth: np.ndarray, error: type[Exception], message: str
) -> None:
    scores = SaliencyScores()
    for call in (as_pairs, f_measure, s_measure, scores.update):
        with pytest.raises(error, match=message):
            call(prediction, truth)
    assert scores.pictures == 0


def test_settings_out_of_range() -> None:
    pair = np.zeros((2, 2)), np.zeros((2, 2))
    with pytest.raises(ValueError, match="beta_squared is 0; it must be positive"):
        f_measure(*pair, beta_squared=0)
    with pytest.raises(ValueError, match="beta_squared is -1"):
        weighted_f_measure(*pair, beta_squared=-1)
    with pytest.raises(ValueError, match=r"alpha is 2; it must be in \[0, 1\]"):
        s_measure(*pair, alpha=2)
    with pytest.raises(ValueError, match="tolerance is -1; it must be at least 0"):
        boundary_f_measure(*pair, tolerance=-1)
    with pytest.raises(ValueError, match="threshold is 2"):
        boundary_f_measure(*pair, threshold=2)
