"""R-CNN, SPP-net and Fast R-CNN: what goes in and out, awkward pictures, and the parts of each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor

from lessons_lib.data import Shapes
from lessons_lib.detection import RCNN, FastRCNN, Proposed, Search, SPPNet
from lessons_lib.detection.proposals import RegionDetector
from lessons_lib.detection.rcnn import warp
from lessons_lib.detection.stages import StagedDetector, fit_svm

MAKERS: dict[str, Callable[[], RegionDetector]] = {
    "rcnn": lambda: RCNN(6, crop=32, context=2, grid=2, width=8),
    "sppnet": lambda: SPPNet(6, width=8),
    "fast": lambda: FastRCNN(6, grid=3, width=8),
}


@pytest.fixture(params=MAKERS)
def detector(request: pytest.FixtureRequest) -> RegionDetector:
    torch.manual_seed(0)
    return MAKERS[request.param]()


@pytest.fixture(scope="module")
def data() -> Proposed:
    return Proposed(Shapes(6, size=96, radius=(10, 24), seed=3), Search(most=40))


def target(sample: dict, *names: str) -> dict[str, Tensor]:
    return {name: sample[name] for name in ("boxes", "labels", *names)}


def check_gradients(model: RegionDetector) -> None:
    found = [p.grad for p in model.parameters() if p.grad is not None]
    assert found and all(bool(torch.isfinite(g).all()) for g in found)


def test_training_and_detections(detector: RegionDetector, data: Proposed) -> None:
    samples = [data[k] for k in range(2)]
    images = torch.stack([s["image"] for s in samples])
    terms = detector.train()(images, [target(s, "proposals") for s in samples])
    assert terms.keys() == ({"class", "box"} if isinstance(detector, FastRCNN) else {"class"})
    assert all(term.ndim == 0 for term in terms.values())
    sum(terms.values()).backward()
    check_gradients(detector)
    with torch.no_grad():
        found = detector.eval()(images, proposals=[s["proposals"] for s in samples])
    assert len(found) == 2
    for one in found:
        assert one.keys() == {"boxes", "labels", "scores"}
        count = len(one["scores"])
        assert 0 < count <= 100 and one["boxes"].shape == (count, 4)
        assert bool((one["scores"].diff() <= 0).all())
        assert set(one["labels"].tolist()) <= {1, 2, 3, 4, 5}
        assert float(one["boxes"].min()) >= 0 and float(one["boxes"].max()) <= 96


def test_a_batch_is_its_pictures(detector: RegionDetector, data: Proposed) -> None:
    """R-CNN: pictures of any sizes. The others pad smaller ones, and convolutions see the padding."""
    detector.eval()
    spread_scores(detector)
    images = [data[k]["image"] for k in range(3)]
    if isinstance(detector, RCNN):
        images = [images[0], images[1][:, :57, :70], images[2][:, :40]]
    proposals = [data[k]["proposals"] for k in range(3)]
    with torch.no_grad():
        together = detector(images, proposals=proposals)
        for k in range(3):
            (alone,) = detector([images[k]], proposals=[proposals[k]])
            assert torch.equal(alone["labels"], together[k]["labels"])
            torch.testing.assert_close(alone["boxes"], together[k]["boxes"], atol=1e-3, rtol=1e-4)
            torch.testing.assert_close(alone["scores"], together[k]["scores"], atol=1e-4, rtol=1e-3)
            height, width = images[k].shape[1:]
            assert bool((alone["boxes"] <= torch.tensor([width, height, width, height])).all())


def spread_scores(detector: RegionDetector) -> None:
    """Fresh networks give nearly equal scores, whose order rounding would decide."""
    for name, parameter in detector.named_parameters():
        if name.endswith("cls_score.weight"):
            parameter.data *= 50


def test_without_proposals_it_searches(detector: RegionDetector, data: Proposed) -> None:
    detector.eval()
    image = data[4]["image"][:, :61, :83]
    with torch.no_grad():
        (own,) = detector([image])
        (given,) = detector([image], proposals=[detector.search(image)])
    assert torch.equal(own["boxes"], given["boxes"])


NONE = torch.zeros(0, 4)
POINT = torch.tensor([[5.0, 5.0, 5.0, 5.0], [9.0, 9.0, 4.0, 4.0], [-50.0, -50.0, -10.0, -9.0]])
THING = torch.tensor([[10.0, 10.0, 40.0, 50.0]])


@pytest.mark.parametrize(
    ("truth", "proposals"),
    [
        (NONE, THING),
        (THING, NONE),
        (NONE, NONE),
        (THING, POINT),
        (POINT, THING),
        (THING, THING),
        (POINT, POINT),
    ],
    ids=["no truth", "no proposal", "nothing", "points", "truth a point", "equal", "only points"],
)
def test_awkward_boxes_keep_gradients_finite(
    detector: RegionDetector, truth: Tensor, proposals: Tensor
) -> None:
    image = Shapes(1, size=64, radius=(8, 16))[0]["image"]
    labels = torch.ones(len(truth), dtype=torch.int64)
    one = {"boxes": truth, "labels": labels, "proposals": proposals}
    terms = detector.train()([image, image], [one, one])
    assert all(bool(torch.isfinite(term)) for term in terms.values())
    sum(terms.values()).backward()
    check_gradients(detector)
    with torch.no_grad():
        found = detector.eval()([image], proposals=[proposals])[0]
    assert bool(torch.isfinite(found["boxes"]).all())
    sides = found["boxes"][:, 2:] - found["boxes"][:, :2]
    assert len(sides) == 0 or float(sides.min()) > 0


def test_bad_input_is_named(detector: RegionDetector, data: Proposed) -> None:
    image = data[0]["image"]
    detector.train()
    with pytest.raises(ValueError, match="targets is None"):
        detector([image], proposals=[THING])
    with pytest.raises(ValueError, match="proposals has 2 entries; it must have 1"):
        detector([image], proposals=[THING, THING])
    with pytest.raises(ValueError, match="targets has 2 entries; it must have 1"):
        detector([image], [target(data[0])] * 2, proposals=[THING])
    with pytest.raises(ValueError, match="proposals has an entry of shape"):
        detector([image], [target(data[0])], proposals=[THING[0]])
    with pytest.raises(ValueError, match="finite"):
        detector([image], [target(data[0])], proposals=[THING / 0 * 0])
    with pytest.raises(ValueError, match=r"labels are 6\.\.6"):
        detector([image], [{"boxes": THING, "labels": torch.tensor([6])}], proposals=[THING])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: FastRCNN(1), "num_classes is 1"),
        (lambda: RCNN(2, context=48), "context is 48"),
        (lambda: SPPNet(2, zoom=0.0), "zoom is 0"),
    ],
    ids=["classes", "context", "zoom"],
)
def test_bad_options_are_named(make: Callable, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


# ---- R-CNN


def test_warping_is_a_resize_of_the_box_with_its_surroundings() -> None:
    """Whole boxes inside the picture, enlarged: torch's bilinear resize of the cut."""
    image = torch.rand(1, 3, 60, 80, generator=torch.Generator().manual_seed(0))
    found = warp(image, [torch.tensor([[20.0, 12.0, 36.0, 28.0]])], 32)
    whole = F.interpolate(image[..., 12:28, 20:36], (32, 32), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found[..., 1:-1, 1:-1], whole[..., 1:-1, 1:-1])
    # with context the box fills the middle of the crop
    found = warp(image, [torch.tensor([[20.0, 12.0, 36.0, 28.0]])], 32, context=8)
    torch.testing.assert_close(found, image[..., 4:36, 12:44])


