import copy
import itertools

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from lessons_lib.backbones import VGG16
from lessons_lib.saliency import (
    ChannelAttention,
    DenseASPP,
    DepthCorrectionNet,
    DiagonalGaussian,
    Encoder,
    PosteriorNet,
    PredictionNet,
    PriorNet,
    ResidualChannelAttention,
    RGBDNet,
    SaliencyNet,
    UCNet,
    dropout_on,
    expand_features,
    numpy_noise,
)

SMALL = {"backbone": "small", "channels": 8, "dilations": (1, 2)}
UC = {**SMALL, "width": 4, "grid": 2}


def uniform(seed, *shape):
    return torch.from_numpy(np.random.default_rng(seed).uniform(size=shape).astype(np.float32))


def pictures(batch=2, height=48, width=40, seed=0):
    return (
        uniform(seed, batch, 3, height, width),
        uniform(seed + 1, batch, 1, height, width),
        (uniform(seed + 2, batch, 1, height, width) > 0.7).float(),
    )


def test_channel_attention_is_torchvisions():
    ours = ChannelAttention(12, 3)
    theirs = torchvision.ops.SqueezeExcitation(12, 4)
    for a, b in zip((ours.excite[0], ours.excite[2]), (theirs.fc1, theirs.fc2), strict=True):
        b.load_state_dict(a.state_dict())
    x = uniform(0, 2, 12, 5, 7)
    torch.testing.assert_close(ours(x), theirs(x))


def test_residual_channel_attention_begins_as_a_shortcut_plus_something():
    block = ResidualChannelAttention(8)
    x = uniform(1, 1, 8, 6, 6)
    torch.testing.assert_close(block(x), x + block.residual(x))
    nn.init.zeros_(block.residual[2].weight)
    nn.init.zeros_(block.residual[2].bias)
    torch.testing.assert_close(block(x), x)


def test_dense_aspp_layers_see_all_earlier_ones():
    module = DenseASPP(10, 4, (1, 2, 3))
    assert [layer[0].in_channels for layer in module.layers] == [10, 14, 18]
    assert module.mix.in_channels == 22 and module(uniform(2, 2, 10, 9, 7)).shape == (2, 4, 9, 7)
    # a chain of 3 x 3 convolutions with dilations 1, 2, 3 sees 1 + 2 (1 + 2 + 3) = 13 cells a side
    module.eval()
    for parameter in module.parameters():
        parameter.data.abs_()
    x = uniform(3, 1, 10, 31, 31).requires_grad_()
    module(x)[0, :, 15, 15].sum().backward()
    rows = x.grad.abs().sum((0, 1, 3)).nonzero()
    assert (int(rows.min()), int(rows.max())) == (9, 21)


