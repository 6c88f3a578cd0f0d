"""The recipes on the papers' data sets: their settings, and a step or two on small trees."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lessons_lib.data import CityscapesInstances
from lessons_lib.embedding import discriminative_loss
from lessons_lib.embedding.pretrained_network import EmbeddingPSPNet
from lessons_lib.embedding.street_measures import street_precision, street_row
from lessons_lib.recipes import get_recipe
from lessons_lib.training import fit
from tests.data.labelled_trees import noise, save

HEIGHT, WIDTH = 64, 96


def street(seed: int) -> np.ndarray:
    """Stored ids: road, two cars that touch, a person in front, a group, a tiny car, the ego vehicle."""
    shift = 4 * seed
    stored = np.full((HEIGHT, WIDTH), 7, np.uint16)
    stored[20:36, 4 + shift : 24 + shift] = 26000
    stored[20:36, 24 + shift : 44 + shift] = 26001
    stored[16:44, 36 + shift : 42 + shift] = 24003
    stored[4:14, 70:90] = 26
    stored[40:44, 60:66] = 26005
    stored[-6:] = 1
    return stored


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small trees of Cityscapes and CVPPP, as folders of all data sets."""
    city = tmp_path / "cityscapes"
    for split, seeds in (("train", (0, 1, 2)), ("val", (3, 4))):
        for seed in seeds:
            name = f"{split}/ulm/ulm_00000{seed}_000019"
            pixels = noise(seed, (HEIGHT, WIDTH))
            pixels[street(seed) >= 24000] += 80
            save(city / f"leftImg8bit/{name}_leftImg8bit.png", pixels)
            save(city / f"gtFine/{name}_gtFine_instanceIds.png", street(seed))
    for number in range(1, 9):
        labels = np.zeros((70, 60), np.uint8)
        for leaf in range(1, 4):
            labels[10 * leaf + number : 10 * leaf + number + 12, 8 * leaf : 8 * leaf + 20] = leaf
        pixels = noise(number, (70, 60))
        pixels[labels > 0, 1] += 90
        save(tmp_path / f"cvppp/A1/plant{number:03d}_rgb.png", pixels)
        save(tmp_path / f"cvppp/A1/plant{number:03d}_label.png", labels)
    monkeypatch.setenv("LESSONS_DATA", str(tmp_path))
    return tmp_path


SMALL: dict[str, dict[str, Any]] = {
    "cityscapes-spatial": {"crop": 48, "min_size": 8, "seed_threshold": 0.5},
    "cityscapes-discriminative": {
        "backbone": "small",
        "pretrained": False,
        "height": 32,
        "width": 48,
    },
    "cvppp-discriminative": {"base_channels": 4, "depth": 2, "embedding_dim": 4, "size": 48},
}


@pytest.mark.parametrize("name", SMALL)
def test_two_steps_and_an_evaluation(name: str, roots: Path) -> None:
    recipe = get_recipe(name)
    run = fit(recipe, "paper", progress=False, steps=2, batch_size=2, workers=0, **SMALL[name])
    losses = [row["loss"] for row in run.history if "loss" in row]
    assert losses and np.isfinite(losses).all()
    assert recipe.score in run.metrics
    assert all(0 <= value <= 100 for value in run.metrics.values())


def test_settings_are_those_of_the_papers() -> None:
    spatial = get_recipe("cityscapes-spatial").preset("paper")
    assert (spatial.steps * spatial.batch_size, spatial.batch_size) == (200 * 3000, 16)
    assert (spatial.learning_rate, spatial.weight_decay, spatial.schedule) == (5e-4, 1e-4, "poly")
    options = spatial.options
    assert (options["crop"], options["unit"], options["foreground_weight"]) == (512, 1024, 10)
    assert (options["center"], options["sigma"], options["min_size"]) == ("learned", "two", 128)
    for name, dims in (("cityscapes-discriminative", 8), ("cvppp-discriminative", 16)):
        preset = get_recipe(name).preset("paper")
        assert (preset.options["embedding_dim"], preset.learning_rate) == (dims, 1e-4)
        assert (preset.options["delta_var"], preset.options["delta_dist"]) == (0.5, 1.5)
        assert list(get_recipe(name).presets) == ["paper"]


