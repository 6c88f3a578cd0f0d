"""All three YOLO detectors: awkward targets, pictures of any size, mixed precision, recipes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from lessons_lib.data import Shapes
from lessons_lib.detection import AnchorGenerator, YOLOv1, YOLOv2, YOLOv3, yolo_recipes
from lessons_lib.detection.boxes import box_iou
from lessons_lib.detection.targets import targets_of
from lessons_lib.recipes import get_recipe
from lessons_lib.training import collate
from tests.detection.yolo_oracles import AWKWARD, target

CHANNELS = (8, 8, 16, 16)
MODELS: dict[str, Callable[[], nn.Module]] = {
    "v1": lambda: YOLOv1.small(6, size=64, channels=CHANNELS, hidden=32, reduce=8),
    "v2": lambda: YOLOv2.small(6, channels=CHANNELS, width=16),
    "v3": lambda: YOLOv3.small(6, channels=CHANNELS, widths=(8, 8, 8)),
}
TERMS = {"box", "object", "no_object", "class"}


def small(name: str, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MODELS[name]()


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("kind", AWKWARD)
def test_losses_and_gradients_stay_finite(name: str, kind: str) -> None:
    model = small(name).train()
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    losses = model(images, [AWKWARD[kind], AWKWARD["no boxes"]])
    assert losses.keys() == TERMS
    sum(losses.values()).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and bool(torch.isfinite(parameter.grad).all()), key


def test_without_objects_only_the_background_is_learned(name: str) -> None:
    losses = small(name).train()(torch.rand(2, 3, 64, 64), [AWKWARD["no boxes"]] * 2)
    assert {key for key, value in losses.items() if float(value.detach()) != 0} == {"no_object"}


def test_a_crowd_is_not_learned(name: str) -> None:
    losses = []
    for one in (AWKWARD["a crowd"], target([[5.0, 5, 25, 25]], [1])):
        model = small(name).train()
        with torch.no_grad():
            losses.append(model(torch.ones(2, 3, 64, 64), [one, AWKWARD["no boxes"]]))
    for key, value in losses[0].items():
        assert float(value) == float(losses[1][key])


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (None, "targets is None; in training mode every picture needs"),
        ([target([], [])], "targets are 1; there are 2 images"),
        ([target([[1.0, 1, 9, 9]], [6]), target([], [])], r"labels are 6..6; they must be in 1..5"),
    ],
)
def test_targets_that_do_not_fit(name: str, targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small(name).train()(torch.rand(2, 3, 64, 64), targets)


def test_pictures_of_any_size(name: str) -> None:
    """In a batch of other sizes as alone; boxes in the pixels of the picture that came in."""
    model = small(name).eval()
    model.settings = type(model.settings)(score_threshold=0.0, detections=50)
    images = [torch.rand(3, *size) for size in [(64, 96), (33, 47), (128, 64), (7, 5)]]
    with torch.inference_mode():
        together = model(images)
        alone = [model([image])[0] for image in images]
    for image, found, single in zip(images, together, alone, strict=True):
        height, width = image.shape[1:]
        assert len(found["boxes"]) and found["labels"].dtype == torch.int64
        assert set(found["labels"].tolist()) <= {1, 2, 3, 4, 5}
        assert bool((found["boxes"] >= 0).all())
        limits = torch.tensor([width, height] * 2) + 1e-3
        assert bool((found["boxes"] <= limits).all())
        assert bool((found["scores"].diff() <= 0).all())
        if name == "v1":  # every picture is resized: nothing around it can matter
            torch.testing.assert_close(single["scores"], found["scores"], atol=1e-5, rtol=0)


def test_half_precision(name: str) -> None:
    images = torch.rand(2, 3, 64, 64)
    targets = [target([[8.0, 8, 40, 40]], [1]), target([], [])]
    model = small(name).train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(images, targets)
    assert all(value.dtype == torch.float32 for value in losses.values())
    sum(losses.values()).backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        assert all(one["boxes"].dtype == torch.float32 for one in model.eval()(images))


def test_it_learns_one_picture(name: str) -> None:
    sample = Shapes(1, size=64, radius=(10, 20), count=2, seed=3)[0]
    batch = collate([sample, sample])
    model = small(name).train()
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    for _ in range(120):
        losses = model(batch["image"], targets_of(batch))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    with torch.inference_mode():
        (found, _) = model.eval()(batch["image"])
    best = box_iou(sample["boxes"], found["boxes"][: len(sample["boxes"])])
    assert bool((best.amax(1) > 0.6).all())
    assert sorted(found["labels"][: len(sample["boxes"])].tolist()) == sorted(
        sample["labels"].tolist()
    )


def some_anchors(options: Any, levels: int, *, count: int = 9) -> AnchorGenerator:
    share = count // levels
    return AnchorGenerator([[(8.0 * k + 8, 8.0) for k in range(share)]] * levels)


@pytest.mark.parametrize("preset", ["live", "quick", "full"])
@pytest.mark.parametrize("version", ["v1", "v2", "v3"])
def test_recipes_build_their_models(
    version: str, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yolo_recipes, "clustered_anchors", some_anchors)  # not of 500 scenes
    recipe = get_recipe(f"shapes-yolo{version}")
    options = recipe.preset(preset).options
    model = recipe.model(options)
    count = sum(p.numel() for p in model.parameters())
    assert (count <= 400_000) == (preset != "full")
    size = options["size"]
    with torch.inference_mode():
        (found,) = model.eval()(torch.rand(1, 3, size, size))
    assert found.keys() == {"boxes", "labels", "scores"}


def test_anchors_by_hand_and_from_data() -> None:
    recipe = get_recipe("shapes-yolov2")
    options = recipe.preset("live").options
    by_data = recipe.model(options).anchors
    by_hand = recipe.model({**options, "anchors": "hand"}).anchors
    assert by_data.shape == by_hand.shape == (5, 2) and not torch.allclose(by_data, by_hand)
    with pytest.raises(ValueError, match="anchors is 'none'; it must be hand or k-means"):
        recipe.model({**options, "anchors": "none"})


def test_heads_of_the_first_yolo() -> None:
    recipe = get_recipe("shapes-yolov1")
    options = recipe.preset("quick").options
    sizes = {
        head: sum(p.numel() for p in recipe.model({**options, "head": head}).parameters())
        for head in ("dense", "convolution")
    }
    assert sizes["convolution"] < sizes["dense"]
    with pytest.raises(ValueError, match="head is 'mlp'; it must be dense or convolution"):
        recipe.model({**options, "head": "mlp"})
