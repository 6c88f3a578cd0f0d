import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

from lessons_lib.saliency import (
    boundary_iou_loss,
    brightness,
    depth_loss,
    hide_blocks,
    measured_median,
    rgbd_recipes,
    smoothness_loss,
    structure_loss,
)


def random_maps(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).uniform(size=shape).astype(np.float32))


def plain_structure_loss(logits, truth, window):
    """Pixel by pixel, in float64, from the paper's sentences."""
    half, (height, width) = window // 2, truth.shape
    entropies = weights = both = either = 0.0
    for y in range(height):
        for x in range(width):
            total = 0.0
            for v in range(y - half, y + half + 1):
                for u in range(x - half, x + half + 1):
                    if 0 <= v < height and 0 <= u < width:
                        total += truth[v, u]
            weight = 1 + 5 * abs(total / window**2 - truth[y, x])
            p = 1 / (1 + np.exp(-logits[y, x]))
            entropies -= weight * (truth[y, x] * np.log(p) + (1 - truth[y, x]) * np.log(1 - p))
            weights += weight
            both += weight * p * truth[y, x]
            either += weight * (p + truth[y, x])
    return entropies / weights + 1 - (both + 1) / (either - both + 1)


@pytest.mark.parametrize("window", [1, 3, 7])
def test_structure_loss_is_the_papers(window):
    logits = 4 * random_maps(0, 3, 1, 9, 11) - 2
    truth = (random_maps(1, 3, 1, 9, 11) > 0.6).float()
    truth[2] = 0
    expected = [
        plain_structure_loss(a[0].double().numpy(), b[0].double().numpy(), window)
        for a, b in zip(logits, truth, strict=True)
    ]
    assert structure_loss(logits, truth, window).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_weights_of_the_structure_loss_weigh():
    """What the released code loses: an error at the outline costs more than one in the middle."""
    truth = torch.zeros(1, 1, 32, 32)
    truth[..., 8:24, 8:24] = 1
    good = 8 * truth - 4
    outline, middle = good.clone(), good.clone()
    outline[..., 8, 8:12] = -4
    middle[..., 16, 14:18] = -4
    assert structure_loss(outline, truth, 9) > 1.2 * structure_loss(middle, truth, 9)
    plain = [F.binary_cross_entropy_with_logits(x, truth) for x in (outline, middle)]
    assert plain[0] == pytest.approx(float(plain[1]), rel=1e-6)


def test_smoothness_is_scipys_sobel_put_together():
    saliency, guide = random_maps(2, 2, 1, 12, 15), random_maps(3, 2, 1, 12, 15)
    expected = []
    for own, other in zip(saliency[:, 0].numpy(), guide[:, 0].numpy(), strict=True):
        total = 0.0
        for axis in (0, 1):
            s, g = (
                ndimage.sobel(m.astype(np.float64), axis, mode="nearest") / 8 for m in (own, other)
            )
            total += np.sqrt((s * np.exp(-10 * np.abs(g))) ** 2 + 1e-6).mean()
        expected.append(total)
    assert smoothness_loss(saliency, guide).tolist() == pytest.approx(expected, rel=1e-4)


def test_an_edge_costs_less_where_the_guide_has_one():
    edge = torch.zeros(1, 1, 16, 16)
    edge[..., 8:] = 1
    elsewhere = edge.roll(4, -1)
    assert smoothness_loss(edge, edge) < 0.1 * smoothness_loss(edge, elsewhere)


def test_boundary_loss_is_scipys_sobel_put_together():
    depth, light = random_maps(4, 2, 1, 10, 13), random_maps(5, 2, 1, 10, 13)
    expected = []
    for pair in zip(depth[:, 0].numpy(), light[:, 0].numpy(), strict=True):
        c = [
            np.tanh(
                20
                * np.hypot(*(ndimage.sobel(m.astype(float), a, mode="nearest") / 8 for a in (1, 0)))
            )
            for m in pair
        ]
        expected.append(1 - 2 * (c[0] * c[1]).sum() / (c[0].sum() + c[1].sum()))
    assert boundary_iou_loss(depth, light).tolist() == pytest.approx(expected, rel=1e-4)


