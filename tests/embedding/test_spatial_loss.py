import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons_lib.embedding import SpatialEmbeddingLoss, spatial_embedding_loss
from lessons_lib.embedding import spatial_loss as module
from tests.embedding.oracles import spatial_embedding_loop

TERMS = ("instance", "smoothness", "seed")
WEIGHTS = {"instance": 1.0, "smoothness": 10.0, "seed": 1.0}


def draw(seed, batch=2, height=12, width=13, count=4, share=0.7, channels=2, classes=1, spread=0.1):
    """Raw outputs and random ids: unordered, with gaps, negative ones too; instances are blobs or dust."""
    rng = np.random.default_rng(seed)
    ids = rng.choice([-7, 3, 4, 12, 255, 1000, 70000], size=count, replace=False)
    labels = np.zeros((batch, height, width), np.int64)
    for picture in labels:
        for k in ids:
            y, x = rng.integers(height), rng.integers(width)
            picture[y : y + rng.integers(1, 7), x : x + rng.integers(1, 7)] = k
        picture[rng.random(picture.shape) > share] = 0

    def normal(n, mean, deviation):
        return torch.from_numpy(rng.normal(mean, deviation, (batch, n, height, width)))

    outputs = {
        "offset": normal(2, 0, spread),
        "sigma": normal(channels, 0.3, 0.2),
        "seed": normal(classes, 0, 1.5),
    }
    semantic = torch.from_numpy(rng.integers(1, classes + 1, labels.shape)) * torch.from_numpy(
        labels != 0
    )
    return outputs, torch.from_numpy(labels), semantic


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    batch=st.integers(1, 3),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    count=st.integers(0, 6),
    share=st.sampled_from([0.05, 0.6, 1.0]),
    sigma=st.sampled_from(["fixed", "one", "two"]),
    center=st.sampled_from(["centroid", "learned"]),
    unit=st.sampled_from([8.0, 32.0, 1024.0]),
    spread=st.sampled_from([0.0, 0.1, 1.0]),
    classes=st.integers(1, 3),
    foreground=st.sampled_from([1.0, 10.0]),
)
def test_equals_a_plain_transcription(
    seed, batch, height, width, count, share, sigma, center, unit, spread, classes, foreground
):
    channels = {"fixed": 2, "one": 1, "two": 2}[sigma]
    outputs, labels, semantic = draw(
        seed, batch, height, width, count, share, channels, classes, spread
    )
    margin = 2.5 if sigma == "fixed" else None
    truth = semantic if classes > 1 else None
    got = spatial_embedding_loss(
        outputs, labels, truth,
        sigma=sigma, center=center, unit=unit, margin=margin, foreground_weight=foreground,
    )  # fmt: skip
    expected = spatial_embedding_loop(
        outputs, labels, sigma, center, unit, margin, truth, foreground
    )
    for name in TERMS:
        value = WEIGHTS[name] * float(expected[name])
        assert float(got[name]) == pytest.approx(value, rel=1e-6, abs=1e-6), name


@pytest.mark.parametrize("sigma", ["fixed", "one", "two"])
@pytest.mark.parametrize("center", ["centroid", "learned"])
def test_gradients_equal_those_of_the_transcription(sigma, center):
    outputs, labels, _ = draw(5, channels=1 if sigma == "one" else 2)
    grads = []
    for loss in (spatial_embedding_loss, spatial_embedding_loop):
        leaves = {name: value.clone().requires_grad_() for name, value in outputs.items()}
        kwargs = {"sigma": sigma, "center": center, "unit": 16.0}
        kwargs["margin"] = 2.0 if sigma == "fixed" else None
        terms = loss(leaves, labels, **kwargs)
        weights = {name: 1.0 for name in TERMS} if loss is spatial_embedding_loss else WEIGHTS
        sum(weights[name] * terms[name] for name in TERMS).backward()
        grads.append(leaves)
    used = ("offset", "seed") if sigma == "fixed" else ("offset", "sigma", "seed")
    for name in used:
        ours, theirs = grads[0][name].grad, grads[1][name].grad
        assert theirs.abs().max() > 0
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("sigma", ["fixed", "two"])
def test_gradcheck(sigma):
    outputs, labels, _ = draw(3, batch=1, height=5, width=6, count=2, share=1.0)
    leaves = [outputs[name].requires_grad_() for name in ("offset", "sigma", "seed")]

    # φ has no gradient in the seed term, which finite differences would not know: seed alone is free there
    def instance_and_smoothness(offset, raw):
        terms = spatial_embedding_loss(
            {"offset": offset, "sigma": raw, "seed": leaves[2].detach()},
            labels,
            sigma=sigma,
            unit=4.0,
            margin=2.0 if sigma == "fixed" else None,
        )
        return terms["instance"] + terms["smoothness"]

    def seed_term(seed):
        fixed = {name: outputs[name].detach() for name in ("offset", "sigma")}
        return spatial_embedding_loss({**fixed, "seed": seed}, labels, unit=4.0)["seed"]

    assert torch.autograd.gradcheck(instance_and_smoothness, leaves[:2], eps=1e-7, atol=1e-5)
    assert torch.autograd.gradcheck(seed_term, leaves[2:], eps=1e-7, atol=1e-5)


