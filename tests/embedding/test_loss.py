import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons_lib.embedding import DiscriminativeLoss, discriminative_loss
from lessons_lib.embedding.pixels import number_instances
from tests.embedding.oracles import discriminative_loss_loop

NAMES = ("variance", "distance", "regularization")


def draw(seed, batch=2, dim=3, height=6, width=7, count=4, share=0.7):
    """Embeddings and random ids: unordered, with gaps, negative ones too."""
    rng = np.random.default_rng(seed)
    embedding = torch.from_numpy(rng.normal(0, 1.5, (batch, dim, height, width)))
    ids = rng.choice([-7, 3, 4, 12, 255, 1000, 70000], size=count, replace=False)
    labels = rng.choice(ids, (batch, height, width)) if count else np.zeros((batch, height, width))
    labels = np.where(rng.random(labels.shape) < share, labels, 0).astype(np.int64)
    return embedding, torch.from_numpy(labels)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    batch=st.integers(1, 3),
    dim=st.integers(1, 6),
    height=st.integers(1, 6),
    width=st.integers(1, 7),
    count=st.integers(0, 5),
    share=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    dv=st.sampled_from([0.0, 0.5, 2.0]),
    dd=st.sampled_from([0.0, 1.5, 4.0]),
    norm=st.sampled_from([1, 2]),
)
def test_equals_the_papers_equations(seed, batch, dim, height, width, count, share, dv, dd, norm):
    embedding, labels = draw(seed, batch, dim, height, width, count, share)
    got = discriminative_loss(embedding, labels, delta_var=dv, delta_dist=dd, gamma=1.0, norm=norm)
    expected = discriminative_loss_loop(embedding, labels, dv, dd, norm)
    for name, value in zip(NAMES, expected, strict=True):
        assert float(got[name]) == pytest.approx(float(value), rel=1e-6, abs=1e-12), name


@pytest.mark.parametrize("channels_last", [False, True])
def test_float32_is_close_to_float64(channels_last):
    embedding, labels = draw(1, 3, 16, 40, 40, 5)
    x = embedding.float()
    if channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    got = discriminative_loss(x, labels)
    exact = discriminative_loss(embedding, labels)
    for name in NAMES:
        assert got[name].dtype == torch.float32
        assert float(got[name]) == pytest.approx(float(exact[name]), rel=1e-5)


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("share", [0.4, 1.0])
def test_gradcheck(norm, channels_last, share):
    embedding, labels = draw(5, 2, 3, 5, 4, 3, share)
    if channels_last:
        embedding = embedding.contiguous(memory_format=torch.channels_last)

    def total(x):
        return sum(discriminative_loss(x, labels, gamma=0.1, norm=norm).values())

    assert torch.autograd.gradcheck(total, embedding.requires_grad_())


def test_gradient_equals_the_loops():
    embedding, labels = draw(6, 2, 3, 5, 4, 3)
    a, b = (embedding.clone().requires_grad_() for _ in range(2))
    sum(discriminative_loss(a, labels, gamma=1.0).values()).backward()
    discriminative_loss_loop(b, labels).sum().backward()
    torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-12)


def test_the_gradient_keeps_the_memory_format():
    x = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last).requires_grad_()
    labels = torch.ones(2, 8, 8, dtype=torch.long)
    (grad,) = torch.autograd.grad(sum(discriminative_loss(x, labels).values()), x)
    assert grad.is_contiguous(memory_format=torch.channels_last)


def test_numbers_worked_by_hand():
    # two instances on a line: {0, 2} with mean 1, and {3, 4} with mean 3.5
    embedding = torch.tensor([0.0, 2.0, 3.0, 4.0, 9.0]).view(1, 1, 1, 5)
    labels = torch.tensor([[[1, 1, 2, 2, 0]]])
    got = DiscriminativeLoss(gamma=1.0)(embedding, labels)
    # pull: (1 - 0.5)² = 0.25 for both pixels of the first; 0 for the second, at 0.5 from its mean
    assert float(got["variance"]) == pytest.approx(0.125)
    # push: (3 - 2.5)², for both ordered pairs, over 2·1
    assert float(got["distance"]) == pytest.approx(0.25)
    assert float(got["regularization"]) == pytest.approx((1 + 3.5) / 2)