def test_boundary_loss_of_like_and_unlike_edges():
    a = torch.zeros(1, 1, 16, 16)
    a[..., 8:] = 1
    assert (
        boundary_iou_loss(a, a) < 0.01 < 0.85 < boundary_iou_loss(a, a.roll(4, -2).transpose(2, 3))
    )
    flat = torch.full((1, 1, 16, 16), 0.5, requires_grad=True)
    boundary_iou_loss(flat, a).sum().backward()
    assert torch.isfinite(flat.grad).all()


def test_depth_loss_asks_nothing_where_nothing_is_known():
    refined, image = random_maps(6, 1, 1, 8, 8), random_maps(7, 1, 3, 8, 8)
    target = refined + 0.05
    target[..., :4] = 0
    changed = refined.clone()
    changed[..., :4] += 0.3
    assert (
        depth_loss(refined, target, image)["depth"] == depth_loss(changed, target, image)["depth"]
    )
    expected = F.smooth_l1_loss(refined[..., 4:], target[..., 4:], beta=0.02)
    assert float(depth_loss(refined, target, image)["depth"]) == pytest.approx(float(expected))
    nothing = depth_loss(refined, torch.zeros_like(target), image)["depth"]
    assert float(nothing) == 0


def test_hidden_blocks_are_zero_and_whole():
    depth = torch.ones(200, 1, 20, 24)
    hidden = hide_blocks(depth, share=0.3, side=8)
    assert set(hidden.unique().tolist()) == {0, 1}
    assert 0.25 < float((hidden == 0).float().mean()) < 0.35
    blocks = hidden[..., :16, :24].unfold(2, 8, 8).unfold(3, 8, 8).flatten(4)
    assert (blocks.amin(-1) == blocks.amax(-1)).all()


def test_brightness_of_white_and_of_green():
    image = torch.zeros(2, 3, 2, 2)
    image[0], image[1, 1] = 1, 1
    assert brightness(image)[:, 0, 0, 0].tolist() == pytest.approx([1, 0.587])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"logits has shape \(1, 1, 4, 4\)"):
        structure_loss(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 5))
    with pytest.raises(ValueError, match="window is 4"):
        structure_loss(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), 4)


@pytest.mark.parametrize("window", [3, 5])
def test_median_of_what_was_measured(window):
    depth = random_maps(8, 2, 1, 9, 8)
    depth[depth < 0.4] = 0
    depth[1, 0, :6, :6] = 0
    reach = window // 2
    padded = np.pad(depth[:, 0].numpy(), ((0, 0), (reach, reach), (reach, reach)), "edge")
    expected = np.zeros((2, 9, 8), np.float32)
    for b in range(2):
        for y in range(9):
            for x in range(8):
                values = np.sort(padded[b, y : y + window, x : x + window].ravel())
                values = values[values > 0]
                if len(values):
                    expected[b, y, x] = values[(len(values) - 1) // 2]
    assert np.array_equal(measured_median(depth, window)[:, 0].numpy(), expected)
    assert expected[1, 2, 2] == 0
    assert torch.equal(measured_median(depth, 1), depth)
    with pytest.raises(ValueError, match="window is 4"):
        measured_median(depth, 4)


@pytest.mark.parametrize(("size", "window"), [(352, 31), (64, 7), (4, 1)])
def test_the_window_of_the_structure_loss_grows_with_the_picture(size, window, monkeypatch):
    asked = []
    monkeypatch.setattr(
        rgbd_recipes,
        "structure_loss",
        lambda logits, truth, window: asked.append(window) or logits.sum(),
    )
    maps = torch.zeros(1, 1, 4, 4)
    rgbd_recipes.RGBDUCNet()._saliency(maps, maps, maps, {"loss": "structure", "size": size})
    assert asked == [window]


def test_depth_loss_takes_nan_as_unknown():
    refined, image = random_maps(6, 1, 1, 8, 8), random_maps(7, 1, 3, 8, 8)
    target = refined + 0.05
    holes, unknown = target.clone(), target.clone()
    holes[..., :4], unknown[..., :4] = 0, torch.nan
    refined.requires_grad_()
    expected = depth_loss(refined, holes, image)["depth"]
    (wanted,) = torch.autograd.grad(expected.sum(), refined)
    found = depth_loss(refined, unknown, image)["depth"]
    (gradient,) = torch.autograd.grad(found.sum(), refined)
    assert torch.equal(found, expected) and torch.equal(gradient, wanted)
