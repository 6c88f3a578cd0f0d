"""The digits recipe and its network."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from lessons_lib.convolution import DigitsCNN, layer_table
from lessons_lib.recipes import get_recipe
from lessons_lib.training import collate, fit


def test_network() -> None:
    model = DigitsCNN(4, classes=3)
    assert model(torch.zeros(2, 1, 8, 8))["scores"].shape == (2, 3)
    table = layer_table(DigitsCNN(), (1, 8, 8))
    assert [row.receptive_field for row in table.rows if row.type == "Conv2d"] == [3, 5, 10]
    with pytest.raises(ValueError, match=r"image has shape \(1, 1, 9, 8\)"):
        model(torch.zeros(1, 1, 9, 8))
    with pytest.raises(ValueError, match="channels is 0"):
        DigitsCNN(0)


def test_recipe_pieces() -> None:
    recipe = get_recipe("digits-cnn")
    options = recipe.preset("live").options
    data = recipe.validation_data(options)
    batch = collate([data[i] for i in range(5)])
    outputs = recipe.model(options)(batch["image"])
    (loss,) = recipe.loss(outputs, batch, options).values()
    assert loss == F.cross_entropy(outputs["scores"], batch["label"])
    for i, prediction in enumerate(recipe.predict(outputs, options)):
        assert prediction["label"] == outputs["scores"][i].argmax()
        assert float(prediction["probabilities"].detach().sum()) == pytest.approx(1)
        right = recipe.measure(prediction, data[i], options)["accuracy"]
        assert right == float(prediction["label"] == batch["label"][i])


def test_training_data_of_the_presets() -> None:
    recipe = get_recipe("digits-cnn")
    assert len(recipe.training_data(recipe.preset("live").options, 10_000, 0)) == 1352
    shifted = recipe.training_data(recipe.preset("quick").options, 10_000, 5)
    assert (len(shifted), shifted.seed, shifted.max_shift) == (10_000, 5, 1)


def test_it_learns() -> None:
    run = fit(get_recipe("digits-cnn"), "live", steps=60, progress=False)
    assert run.metrics["accuracy"] > 0.85