def test_what_is_left_out_changes_the_loss_by_less_than_promised(monkeypatch):
    worst, fewer = 0.0, 0
    for seed in range(60):
        outputs, labels, _ = draw(seed, batch=1, height=40, width=40, count=5, spread=0.3)
        pairs = []
        for negligible in (0.0, module.NEGLIGIBLE, 1e-3):
            # log(0) has no value: a number whose logarithm is below that of every φ here stands for 0
            monkeypatch.setattr(module, "NEGLIGIBLE", negligible or 1e-300)
            counted = []
            plain = module.lovasz_hinge_of_pairs
            monkeypatch.setattr(
                module,
                "lovasz_hinge_of_pairs",
                lambda errors, *rest, plain=plain, counted=counted: (
                    counted.append(len(errors)) or plain(errors, *rest)
                ),
            )
            value = float(spatial_embedding_loss(outputs, labels, unit=16.0)["instance"])
            monkeypatch.setattr(module, "lovasz_hinge_of_pairs", plain)
            monkeypatch.setattr(module, "NEGLIGIBLE", 5e-8)
            pairs.append((value, counted[0]))
        worst = max(worst, abs(pairs[0][0] - pairs[1][0]))
        fewer += pairs[1][1] < pairs[0][1]
        assert abs(pairs[0][0] - pairs[2][0]) <= 2e-3  # the bound is 2 φ, whatever the threshold
    assert fewer == 60
    assert worst <= 1e-7


def test_float32_is_close_to_float64():
    outputs, labels, _ = draw(1, batch=3, height=64, width=64, count=6, spread=0.05)
    exact = spatial_embedding_loss(outputs, labels, unit=64.0)
    for dtype in (torch.float32, torch.bfloat16):
        rounded = {name: value.to(dtype) for name, value in outputs.items()}
        same = {name: value.double() for name, value in rounded.items()}
        got = spatial_embedding_loss(rounded, labels, unit=64.0)
        exact = spatial_embedding_loss(same, labels, unit=64.0)
        for name in TERMS:
            assert got[name].dtype == torch.float32
            assert float(got[name]) == pytest.approx(float(exact[name]), rel=2e-5)


def test_does_not_depend_on_the_place_of_a_crop():
    outputs, labels, _ = draw(2, batch=1, height=20, width=20, count=3, share=1.0)
    whole = {
        name: torch.full((1, v.shape[1], 90, 150), -40.0).double() for name, v in outputs.items()
    }
    empty = torch.zeros(1, 90, 150, dtype=torch.long)
    values = []
    for y, x in [(0, 0), (61, 117)]:
        placed = {name: value.clone() for name, value in whole.items()}
        placed["offset"].zero_()
        placed["sigma"].fill_(3.0)
        there = empty.clone()
        for name, value in outputs.items():
            placed[name][:, :, y : y + 20, x : x + 20] = value
        there[:, y : y + 20, x : x + 20] = labels
        terms = spatial_embedding_loss(placed, there, unit=16.0)
        values.append([float(terms[name]) for name in TERMS])
    # 30 px around the crop at (0, 0) are missing on two sides, where nothing points into an instance
    assert values[0] == pytest.approx(values[1], rel=1e-9)


def test_ignored_pixels_take_no_part():
    outputs, labels, _ = draw(4, batch=2, count=3, share=1.0)
    ignored = torch.from_numpy(np.random.default_rng(0).random(labels.shape) < 0.3)
    hidden = labels.masked_fill(ignored, -1)
    leaves = {name: value.clone().requires_grad_() for name, value in outputs.items()}
    terms = spatial_embedding_loss(leaves, hidden, unit=16.0)
    sum(terms.values()).backward()
    for leaf in leaves.values():
        assert leaf.grad.permute(0, 2, 3, 1)[ignored].abs().max() == 0
        assert leaf.grad.permute(0, 2, 3, 1)[~ignored].abs().max() > 0
    by_class = spatial_embedding_loss(
        outputs, labels, torch.where(ignored, 255, (labels != 0).long()), unit=16.0
    )
    expected = spatial_embedding_loop(outputs, hidden, "two", "learned", 16.0)
    for name in TERMS:
        assert float(terms[name]) == pytest.approx(WEIGHTS[name] * float(expected[name]), abs=1e-7)
        assert float(by_class[name]) == pytest.approx(float(terms[name]), abs=1e-9)


def test_pictures_without_and_with_one_instance():
    outputs, labels, _ = draw(6, batch=2, count=1, share=1.0)
    labels[0] = 0
    leaves = {name: value.clone().requires_grad_() for name, value in outputs.items()}
    terms = spatial_embedding_loss(leaves, labels, unit=16.0)
    sum(terms.values()).backward()
    assert leaves["offset"].grad[0].abs().max() == 0 < leaves["offset"].grad[1].abs().max()
    assert leaves["seed"].grad[0].abs().min() > 0
    alone = {name: value[1:] for name, value in outputs.items()}
    one = spatial_embedding_loss(alone, labels[1:], unit=16.0)
    # half of the mean over two pictures, of which one has none
    assert float(terms["instance"]) == pytest.approx(float(one["instance"]) / 2)
    nothing = spatial_embedding_loss(leaves, torch.zeros_like(labels), unit=16.0)
    assert float(nothing["instance"]) == float(nothing["smoothness"]) == 0 < float(nothing["seed"])
    sum(nothing.values()).backward()