def test_weights():
    embedding, labels = draw(8)
    one = discriminative_loss(embedding, labels, gamma=1.0)
    other = discriminative_loss(embedding, labels, alpha=2.0, beta=3.0, gamma=0.5)
    for name, factor in zip(NAMES, (2, 3, 0.5), strict=True):
        assert float(other[name]) == pytest.approx(factor * float(one[name]))


def test_small_instances_count_as_much_as_large_ones():
    """The mean over instances of means over pixels, which one public version gets wrong."""
    embedding = torch.zeros(1, 1, 1, 101)
    embedding[..., 99:] = torch.tensor([0.0, 10.0])
    labels = torch.tensor([1] * 99 + [2, 2]).view(1, 1, 101)
    got = discriminative_loss(embedding, labels)["variance"]
    assert float(got) == pytest.approx((0 + 4.5**2) / 2)


def test_ids_do_not_matter():
    embedding, labels = draw(9, count=4)
    renamed = labels.clone()
    for new, old in enumerate(labels.unique().tolist()):
        if old:
            renamed[labels == old] = 10**12 - 37 * new
    for name, value in discriminative_loss(embedding, labels).items():
        assert float(value) == pytest.approx(
            float(discriminative_loss(embedding, renamed)[name]), rel=1e-12
        )


def test_a_picture_without_instances_counts_as_zero_with_zero_gradient():
    embedding, labels = draw(10, batch=2)
    labels[1] = 0
    x = embedding.clone().requires_grad_()
    both = discriminative_loss(x, labels)
    alone = discriminative_loss(embedding[:1], labels[:1])
    for name in NAMES:
        assert both[name].item() == pytest.approx(float(alone[name]) / 2)
    sum(both.values()).backward()
    assert x.grad[1].abs().max() == 0
    assert x.grad[0].abs().max() > 0


def test_nothing_at_all():
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    got = discriminative_loss(x, torch.zeros(2, 4, 4, dtype=torch.long))
    assert [v.item() for v in got.values()] == [0, 0, 0]
    sum(got.values()).backward()
    assert x.grad.abs().max() == 0


def test_one_instance_is_not_pushed():
    embedding, _ = draw(11)
    got = discriminative_loss(embedding, torch.ones(2, 6, 7, dtype=torch.int32))
    assert float(got["distance"]) == 0
    assert float(got["variance"]) > 0


def test_ignored_ids():
    embedding, labels = draw(12, share=1.0)
    hidden = labels.clone()
    hidden[:, :2] = 999
    cleared = labels.clone()
    cleared[:, :2] = 0
    a = discriminative_loss(embedding, hidden, ignore_index=999)
    b = discriminative_loss(embedding, cleared)
    assert [float(v) for v in a.values()] == [float(v) for v in b.values()]
    x = embedding.clone().requires_grad_()
    sum(discriminative_loss(x, hidden, ignore_index=999).values()).backward()
    assert x.grad[:, :, :2].abs().max() == 0


@pytest.mark.parametrize("norm", [1, 2])
@pytest.mark.parametrize("delta_var", [0.0, 0.5])
def test_no_nan_where_a_pixel_is_its_mean_or_means_coincide(norm, delta_var):
    x = torch.zeros(1, 4, 4, 4, requires_grad=True)
    labels = torch.tensor([1, 1, 2, 2]).view(1, 1, 4).expand(1, 4, 4)
    got = discriminative_loss(x, labels, delta_var=delta_var, norm=norm)
    assert got["distance"].item() == pytest.approx(9.0)
    sum(got.values()).backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_in_float32_inside(dtype):
    embedding, labels = draw(13, 2, 8, 64, 64, 4)
    x = embedding.to(dtype).requires_grad_()
    got = discriminative_loss(x, labels)
    exact = discriminative_loss(x.detach().double(), labels)
    for name in NAMES:
        assert got[name].dtype == torch.float32
        assert float(got[name]) == pytest.approx(float(exact[name]), rel=1e-5)
    sum(got.values()).backward()
    assert x.grad.dtype == dtype and torch.isfinite(x.grad).all()


