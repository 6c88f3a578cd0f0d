"""The two convolution figures: every number they show is torch's, and they move."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from moving import PHONE, check_dark, check_phone, data, point_at, set_slider, wait_for

from lessons_lib.widgets import ConvolutionStepper, TransposedStepper
from lessons_lib.widgets.convolution_stepper import KINDS, SIZES, named_kernel

Call = Callable[..., Any]
Open = Callable[..., Any]
SETTINGS = list(itertools.product(range(1, 5), range(5), range(1, 4)))  # stride, padding, dilation


def torch_convolution(values: Any, weights: Any, s: int, p: int, d: int) -> np.ndarray | None:
    """Return torch's output, None where it refuses."""
    x = torch.tensor(np.array(values), dtype=torch.float64)[None, None]
    w = torch.tensor(np.array(weights), dtype=torch.float64)[None, None]
    try:
        return F.conv2d(x, w, stride=s, padding=p, dilation=d)[0, 0].numpy()
    except RuntimeError:
        return None


def torch_transposed(x: np.ndarray, w: np.ndarray, s: int, p: int, op: int, d: int) -> Any:
    """Return torch's output for (n,) or (n, n), None where it refuses."""
    convolve = F.conv_transpose1d if x.ndim == 1 else F.conv_transpose2d
    try:
        y = convolve(
            torch.tensor(x, dtype=torch.float64)[None, None],
            torch.tensor(w, dtype=torch.float64)[None, None],
            stride=s,
            padding=p,
            output_padding=op,
            dilation=d,
        )
    except RuntimeError:
        return None
    return y[0, 0].numpy() if y.numel() else None


# ---- what is stored