def test_a_perfect_answer_costs_nothing():
    labels = torch.zeros(1, 24, 24, dtype=torch.long)
    labels[0, 2:9, 3:8], labels[0, 12:22, 10:22] = 5, 9
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    offset = torch.zeros(1, 2, 24, 24)
    for k in (5, 9):
        mask = labels[0] == k
        for axis, place in enumerate((x, y)):
            offset[0, axis][mask] = torch.atanh((place[mask].mean() - place[mask]) / 16)
    seed = torch.where(labels[:, None] > 0, 30.0, -30.0)
    outputs = {"offset": offset, "sigma": torch.full((1, 2, 24, 24), 1.0), "seed": seed}
    terms = spatial_embedding_loss(outputs, labels, unit=16.0)
    assert all(float(value) < 1e-4 for value in terms.values())


def test_a_huge_sigma_is_no_infinity():
    outputs, labels, _ = draw(7)
    outputs = {name: value.float() for name, value in outputs.items()}
    outputs["sigma"] = torch.full_like(outputs["sigma"], 50.0).requires_grad_()
    terms = spatial_embedding_loss(outputs, labels)
    sum(terms.values()).backward()
    assert all(torch.isfinite(value) for value in terms.values())
    assert torch.isfinite(outputs["sigma"].grad).all()


def test_module_keeps_its_options():
    outputs, labels, _ = draw(8, channels=1)
    loss = SpatialEmbeddingLoss("one", "centroid", unit=16.0, seed_weight=3.0)
    expected = spatial_embedding_loss(
        outputs, labels, sigma="one", center="centroid", unit=16.0, seed_weight=3.0
    )
    got = loss(outputs, labels)
    assert {k: float(v) for k, v in got.items()} == {k: float(v) for k, v in expected.items()}
    assert "unit=16.0" in repr(loss)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"sigma": "three"}, ValueError, "sigma is 'three'"),
        ({"center": "mean"}, ValueError, "center is 'mean'"),
        ({"unit": 0.0}, ValueError, "unit is 0"),
        ({"sigma": "fixed"}, ValueError, "margin is None"),
        ({"sigma": "two", "margin": 3.0}, ValueError, "margin is 3.0"),
        ({"sigma": "fixed", "margin": -1.0}, ValueError, "margin is -1"),
        ({"sigma": "one"}, ValueError, "sigma has shape"),
    ],
)
def test_refuses_options(change, error, words):
    outputs, labels, _ = draw(0)
    with pytest.raises(error, match=words):
        spatial_embedding_loss(outputs, labels, **change)


def test_refuses_wrong_input():
    outputs, labels, _ = draw(0, classes=2)
    with pytest.raises(ValueError, match="2 seed maps need the classes"):
        spatial_embedding_loss(outputs, labels)
    with pytest.raises(ValueError, match=r"semantic runs from 0 to 3"):
        spatial_embedding_loss(outputs, labels, torch.where(labels != 0, 3, 0))
    with pytest.raises(TypeError, match=r"instances is torch\.float32"):
        spatial_embedding_loss(outputs, labels.float(), labels)
    with pytest.raises(ValueError, match="instances has shape"):
        spatial_embedding_loss(outputs, labels[:, 1:], labels)
    with pytest.raises(KeyError, match="outputs lacks seed"):
        spatial_embedding_loss({"offset": outputs["offset"], "sigma": outputs["sigma"]}, labels)
    with pytest.raises(TypeError, match=r"offset is torch\.int64"):
        spatial_embedding_loss({**outputs, "offset": outputs["offset"].long()}, labels, labels)
    with pytest.raises(ValueError, match="seed has shape"):
        spatial_embedding_loss({**outputs, "seed": outputs["seed"][..., 1:]}, labels, labels)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_integer_type(dtype):
    outputs, labels, _ = draw(9, count=3, share=1.0)
    small = torch.where(labels != 0, labels.remainder(5) + 1, 0)
    hidden = (small != 0) & (torch.arange(13) % 3 == 0)
    classes = torch.where(hidden, 255, (small != 0).long())
    assert hidden.any()
    expected = spatial_embedding_loss(outputs, small, classes, unit=16.0)
    got = spatial_embedding_loss(outputs, small.to(dtype), classes, unit=16.0)
    assert {k: float(v) for k, v in got.items()} == {k: float(v) for k, v in expected.items()}


def test_a_batch_of_no_pictures():
    outputs = {n: torch.zeros(0, c, 8, 8) for n, c in [("offset", 2), ("sigma", 2), ("seed", 1)]}
    terms = spatial_embedding_loss(outputs, torch.zeros(0, 8, 8, dtype=torch.long))
    assert float(terms["instance"]) == float(terms["smoothness"]) == 0