def test_what_lies_outside_is_zero_the_mean() -> None:
    crops = warp(torch.ones(1, 3, 40, 40), [torch.tensor([[0.0, 0.0, 10.0, 10.0]])], 20, context=5)
    assert float(crops[..., :4, :].max()) == 0 and float(crops[..., 6:, 6:].min()) == 1


# ---- SPP-net


def test_sppnet_keeps_its_convolutions(data: Proposed) -> None:
    model = SPPNet(6, width=8).train()
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    terms = model([data[0]["image"]], [target(data[0], "proposals")])
    terms["class"].backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(torch.equal(v, before[k]) for k, v in model.backbone.state_dict().items())
    assert model.box_head.fc6.in_features == 64 * (1 + 4 + 16)


def test_sppnet_pools_what_it_says(data: Proposed) -> None:
    model = SPPNet(6, levels=(1, 3), zoom=2.0, width=8).eval()
    batch = model.scaler([data[0]["image"]])
    found = model.pooled(batch, [THING])
    large = F.interpolate(batch.tensor, scale_factor=2.0, mode="bilinear")
    features = model.backbone(large)["c5"]
    grids = [torchvision.ops.roi_pool(features, [2 * THING], k, 1 / 8).flatten(1) for k in (1, 3)]
    torch.testing.assert_close(found, torch.cat(grids, 1))