def test_named_kernels_are_what_they_say() -> None:
    for kind, size in itertools.product(KINDS, SIZES):
        weights, divisor = named_kernel(kind, size)
        total = weights.sum() / divisor
        assert weights.shape == (size, size) and total == (0 if kind == "edge" else 1)
    assert named_kernel("edge", 3)[0].tolist() == [[-1, 0, 1]] * 3
    assert named_kernel("sharpen", 3)[0].tolist() == [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
    assert named_kernel("identity", 5)[0][2, 2] == 1
    assert named_kernel("blur", 5)[1] == 25


@pytest.mark.parametrize("kernel", ["edge", "blur 5", "sharpen 2", [[1, -2], [0.5, 3], [0, 4]]])
def test_python_convolves_as_torch(kernel: Any) -> None:
    image = np.random.default_rng(0).integers(-9, 10, (6, 9))
    for s, p, d in SETTINGS:
        figure = ConvolutionStepper(image, "identity 1", stride=s, padding=p, dilation=d)
        try:
            figure = ConvolutionStepper(image, kernel, stride=s, padding=p, dilation=d)
        except ValueError as error:
            assert "must be at most n + 2·padding" in str(error)
            # The settings that the constructor refuses are those that torch refuses.
            size = (5, 5) if kernel == "blur 5" else (3, 3) if kernel == "edge" else (2, 2)
            size = (3, 2) if isinstance(kernel, list) else size
            assert torch_convolution(image, np.ones(size), s, p, d) is None
            continue
        expected = torch_convolution(image, figure.weights(), s, p, d)
        np.testing.assert_allclose(figure.output(), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stride": 0}, "stride is 0; expected a whole number from 1 to 4"),
        ({"stride": 1.5}, r"stride is 1\.5; expected a whole number"),
        ({"stride": True}, "stride is True; expected a whole number"),
        ({"padding": 5}, "padding is 5; expected a whole number from 0 to 4"),
        ({"dilation": -1}, "dilation is -1; expected a whole number from 1 to 3"),
        ({"kernel": "emboss"}, "kernel is 'emboss'; expected one of 'edge'"),
        ({"kernel": "edge 4"}, "size is 4; expected one of 1, 2, 3, 5"),
        ({"kernel": "edge big"}, "size is -1"),
        ({"kernel": np.ones(3)}, r"kernel has shape \(3,\); expected \(rows, columns\)"),
        ({"kernel": np.ones((6, 6))}, r"kernel has shape \(6, 6\)"),
        ({"kernel": [[np.nan]]}, "kernel has 1 values that are NaN"),
        ({"image": np.ones((13, 3))}, r"image has shape \(13, 3\); .* 1 to 12 each"),
        ({"image": [[5000]]}, "image has the value 5000; expected at most 999"),
        ({"kernel": "blur 5", "dilation": 3}, "kernel spans 13 rows, the padded image has 7"),
        ({"image": np.ones((7, 2))}, "kernel spans 3 columns, the padded image has 2"),
    ],
)
def test_convolution_names_a_wrong_argument(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvolutionStepper(**arguments)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_python_transposes_as_torch(dimensions: int) -> None:
    refused = 0
    for n, k, s, d in itertools.product((1, 2, 4, 6), (1, 2, 3, 5), (1, 2, 4), (1, 3)):
        for p, op in itertools.product(range(k), range(4)):
            settings = {"stride": s, "padding": p, "output_padding": op, "dilation": d}
            try:
                figure = TransposedStepper(n, k, **settings, dimensions=dimensions)
            except ValueError:
                refused += 1
                x = np.ones((n,) * dimensions)
                assert torch_transposed(x, np.ones((k,) * dimensions), s, p, op, d) is None
                continue
            expected = torch_transposed(*figure.values(), s, p, op, d)
            assert figure.output_size() == len(expected)
            np.testing.assert_array_equal(figure.output(), expected)
    assert refused > 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_size": 7}, "input_size is 7; expected a whole number from 1 to 6"),
        ({"kernel_size": 0}, "kernel_size is 0"),
        ({"padding": 3}, "padding is 3; expected a whole number from 0 to 2 = kernel_size − 1"),
        ({"output_padding": 2}, r"output_padding is 2; .* to 1 = max\(stride, dilation\) − 1"),
        ({"input_size": 1, "padding": 2, "stride": 1}, "the output would have -1 cells"),
        ({"view": "sum"}, "view is 'sum'; expected one of 'scatter', 'zeros', 'matrix'"),
        ({"dimensions": 3}, "dimensions is 3"),
    ],
)
def test_transposed_names_a_wrong_argument(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TransposedStepper(**arguments)


@pytest.mark.parametrize("kind", [ConvolutionStepper, TransposedStepper])
def test_state_is_the_same_every_time_and_small(kind: Any) -> None:
    first, second = kind(), kind()
    states = [{k: v for k, v in f.get_state().items() if k != "layout"} for f in (first, second)]
    assert states[0] == states[1] and repr(first) == repr(second)
    assert len(first._esm) + len(first._css) < 45_000
    bundles = [f._repr_mimebundle_()[0]["image/png"] for f in (first, second)]
    assert bundles[0] == bundles[1] and len(bundles[0]) < 15_000
    assert first.alt and not re.search(r"0x|/tmp|/home", repr(first))


def test_repr_says_what_it_is() -> None:
    assert repr(ConvolutionStepper()) == (
        "ConvolutionStepper(7×7, edge 3, stride=1, padding=0, dilation=1)"
    )
    assert repr(TransposedStepper()) == (
        "TransposedStepper(n=4, k=3, s=2, p=1, d=1, output_padding=0)"
    )


# ---- what the page computes


def test_the_page_convolves_as_torch_in_every_setting(call: Call) -> None:
    figure = ConvolutionStepper()
    code = """Object.entries(v.kernels).map(([, kernel]) => v.settings.map(([stride, padding, dilation]) =>
        m.convolve(v.values, kernel, { stride, padding, dilation })))"""
    found = call(figure._esm, code, kernels=figure.kernels, settings=SETTINGS, values=figure.values)
    refused = 0
    for kernel, row in zip(figure.kernels.values(), found, strict=True):
        weights = np.array(kernel["weights"]) / kernel["divisor"]
        for (s, p, d), output in zip(SETTINGS, row, strict=True):
            expected = torch_convolution(figure.values, weights, s, p, d)
            if expected is None:
                refused += 1
                assert output == []
            else:
                np.testing.assert_allclose(output, expected, atol=1e-9)
    assert refused > 10


def every_transposed() -> list[tuple[int, ...]]:
    """Return every place that the sliders reach: (n, k, s, p, op, d)."""
    return [
        (n, k, s, p, op, d)
        for n, k, s, op, d in itertools.product(
            range(1, 7), range(1, 6), range(1, 5), range(4), range(1, 4)
        )
        for p in range(k)
    ]


def test_three_views_are_torchs_in_every_setting(call: Call) -> None:
    settings = every_transposed()
    code = """v.settings.map(([n, k, s, p, op, d]) => {
        const axis = { n, k, s, p, op, d };
        if (m.broken(axis)) return null;
        const all = m.compute(axis, true);
        return [all.agree, all.matrix.output[0], all.matrix.coverage[0]];
    })"""
    found = call(TransposedStepper._esm, code, settings=settings)
    refused = 0
    for (n, k, s, p, op, d), answer in zip(settings, found, strict=True):
        x, w = np.array([3, 1, 2, 5, 4, 6][:n]), np.arange(1, k + 1)
        expected = torch_transposed(x, w, s, p, op, d)
        if expected is None:
            refused += 1
            assert answer is None, (n, k, s, p, op, d)
            continue
        assert answer is not None, (n, k, s, p, op, d)
        agree, output, coverage = answer
        assert agree and output == expected.tolist()
        ones = torch_transposed(np.ones(n), np.ones(k), s, p, op, d)
        assert coverage == ones.tolist()
    assert 1000 < refused < len(settings) // 2


def test_three_views_are_torchs_in_two_dimensions(call: Call) -> None:
    rng = np.random.default_rng(1)
    every = every_transposed()
    settings = [every[i] for i in rng.choice(len(every), 120, replace=False)]
    code = """v.settings.map(([n, k, s, p, op, d]) => {
        if (m.broken({ n, k, s, p, op, d })) return null;
        const all = m.compute({ n, k, s, p, op, d }, false);
        return [all.agree, all.scatter.output];
    })"""
    found = call(TransposedStepper._esm, code, settings=settings)
    for (n, k, s, p, op, d), answer in zip(settings, found, strict=True):
        x, w = TransposedStepper(n, k, dimensions=2, padding=0).values()
        expected = torch_transposed(x, w, s, p, op, d)
        assert (answer is None) == (expected is None)
        if answer:
            assert answer[0] and answer[1] == expected.tolist()


# ---- what the reader does


def test_convolution_follows_the_reader(open_page: Open) -> None:
    page = open_page(ConvolutionStepper())
    assert data(page, "output-size") == "5x5" and data(page, "selected") == "0,0"
    output = ConvolutionStepper().output()
    canvas = page.locator("canvas").nth(2)
    for row, column in [(2, 3), (4, 0), (0, 4)]:
        # The grid fills the panel: five cells in its width.
        point_at(page, canvas, (column + 0.5) / 5, (row + 0.5) / 5)
        assert data(page, "selected") == f"{row},{column}"
        assert float(data(page, "value")) == output[row, column]
    sum_ = "Output (row 0, column 4) = −1·0 + 1·0 − 1·6 + 1·1 − 1·6 + 1·1 = −10"
    assert page.locator(".pti-note").inner_text() == f"{sum_} (3 more with weight 0)"
    canvas.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowDown")
    assert data(page, "selected") == "1,3"
    point_at(page, page.locator("canvas").first, 3.5 / 7, 3.5 / 7)  # the middle of the input
    assert data(page, "selected") == "2,2"


@pytest.mark.parametrize(
    "kind,size", [("edge", 3), ("blur", 5), ("sharpen", 2), ("identity", 1)], ids=str
)
def test_convolution_sliders_give_torchs_numbers(open_page: Open, kind: str, size: int) -> None:
    page = open_page(ConvolutionStepper())
    page.locator(f"input[value='{kind}']").click()
    page.locator(f"input[value='{size}']").click()
    weights, divisor = named_kernel(kind, size)
    values = ConvolutionStepper().values
    rng = np.random.default_rng(size)
    for index in rng.choice(len(SETTINGS), 4, replace=False):
        s, p, d = SETTINGS[index]
        for name, value in (("stride", s), ("padding", p), ("dilation", d)):
            set_slider(page, name, value)
        expected = torch_convolution(values, weights / divisor, s, p, d)
        wait_for(page, "legal", "false" if expected is None else "true")
        note = page.locator(".pti-note").inner_text()
        if expected is None:
            assert note.startswith("Refused: the kernel spans") and "≤ n + 2p" in note
            assert data(page, "output-size") == data(page, "value") == ""
            continue
        assert data(page, "output-size") == f"{expected.shape[0]}x{expected.shape[1]}"
        row, column = map(int, data(page, "selected").split(","))
        assert float(data(page, "value")) == pytest.approx(expected[row, column])
        formula = page.locator(".pti-formula").inner_text()
        assert formula.endswith(f"= {expected.shape[0]}")


def test_convolution_plays_through_its_cells(open_page: Open) -> None:
    page = open_page(ConvolutionStepper(np.ones((3, 4)), "edge 2"))
    assert data(page, "output-size") == "2x3"
    button = page.get_by_role("button")
    button.click()
    assert data(page, "playing") == "true" and "Pause" in button.inner_text()
    wait_for(page, "selected", "1,2")
    wait_for(page, "playing", "false")
    button.press("Enter")  # from the end: once more from the start
    assert data(page, "selected") == "0,0"
    wait_for(page, "selected", "0,1")
    button.press("Enter")
    assert data(page, "playing") == "false"


def test_convolution_shows_a_kernel_of_ones_own(open_page: Open) -> None:
    figure = ConvolutionStepper(np.arange(12).reshape(3, 4), [[1, 0.5]])
    page = open_page(figure)
    assert data(page, "output-size") == "3x3"
    assert float(data(page, "value")) == figure.output()[0, 0] == 0.5
    page.locator("input[value='blur']").click()
    wait_for(page, "output-size", "1x2")
    page.locator("input[value='own']").click()
    wait_for(page, "output-size", "3x3")


def test_transposed_follows_the_reader(open_page: Open) -> None:
    page = open_page(TransposedStepper())
    assert (data(page, "output-size"), data(page, "agree"), data(page, "view")) == (
        "7",
        "true",
        "scatter",
    )
    canvas = page.locator("canvas")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    assert data(page, "selected") == "input 1" and data(page, "value") == "1"
    page.keyboard.press("ArrowDown")  # to the first output cell it touches
    assert data(page, "selected") == "output 1"
    output = TransposedStepper().output()
    for o in range(1, 7):
        assert data(page, "selected") == f"output {o}"
        assert float(data(page, "value")) == output[o]
        page.keyboard.press("ArrowRight")
    text = page.locator(".pti-note").inner_text()
    assert text == "Output 6 = 5·2 = 10; 1 input cell touches it."
    for view in ("zeros", "matrix"):
        page.locator(f"input[value='{view}']").click()
        wait_for(page, "view", view)
        assert data(page, "selected") == "output 6" and data(page, "agree") == "true"
    page.locator("input[value='2']").click()
    wait_for(page, "output-size", "7x7")
    assert data(page, "agree") == "true"
    page.locator("input[value='scatter']").click()
    wait_for(page, "view", "scatter")
    point_at(
        page, canvas, 10 / canvas.bounding_box()["width"], 40 / canvas.bounding_box()["height"]
    )
    assert data(page, "selected") == "input 0"


def test_transposed_sliders_give_torchs_numbers(open_page: Open) -> None:
    page = open_page(TransposedStepper())
    rng = np.random.default_rng(5)
    every = every_transposed()
    seen = {"true": 0, "false": 0}
    names = ("input size", "kernel size", "stride", "padding", "output padding", "dilation")
    for index in rng.choice(len(every), 10, replace=False):
        setting = every[index]
        for name, value in zip(names, setting, strict=True):
            set_slider(page, name, value)
        n, k, s, p, op, d = setting
        x, w = np.array([3, 1, 2, 5, 4, 6][:n]), np.arange(1, k + 1)
        expected = torch_transposed(x, w, s, p, op, d)
        legal = "false" if expected is None else "true"
        wait_for(page, "legal", legal)
        seen[legal] += 1
        if expected is None:
            assert page.locator(".pti-note").inner_text().startswith("Refused: ")
            continue
        wait_for(page, "output-size", str(len(expected)))  # a busy machine may be slow to answer
        assert data(page, "agree") == "true"
        kind, place = data(page, "selected").split()
        assert float(data(page, "value")) == (x if kind == "input" else expected)[int(place)]
    assert min(seen.values()) > 1


def test_a_smaller_kernel_takes_the_padding_with_it(open_page: Open) -> None:
    page = open_page(TransposedStepper(4, 5, 2, 4))
    page.get_by_role("slider", name="kernel size").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    wait_for(page, "output-size", str((4 - 1) * 2 - 2 * 1 + 1 + 1))
    assert page.get_by_role("slider", name="padding", exact=True).get_attribute("max") == "1"


def test_transposed_plays_through_its_cells(open_page: Open) -> None:
    page = open_page(TransposedStepper(2))
    page.get_by_role("button").click()
    wait_for(page, "selected", "input 1")
    wait_for(page, "playing", "false")
    page.locator("input[value='zeros']").click()
    page.get_by_role("button").click()
    wait_for(page, "selected", "output 2")
    wait_for(page, "playing", "false")


@pytest.mark.parametrize("name", ["convolution", "transposed", "two dimensions", "long"])
def test_steppers_on_a_phone_and_in_the_dark(open_page: Open, name: str) -> None:
    figure = {
        "convolution": lambda: ConvolutionStepper(padding=4),
        "transposed": TransposedStepper,
        "two dimensions": lambda: TransposedStepper(dimensions=2),
        "long": lambda: TransposedStepper(6, 5, 4, 0, 2, 3),
    }[name]()
    page = open_page(figure, **PHONE)
    check_phone(page)
    check_dark(page)