def test_the_papers_latent_net_does_not_know_where():
    image, depth, truth = pictures()
    order = torch.from_numpy(np.random.default_rng(0).permutation(48 * 40))
    mixed = [x.flatten(2)[..., order].reshape(x.shape) for x in (image, depth, truth)]
    for net, given in ((PriorNet(4), 2), (PosteriorNet(4), 3)):
        a, b = net(*(image, depth, truth)[:given]), net(*mixed[:given])
        torch.testing.assert_close(a.mean, b.mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(a.log_variance, b.log_variance, rtol=1e-4, atol=1e-5)
    released = PriorNet(4, "released", width=4, grid=2)
    assert not torch.allclose(released(image, depth).mean, released(*mixed[:2]).mean, atol=1e-3)


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("size", [(32, 32), (75, 50), (352, 352)])
def test_latent_nets_take_any_size(variant, size):
    image, depth, truth = pictures(2, *size)
    gaussian = PosteriorNet(5, variant, width=4, grid=11)(image, depth, truth)
    assert gaussian.mean.shape == gaussian.log_variance.shape == (2, 5)


def test_the_released_latent_net_has_the_released_codes_parameters():
    # five convolutions with biases, five normalisations, and two dense layers of 11 x 11 x 256 → 3
    sizes = [4, 32, 64, 128, 256, 256]
    convolutions = sum(16 * a * b + b for a, b in itertools.pairwise(sizes))
    norms = sum(2 * b for b in sizes[1:])
    dense = 2 * (11 * 11 * 256 * 3 + 3)
    net = PriorNet(3, "released")
    assert sum(p.numel() for p in net.parameters()) == convolutions + norms + dense


def test_expanded_features_are_draws_from_the_gaussian():
    gaussian = DiagonalGaussian(torch.tensor([[1.0, -2.0]]), torch.tensor([[0.0, np.log(4.0)]]))
    noise = numpy_noise((1, 2, 200, 200), 1)
    z = expand_features(gaussian, noise, (200, 200))
    assert z.mean((0, 2, 3)).tolist() == pytest.approx([1, -2], abs=0.02)
    assert z.std((0, 2, 3)).tolist() == pytest.approx([1, 2], abs=0.02)
    vector = expand_features(gaussian, noise[..., 0, 0], (3, 4))
    assert vector.shape == (1, 2, 3, 4)
    torch.testing.assert_close(vector[..., 2, 1], gaussian.sample(noise[..., 0, 0]))
    with pytest.raises(ValueError, match=r"noise has shape \(1, 2, 3, 3\)"):
        expand_features(gaussian, noise[..., :3, :3], (3, 4))


def test_a_fixed_order_of_channels_is_absorbed_by_the_convolution():
    """Why PredictionNet has no "learnable ranking"."""
    net = PredictionNet(6, 4)
    features, z = uniform(4, 2, 6, 5, 5), uniform(5, 2, 4, 5, 5)
    order = torch.from_numpy(np.random.default_rng(1).permutation(10))
    expected = net(features, z)
    shuffled = torch.cat([features, z], 1)[:, order]
    net.layers[0].weight.data = net.layers[0].weight.data[:, order]
    torch.testing.assert_close(net.layers(shuffled), expected)


@pytest.mark.parametrize("variant", ["paper", "released"])
@pytest.mark.parametrize("prior", ["learned", "standard", "none"])
def test_ucnet_gives_what_it_says(variant, prior):
    model = UCNet(variant, prior=prior, latent=3, **UC)
    image, depth, truth = pictures()
    outputs = model(image, depth, truth, draw_prior=True)
    assert outputs["logits"].shape == (2, 1, 48, 40)
    assert outputs["refined"].shape == (2, 1, 48, 40)
    if prior == "none":
        assert "kl" not in outputs
    else:
        assert outputs["kl"].shape == (2,) and (outputs["kl"] >= 0).all()
        assert outputs["prior_logits"].shape == (2, 1, 48, 40)
    sum(value.float().mean() for value in outputs.values()).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert missing == []
    model.eval()
    noise = numpy_noise((5, *model.noise_shape(image)), 3)
    samples = model.sample(image, depth, noise)
    assert samples.shape == (5, 2, 1, 48, 40) and samples.min() >= 0 and samples.max() <= 1
    torch.testing.assert_close(samples, model.sample(image, depth, noise))
    assert torch.equal(samples[0], samples[1]) == (prior == "none")


def test_standard_prior_is_the_standard_normal():
    model = UCNet("paper", prior="standard", latent=2, **UC)
    image, depth, truth = pictures()
    gaussian = model.posterior_net(image, depth, truth)
    torch.testing.assert_close(model(image, depth, truth)["kl"], gaussian.kl())


def test_where_the_latent_vector_joins():
    image, _depth, _ = pictures()
    paper, released = (
        UCNet("paper", latent=3, **UC).eval(),
        UCNet("released", latent=3, **UC).eval(),
    )
    assert paper.saliency_net.encoder.backbone.stem[0].in_channels == 4
    assert released.saliency_net.encoder.backbone.stem[0].in_channels == 7
    assert paper.noise_shape(image) == (2, 3, 24, 20) and released.noise_shape(image) == (2, 3)
    assert UCNet("paper", noise="vector", latent=3, **UC).noise_shape(image) == (2, 3)
    assert UCNet("paper").latent == 8 and UCNet("released").latent == 3


def test_samples_do_not_depend_on_the_neighbours_in_the_batch():
    image, depth, _ = pictures(3)
    model = UCNet("paper", latent=3, **UC).eval()
    noise = numpy_noise((2, *model.noise_shape(image)), 4)
    together = model.sample(image, depth, noise)
    alone = model.sample(image[1:2], depth[1:2], noise[:, 1:2])
    torch.testing.assert_close(together[:, 1:2], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", ["paper", "released"])
def test_without_depth_correction_the_depth_is_taken_as_it_is(variant):
    model = UCNet(variant, correct_depth=False, latent=3, **UC)
    image, depth, truth = pictures()
    assert "refined" not in model(image, depth, truth)
    assert torch.equal(model.refine_depth(image, depth), depth)


def test_dropout_makes_samples_and_is_off_again():
    image, depth, _ = pictures()
    model = UCNet("paper", prior="none", dropout=0.3, **UC).eval()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        samples = model.sample_dropout(image, depth, 4)
    assert samples.shape == (4, 2, 1, 48, 40) and not torch.equal(samples[0], samples[1])
    assert torch.equal(model(image, depth)["logits"], model(image, depth)["logits"])
    with dropout_on(model):
        kinds = {type(m) for m in model.modules() if m.training}
    assert kinds == {nn.Dropout2d} and not any(m.training for m in model.modules())


@pytest.mark.parametrize("name", ["vgg16", "resnet50"])
def test_encoders_take_torchvisions_weights(name):
    theirs = torchvision.models.get_model(name, weights=None).eval()
    encoder = Encoder(name, 4).eval()
    encoder.load_imagenet(theirs.state_dict())
    encoder.adapt = nn.Identity()
    x = uniform(6, 1, 3, 64, 64)
    last = encoder(x)[-1]
    if name == "vgg16":
        expected = theirs.features(x)
    else:
        body = torch.nn.Sequential(*list(theirs.children())[:-2])
        expected = body(x)
    torch.testing.assert_close(last, expected, rtol=1e-4, atol=1e-5)
    assert isinstance(Encoder("vgg16", 4).backbone, VGG16)


def test_the_published_backbones_run():
    image, depth, _ = pictures(1, 64, 72)
    model = UCNet("paper").eval()
    model.load_imagenet(torchvision.models.vgg16(weights=None).state_dict())
    with torch.no_grad():
        assert model(image, depth)["logits"].shape == (1, 1, 64, 72)


@pytest.mark.parametrize("fusion", ["image", "early", "late", "cross"])
def test_fusions(fusion):
    image, depth, _ = pictures()
    net = RGBDNet(fusion, **SMALL)
    net(image, depth).mean().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.eval()
    first, second = net(image, depth), net(image, 1 - depth)
    assert first.shape == (2, 1, 48, 40)
    assert torch.equal(first, second) == (fusion == "image")


def test_parts_stand_alone():
    image, depth, _ = pictures(1, 33, 47)
    for variant in ("paper", "released"):
        net = SaliencyNet(4, variant, **SMALL)
        assert net(torch.cat([image, depth], 1)).shape == (1, 1, 33, 47) if net.training else True
    refined = DepthCorrectionNet("small", 8).eval()(image, depth)
    assert refined.shape == depth.shape and refined.min() > 0 and refined.max() < 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: UCNet("journal"), "variant is 'journal'"),
        (lambda: UCNet("paper", prior="flat"), "prior is 'flat'"),
        (lambda: UCNet("released", noise="pixel"), "noise is 'pixel'"),
        (lambda: UCNet("paper", latent=0), "latent is 0"),
        (lambda: UCNet("released", latent=-2, prior="none"), "latent is -2"),
        (lambda: PriorNet(0), "latent is 0"),
        (lambda: DenseASPP(4, 4, ()), r"dilations is \(\)"),
        (lambda: Encoder("alexnet", 4), "backbone is 'alexnet'"),
        (lambda: Encoder("small", 4).load_imagenet({}), 'backbone is "small"'),
        (lambda: RGBDNet("middle"), "fusion is 'middle'"),
    ],
)
def test_bad_arguments_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_dropout_on_leaves_a_model_in_training_as_it_was():
    image, depth, _ = pictures()
    model = UCNet("paper", prior="none", dropout=0.3, **UC)
    model.depth_net.eval()
    modes = [m.training for m in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        in_training = model.sample_dropout(image, depth, 2)
        torch.manual_seed(0)
        torch.testing.assert_close(
            copy.deepcopy(model).eval().sample_dropout(image, depth, 2), in_training
        )
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    with pytest.raises(RuntimeError), dropout_on(model):
        assert {type(m) for m in model.modules() if m.training} == {nn.Dropout2d}
        raise RuntimeError
    assert [m.training for m in model.modules()] == modes


def test_the_released_latent_net_trains_on_one_picture_of_64_px():
    net = PriorNet(3, "released", width=4, grid=2)
    image, depth, _ = pictures(1, 64, 64)
    assert net(image, depth).mean.shape == (1, 3)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        net(image[..., :32, :32], depth[..., :32, :32])
    assert net.eval()(image[..., :32, :32], depth[..., :32, :32]).mean.shape == (1, 3)