# ---- Fast R-CNN


def test_fast_rcnn_shares_one_map(data: Proposed) -> None:
    """The backbone runs once a batch, however many proposals there are."""
    model = FastRCNN(6, width=8).eval()
    seen = []
    model.backbone.register_forward_hook(lambda m, i, o: seen.append(tuple(i[0].shape)))
    model([data[0]["image"], data[1]["image"]], proposals=[data[k]["proposals"] for k in (0, 1)])
    assert seen == [(2, 3, 96, 96)]


# ---- the stages


def test_svm_finds_the_margin_with_hard_negatives_only() -> None:
    """With all negatives given to scikit-learn's machine at once the line is nearly the same."""
    from sklearn.svm import LinearSVC

    rng = np.random.default_rng(0)
    positive = rng.normal(1.5, 1.0, (60, 4)).astype(np.float32)
    negative = rng.normal(-1.0, 1.0, (20_000, 4)).astype(np.float32)
    weight, bias = fit_svm(positive, negative, seed=0)
    scores = [x @ weight + bias for x in (positive, negative)]
    assert (scores[0] > 0).mean() > 0.8 and (scores[1] < 0).mean() > 0.99
    x = np.concatenate([positive, negative]).astype(float)
    length = np.linalg.norm(x, axis=1).mean() / 20
    machine = LinearSVC(C=0.01, dual=False, intercept_scaling=10.0).fit(
        x / length, np.arange(len(x)) < 60
    )
    theirs = machine.decision_function(negative / length)
    assert np.corrcoef(theirs, scores[1])[0, 1] > 0.999
    scaled = fit_svm(100 * positive, 100 * negative, seed=0)
    np.testing.assert_allclose(scaled[0] * 100, weight, rtol=1e-2)


@pytest.mark.parametrize("name", ["rcnn", "sppnet"])
def test_stages_are_fitted_and_stored(name: str) -> None:
    torch.manual_seed(0)
    model = MAKERS[name]().eval()
    assert isinstance(model, StagedDetector)
    data = Proposed(Shapes(24, size=96, radius=(10, 24), seed=3), Search(most=40))
    sample = data[0]
    with torch.no_grad():
        before = model([sample["image"]], proposals=[sample["proposals"]])[0]
    assert {tuple(b) for b in before["boxes"].tolist()} <= {
        tuple(b) for b in sample["proposals"].tolist()
    }, "without regressors boxes stay where they are"
    counts = model.fit_stages(data, seed=0)
    truths = sum(len(data[k]["boxes"]) for k in range(24))
    assert counts["positives"] == truths
    assert counts["features"] == truths + sum(len(data[k]["proposals"]) for k in range(24))
    assert bool(model.fitted) and not model.training
    with torch.no_grad():
        after = model([sample["image"]], proposals=[sample["proposals"]])[0]
    copy = MAKERS[name]().eval()
    copy.load_state_dict(model.state_dict())
    with torch.no_grad():
        again = copy([sample["image"]], proposals=[sample["proposals"]])[0]
    assert all(torch.equal(after[k], again[k]) for k in after)
    # the regressors bring the boxes of the pictures that they were fitted to nearer to the truth
    with torch.no_grad():
        pooled = model.pooled(model.scaler([sample["image"]]), [sample["boxes"] + 2.0])
        moved = model.coder.decode(model.regressor(pooled), sample["boxes"] + 2.0)
    own = moved[torch.arange(len(moved)), sample["labels"] - 1]
    assert float((own - sample["boxes"]).abs().mean()) < 2.0


def test_stages_need_every_class() -> None:
    data = Proposed(Shapes(1, size=96, radius=(10, 24), count=1, seed=3), Search(most=10))
    with pytest.raises(ValueError, match="data holds no object of class"):
        MAKERS["sppnet"]().fit_stages(data)  # type: ignore[attr-defined]
