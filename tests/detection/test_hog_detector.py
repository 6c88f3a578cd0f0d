"""The sliding-window detector: its windows, its scores, its training against scikit-learn's SVM."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.svm import LinearSVC

from lessons_lib.data import Shapes
from lessons_lib.detection import average_precision, coco_form
from lessons_lib.detection.hog import hog
from lessons_lib.detection.hog_detector import HOGDetector, Template, fit_templates
from lessons_lib.recipes import get_recipe
from lessons_lib.training import fit, load_weights


def detector(**options: Any) -> HOGDetector:
    return HOGDetector([Template(1, 24, 24), Template(2, 8.5, 30)], **options)


def random_weights(model: HOGDetector) -> HOGDetector:
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for weight in model.weights:
            weight.copy_(torch.from_numpy(rng.normal(0, 0.1, weight.shape)))
    return model


def test_scores_are_products_of_windows_and_weights() -> None:
    """One window cut out of the picture, its own HOG, its product with the weights."""
    model = random_weights(detector(scales=(1.0,)))
    image = torch.from_numpy(np.random.default_rng(1).uniform(size=(3, 64, 80))).float()
    maps = model.features(image[None])
    scores, windows = model.scores(maps), model.windows(maps, (64, 80))
    cell, border = model.cell, (model.margin + 1) * model.cell
    padded = F.pad(image, [border] * 4, mode="replicate")
    for t, template in enumerate(model.templates):
        rows, columns = (n + 1 for n in model.weights[t].shape[1:])
        for n in (0, 7, len(windows[t]) // 2, len(windows[t]) - 1):
            x, y = windows[t][n, :2] + windows[t].new_tensor([template.width, template.height]) / 2
            left = round(float(x) + border - columns * cell / 2)
            top = round(float(y) + border - rows * cell / 2)
            # with a pixel round it, for the gradients on the window's own border
            shown = padded[:, max(top - 1, 0) : top + rows * cell + 1]
            shown = shown[:, :, max(left - 1, 0) : left + columns * cell + 1]
            if min(top, left) < 1 or shown.shape[1:] != (rows * cell + 2, columns * cell + 2):
                continue
            inside = cut_hog(shown, cell)
            right = (inside * model.weights[t].permute(1, 2, 0)).sum() + model.bias[t]
            torch.testing.assert_close(scores[t][0, n], right, atol=1e-4, rtol=1e-4)


def cut_hog(shown: torch.Tensor, cell: int) -> torch.Tensor:
    """(rows, columns, 36) of the inner part of a picture with one more pixel on each side."""
    # The outer pixel is widened to a whole cell, whose blocks are then dropped.
    wide = F.pad(shown, [cell - 1] * 4, mode="replicate")
    return hog(wide, cell).flatten(2)[1:-1, 1:-1]


def test_windows_grow_by_the_inverse_scale() -> None:
    model = detector(scales=(1.0, 0.5))
    maps = model.features(torch.zeros(1, 3, 64, 64))
    for template, boxes in zip(model.templates, model.windows(maps, (64, 64)), strict=True):
        sides = (boxes[:, 2:] - boxes[:, :2]).unique(dim=0)
        expected = torch.tensor([float(template.width), float(template.height)])
        torch.testing.assert_close(sides, torch.stack([expected, 2 * expected]))
    # the first window of a level begins one cell outside, so that things at the border fit
    first = model.windows(maps, (64, 64))[0][0]
    assert first.tolist() == [-4.0, -4.0, 20.0, 20.0]


def test_small_pictures_have_fewer_levels_or_nothing() -> None:
    model = detector().eval()
    for size in ((20, 20), (24, 60), (33, 35)):
        (found,) = model(torch.zeros(1, 3, *size))
        assert found["boxes"].shape == (0, 4)


def test_signs() -> None:
    windows = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [4, 0, 14, 10], [50, 50, 60, 60]])
    assert HOGDetector.signs(windows, torch.zeros(0, 4)).tolist() == [-1, -1, -1, -1]
    assert HOGDetector.signs(windows, windows[:1]).tolist() == [1, 1, 0, -1]
    between = torch.tensor([[0.0, 0, 10, 19]])  # no window reaches 0.6, the first is best
    assert HOGDetector.signs(windows, between).tolist() == [1, 0, -1, -1]


def test_the_loss_is_a_support_vector_machine() -> None:
    """Minimised to the end on a few pictures, it has scikit-learn's weights."""
    scenes = [Shapes(3, size=64, count=2, radius=(10, 14), rotate=0)[i] for i in range(3)]
    images = torch.stack([s["image"] for s in scenes])
    model = HOGDetector(
        [Template(1, 20, 20)], scales=(1.0, 0.8), cell=8, positive_weight=3.0, regularization=0.5
    )
    targets = [{"boxes": s["boxes"], "labels": torch.ones_like(s["labels"])} for s in scenes]
    model.double()
    maps = [m.double() for m in model.features(images.double())]
    windows = model.windows(maps, (64, 64))[0]
    shape = model.weights[0].shape
    vectors = [
        torch.cat([F.unfold(m[i : i + 1], shape[1:])[0].T for m in maps])
        for i in range(len(scenes))
    ]
    signs = [model.signs(windows, t["boxes"].double()) for t in targets]
    counted = torch.cat(signs) != 0
    x, y = torch.cat(vectors)[counted].numpy(), torch.cat(signs)[counted].numpy()
    # LinearSVC minimises w·w/2 + C Σ hinge², here with the bias as a feature of great length
    svm = LinearSVC(
        C=1 / (3 * 0.5), class_weight={1: 3.0, -1: 1.0}, intercept_scaling=1000.0, tol=1e-8,
        max_iter=100_000, random_state=0,
    ).fit(x, y)  # fmt: skip
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )  # fmt: skip
    double = [{**t, "boxes": t["boxes"].double()} for t in targets]

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = sum(model.losses(images.double(), double, maps).values())
        loss.backward()
        return loss

    optimizer.step(closure)
    mine = model.weights[0].detach().flatten().numpy()
    assert (y > 0).sum() >= 6 and len(y) > 100
    np.testing.assert_allclose(mine, svm.coef_[0], atol=2e-3 * abs(mine).max())
    assert float(model.bias.detach()) == pytest.approx(float(svm.intercept_[0]), abs=2e-3)