def test_more_pixels_than_one_block():
    rng = np.random.default_rng(0)
    embedding = torch.from_numpy(rng.normal(size=(2, 2, 200, 200)))
    labels = torch.from_numpy(rng.integers(0, 4, (2, 200, 200)))
    x = embedding.clone().requires_grad_()
    got = discriminative_loss(x, labels)
    sum(got.values()).backward()
    y = embedding.clone().requires_grad_()
    total = 0.0
    for picture, ids in zip(y, labels, strict=True):  # vectorised over pixels, loops over the rest
        groups = [picture[:, ids == c].T for c in (1, 2, 3)]
        means = torch.stack([g.mean(0) for g in groups])
        pull = sum(
            ((g - m).norm(dim=1) - 0.5).clamp(min=0).square().mean()
            for g, m in zip(groups, means, strict=True)
        )
        push = (3 - torch.pdist(means)).clamp(min=0).square().mean()
        total = total + (pull / 3 + push + 0.001 * means.norm(dim=1).mean()) / 2
    total.backward()
    assert float(sum(got.values())) == pytest.approx(float(total), rel=1e-12)
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-9, atol=1e-15)


def local_push_loop(embedding, labels, reach, dd=1.5):
    total = 0.0
    for x, ids in zip(embedding, labels, strict=True):
        found = []
        for c in sorted(set(ids.flatten().tolist()) - {0, -1}):
            where = (ids == c).nonzero().double()
            found.append((x[:, ids == c].mean(1), where.mean(0), (len(where) / torch.pi) ** 0.5))
        costs = [
            max(2 * dd - float((a[0] - b[0]).norm()), 0.0) ** 2
            for i, a in enumerate(found)
            for j, b in enumerate(found)
            if i != j and float((a[1] - b[1]).norm()) < reach * (a[2] + b[2])
        ]
        total += sum(costs) / max(1, len(costs))
    return total / len(embedding)


@pytest.mark.parametrize("reach", [0.3, 0.6, 1.0, 1.5, 100.0])
def test_pushing_neighbours_only(reach):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        coarse = rng.integers(0, 7, (2, 4, 5))  # blocks, so that centroids are apart
        labels = torch.from_numpy(coarse.repeat(4, axis=1).repeat(3, axis=2))
        embedding = torch.from_numpy(rng.normal(0, 1, (2, 3, 16, 15)))
        got = discriminative_loss(embedding, labels, reach=reach)
        assert got["distance"].item() == pytest.approx(
            local_push_loop(embedding, labels, reach), rel=1e-6, abs=1e-12
        )
        everyone = discriminative_loss(embedding, labels)
        assert torch.equal(got["variance"], everyone["variance"])
        if reach == 100.0:
            assert got["distance"].item() == pytest.approx(everyone["distance"].item())


def test_pushing_neighbours_only_has_the_right_gradient():
    labels = torch.tensor([[1, 1, 2, 2, 0, 0, 0, 0, 3, 3, 4, 4]]).repeat(2, 1)[None]
    embedding = torch.randn(1, 2, 2, 12, dtype=torch.float64).requires_grad_()

    def total(x):
        return sum(discriminative_loss(x, labels, reach=1.5).values())

    assert torch.autograd.gradcheck(total, embedding)


def test_numbering():
    labels = torch.tensor([[[0, 5, 5], [9, -1, 0]], [[5, 0, 0], [0, 0, 2]]])
    pixel, segment, picture = number_instances(labels)
    assert pixel.tolist() == [1, 2, 3, 6, 11]
    assert segment.tolist() == [0, 0, 1, 3, 2]
    assert picture.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"embedding": torch.zeros(3, 4, 4)}, ValueError, "embedding has shape"),
        ({"embedding": torch.zeros(1, 3, 4, 4).long()}, TypeError, "embedding is torch.int64"),
        ({"instances": torch.zeros(1, 4, 5).long()}, ValueError, "instances has shape"),
        ({"instances": torch.zeros(1, 4, 4)}, TypeError, "instances is torch.float32"),
        ({"delta_var": -1}, ValueError, "delta_var is -1"),
        ({"delta_dist": -0.1}, ValueError, "delta_dist is -0.1"),
        ({"norm": 3}, ValueError, "norm is 3"),
        ({"reach": 0}, ValueError, "reach is 0"),
    ],
)
def test_bad_input_is_named(change, error, words):
    arguments = {"embedding": torch.zeros(1, 3, 4, 4), "instances": torch.zeros(1, 4, 4).long()}
    with pytest.raises(error, match=words):
        discriminative_loss(**{**arguments, **change})