def batch_of(samples: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {k: torch.stack([s[k] for s in samples]) for k in ("image", "instances", "semantic")}


def test_each_class_has_a_loss_of_its_own(roots: Path) -> None:
    """A plain loop; and instances of two classes in one place cost nothing."""
    recipe = get_recipe("cityscapes-discriminative")
    options = {**recipe.preset("paper").options, **SMALL["cityscapes-discriminative"]}
    streets = CityscapesInstances(split="train")
    batch = batch_of([streets[0], streets[1]])
    torch.manual_seed(0)
    embedding = torch.randn(2, 8, HEIGHT, WIDTH)
    outputs = {"semantic": torch.randn(2, 9, HEIGHT, WIDTH), "embedding": embedding}
    terms = recipe.loss(outputs, batch, options)
    expected = dict.fromkeys(("variance", "distance", "regularization"), 0.0)
    for label in range(1, 9):
        masked = batch["instances"] * (batch["semantic"] == label)
        for term, value in discriminative_loss(embedding, masked).items():
            expected[term] += float(value)
    for term, value in expected.items():
        assert float(terms[term]) == pytest.approx(value, rel=1e-5) and value > 0
    scores = outputs["semantic"].permute(0, 2, 3, 1)[batch["semantic"] != 255]
    plain = torch.nn.functional.cross_entropy(scores, batch["semantic"][batch["semantic"] != 255])
    assert float(terms["semantic"]) == pytest.approx(float(plain), rel=1e-4)
    car_and_person = torch.where((batch["instances"] > 0) & (batch["semantic"] == 1), 0.0, 5.0)
    car_and_person = torch.where(batch["instances"] == 2, 0.0, car_and_person)
    together = {
        "semantic": outputs["semantic"],
        "embedding": car_and_person[:, None].repeat(1, 8, 1, 1),
    }
    assert float(recipe.loss(together, batch, options)["variance"]) == 0


def perfect(sample: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    count = int(sample["instances"].max())
    labels = [int(sample["semantic"][sample["instances"] == k][0]) for k in range(1, count + 1)]
    return {
        "instances": sample["instances"].clone(),
        "scores": torch.linspace(1, 0.6, count),
        "labels": torch.tensor(labels),
    }


def test_street_precision_counts_what_cityscapes_counts(roots: Path) -> None:
    streets = CityscapesInstances(split="val")
    classes = streets.CLASSES
    samples = [streets[0], streets[1]]
    right = [street_row(perfect(s), s) for s in samples]
    assert street_precision(right, classes) == {"AP": 1.0, "AP50": 1.0}

    def with_extra(rows: slice, columns: slice, label: int = 3) -> dict[str, float]:
        """The AP with a surest extra car, on the first picture only."""
        made = perfect(samples[0])
        made["instances"][rows, columns] = len(made["labels"]) + 1
        made["scores"] = torch.cat([made["scores"], torch.ones(1) * 2])
        made["labels"] = torch.cat([made["labels"], torch.tensor([label])])
        return street_precision([street_row(made, samples[0]), right[1]], classes)

    assert with_extra(slice(4, 14), slice(70, 90))["AP50"] == 1  # a group of cars
    assert with_extra(slice(58, 64), slice(0, 50))["AP50"] == 1  # the ego vehicle
    assert with_extra(slice(46, 56), slice(0, 20))["AP50"] < 1  # the road
    tiny = perfect(samples[0])
    tiny["instances"][samples[0]["instances"] == 4] = 0  # below 100 px: nobody asks for it
    assert street_precision([street_row(tiny, samples[0]), right[1]], classes)["AP"] == 1
    swapped = perfect(samples[0])
    swapped["labels"] = 4 - swapped["labels"]  # cars called persons, and the reverse
    assert street_precision([street_row(swapped, samples[0])], classes) == {"AP": 0, "AP50": 0}
    missed = {**perfect(samples[0]), "instances": torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)}
    assert street_precision([street_row(missed, samples[0])], classes)["AP"] == 0


def test_prediction_at_another_size_is_scaled_back(roots: Path) -> None:
    """A network that sees a car in the right half: at the picture's size, whatever it works at."""

    class Half(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
            assert image.shape[-2:] == (32, 48)
            semantic = torch.zeros(1, 9, 32, 48)
            semantic[:, 3, :, 24:] = 5
            semantic[:, 1, :, :6] = 5
            return {"semantic": semantic, "embedding": torch.zeros(1, 8, 32, 48)}

    recipe = get_recipe("cityscapes-discriminative")
    options = {**recipe.preset("paper").options, **SMALL["cityscapes-discriminative"]}
    (found,) = recipe.infer(Half(), {"image": torch.zeros(1, 3, HEIGHT, WIDTH)}, options)
    assert found["labels"].tolist() == [1, 3] and found["scores"].tolist() == [1, 1]
    expected = torch.zeros(HEIGHT, WIDTH, dtype=torch.int64)
    expected[:, :12], expected[:, 48:] = 1, 2
    assert torch.equal(found["instances"], expected)
    assert torch.equal(found["semantic"], torch.tensor([0, 1, 3])[expected])


def test_leaves_are_measured_with_both_masks(roots: Path) -> None:
    recipe = get_recipe("cvppp-discriminative")
    options = recipe.preset("paper").options
    truth = torch.zeros(20, 20, dtype=torch.int64)
    truth[2:10, 2:10], truth[2:10, 10:18] = 1, 2
    embedding = torch.zeros(1, 20, 20)
    embedding[0][truth == 2] = 9
    prediction = {"embedding": embedding, "instances": torch.where(truth == 1, 1, 0)}
    row = recipe.measure(prediction, {"instances": truth}, options)
    assert row["sbd_true_mask"] == 1 and row["absolute_dic_true_mask"] == 0
    assert row["sbd"] == pytest.approx(0.5) and row["absolute_dic"] == 1


def test_embedding_pspnet() -> None:
    net = EmbeddingPSPNet(5, 9, "small").eval()
    with torch.no_grad():
        out = net(torch.rand(1, 3, 40, 56))
    assert out["semantic"].shape == (1, 9, 40, 56) and out["embedding"].shape == (1, 5, 40, 56)
    for options, words in [((0, 2), "embedding_dim is 0"), ((4, 0), "classes is 0")]:
        with pytest.raises(ValueError, match=words):
            EmbeddingPSPNet(*options)
    large = EmbeddingPSPNet(8, 9)
    state = {f"{k}": torch.full_like(v, 0.5) for k, v in large.backbone.state_dict().items()}
    large.load_resnet({**state, "fc.weight": torch.zeros(1)})
    assert all(
        (v == 0.5).all() for v in large.backbone.state_dict().values() if v.is_floating_point()
    )