def test_the_recipe_runs() -> None:
    run = fit(
        get_recipe("shapes-hog-svm"), "live", progress=False,
        steps=2, batch_size=2, validation=2, measured=40,
    )  # fmt: skip
    assert "AP50" in run.metrics
    assert run.model.weights[0].abs().max() > 0


def test_the_stored_run_finds_upright_shapes() -> None:
    recipe = get_recipe("shapes-hog-svm")
    model, _ = load_weights(recipe)
    data = recipe.validation_data(recipe.presets["quick"].options)
    scenes = [data[i] for i in range(12)]
    with torch.inference_mode():
        found = [model(s["image"][None])[0] for s in scenes]
    assert average_precision(*coco_form(scenes, found))["AP50"] > 0.8
    for one in found:
        assert (one["scores"].diff() <= 0).all()
        assert one["boxes"].min() >= 0 and one["boxes"].max() <= 128


def test_templates_from_boxes() -> None:
    boxes = torch.tensor(
        [[0.0, 0, 20, 20], [0, 0, 30, 30], [0, 0, 40, 8], [0, 0, 8, 40], [0, 0, 9, 45]]
    )
    labels = torch.tensor([1, 1, 2, 2, 2])
    square, lying, standing = fit_templates(boxes, labels, quantile=0)
    assert square == Template(1, height=20.0, width=20.0)
    assert (lying.label, lying.width) == (2, 40.0) and lying.height == pytest.approx(8)
    assert (standing.label, standing.height) == (2, 40.0) and standing.width == pytest.approx(8)
    with pytest.raises(ValueError, match="boxes is empty"):
        fit_templates(boxes[:0], labels[:0])


def test_errors() -> None:
    with pytest.raises(ValueError, match="templates is empty"):
        HOGDetector([])
    for scales in ((), (0.9, 0.5), (1.0, 1.0), (1.0, -1.0)):
        with pytest.raises(ValueError, match="must start with 1 and fall"):
            detector(scales=scales)
    with pytest.raises(ValueError, match="targets is None"):
        detector().train()(torch.zeros(1, 3, 64, 64))
