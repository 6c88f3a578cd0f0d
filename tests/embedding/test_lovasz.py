import kornia
import numpy as np
import pytest
import torch

from lessons_lib.embedding import lovasz_hinge
from lessons_lib.embedding.lovasz import lovasz_hinge_of_pairs
from tests.embedding.oracles import lovasz_hinge_sorted


def draw(seed, count=4, shape=(9, 11), share=0.3, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    scores = torch.from_numpy(rng.normal(0, 1.5, (count, *shape))).to(dtype)
    return scores, torch.from_numpy(rng.random((count, *shape)) < share)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(10))
def test_equals_kornias(seed, share):
    scores, masks = draw(seed, share=share)
    ours = lovasz_hinge(scores, masks)
    assert ours.shape == (4,)
    for value, one, mask in zip(ours, scores, masks, strict=True):
        theirs = kornia.losses.lovasz_hinge_loss(one[None, None], mask[None].long())
        assert float(value) == pytest.approx(float(theirs), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_gradient_equals_kornias(seed):
    scores, masks = draw(seed)
    ours, theirs = (scores.clone().requires_grad_() for _ in range(2))
    lovasz_hinge(ours, masks).mean().backward()
    kornia.losses.lovasz_hinge_loss(theirs[:, None], masks.long()).backward()
    assert theirs.grad.abs().max() > 0
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_gradcheck():
    scores, masks = draw(0, count=2, shape=(3, 4))
    assert torch.autograd.gradcheck(lambda s: lovasz_hinge(s, masks), scores.requires_grad_())


def test_is_the_jaccard_loss_on_answers_of_plus_and_minus_one():
    """What makes it an extension: with F = ±1 it is twice 1 − IoU, an error of 2 a wrong pixel."""
    rng = np.random.default_rng(3)
    for _ in range(20):
        predicted, mask = rng.random((2, 6, 7)) < 0.4
        iou = (predicted & mask).sum() / (predicted | mask).sum()
        scores = torch.from_numpy(np.where(predicted, 1.0, -1.0))[None]
        assert float(lovasz_hinge(scores, torch.from_numpy(mask)[None])) == pytest.approx(
            2 - 2 * iou
        )


def test_by_hand():
    # errors 1 - F·y: 0.5, 1.5 inside, 1.2, 0 outside. Falling: 1.5 (in), 1.2 (out), 0.5 (in), 0.
    # J after each: 1 - 1/2, 1 - 1/3, 1 - 0/3, 1; steps 1/2, 1/6, 1/3, 0
    scores = torch.tensor([[0.5, -0.5, 0.2, -1.0]])
    masks = torch.tensor([[True, True, False, False]])
    assert float(lovasz_hinge(scores, masks)) == pytest.approx(1.5 / 2 + 1.2 / 6 + 0.5 / 3)


@pytest.mark.parametrize("seed", range(20))
def test_lists_of_pairs_equal_whole_masks(seed):
    """Pixels of error 0 may be left out; ids without any pair but their own pixels too."""
    rng = np.random.default_rng(seed)
    count, area = int(rng.integers(1, 6)), 30
    inside = torch.from_numpy(rng.random((count, area)) < 0.3)
    inside[:, 0] = True
    phi = torch.from_numpy(rng.random((count, area)) * (rng.random((count, area)) < 0.5))
    phi.requires_grad_()
    errors = torch.where(inside, 2 - 2 * phi, 2 * phi)
    kept = inside | (errors.detach() > 0)
    owner, place = kept.nonzero(as_tuple=True)
    got = lovasz_hinge_of_pairs(errors[owner, place], inside[owner, place], owner, inside.sum(1))
    expected = torch.stack(
        [lovasz_hinge_sorted(2 * p - 1, m) for p, m in zip(phi, inside, strict=True)]
    )
    torch.testing.assert_close(got, expected)
    (ours,) = torch.autograd.grad(got.sum(), phi, retain_graph=True)
    (theirs,) = torch.autograd.grad(expected.sum(), phi)
    differs = (ours - theirs).abs() > 1e-12
    assert not (differs & kept).any()


def test_no_masks():
    assert lovasz_hinge(torch.zeros(0, 5), torch.zeros(0, 5, dtype=torch.bool)).shape == (0,)


def test_refuses_wrong_input():
    scores, masks = draw(0)
    with pytest.raises(TypeError, match=r"scores is torch\.bool"):
        lovasz_hinge(masks, masks)
    with pytest.raises(TypeError, match=r"masks is torch\.float64"):
        lovasz_hinge(scores, scores)
    with pytest.raises(ValueError, match=r"\(4, 9, 11\) and masks \(3, 9, 11\)"):
        lovasz_hinge(scores, masks[1:])
    with pytest.raises(ValueError, match=r"must be \(N, …\)"):
        lovasz_hinge(scores[0, 0], masks[0, 0])


def test_half_precision_counts_many_pixels():
    scores, masks = draw(0, count=1, shape=(100_000,))
    got = lovasz_hinge(scores.half(), masks)
    assert got.dtype == torch.float32
    assert float(got) == pytest.approx(float(lovasz_hinge(scores, masks)), rel=1e-3)
