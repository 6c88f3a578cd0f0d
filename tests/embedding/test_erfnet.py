"""ERFNet: counted layer by layer, its block by hand, what it sees, any size."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from lessons_lib.embedding import ERFNet, SpatialERFNet
from lessons_lib.embedding.erfnet import Downsampler, ERFNetEncoder, NonBottleneck1D


def convolution(inputs: int, outputs: int, kernel: int) -> int:
    return inputs * outputs * kernel + outputs


def norm(channels: int) -> int:
    return 2 * channels


def block(channels: int) -> int:
    return 4 * convolution(channels, channels, 3) + 2 * norm(channels)


def downsampler(inputs: int, outputs: int) -> int:
    return convolution(inputs, outputs - inputs, 9) + norm(outputs)


def decoder(outputs: int) -> int:
    up = convolution(128, 64, 9) + norm(64) + convolution(64, 16, 9) + norm(16)
    return up + 2 * block(64) + 2 * block(16) + convolution(16, outputs, 4)


ENCODER = (
    downsampler(3, 16) + downsampler(16, 64) + 5 * block(64) + downsampler(64, 128) + 8 * block(128)
)


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_parameters_layer_by_layer():
    assert count(ERFNet()) == ENCODER + decoder(20) == 2_064_256  # the paper: about 2.1 M
    assert count(SpatialERFNet()) == ENCODER + decoder(4) + decoder(1) == 2_252_193
    assert count(SpatialERFNet(classes=8, sigma_channels=1)) == ENCODER + decoder(3) + decoder(8)


def test_shapes_of_table_1():
    net = ERFNet().eval()
    x = torch.zeros(1, 3, 64, 128)
    shapes = []
    with torch.no_grad():
        for layer in [*net.encoder, *net.decoder]:
            x = layer(x)
            shapes.append(tuple(x.shape[1:]))
    expected = [(16, 32, 64), *[(64, 16, 32)] * 6, *[(128, 8, 16)] * 9]
    expected += [*[(64, 16, 32)] * 3, *[(16, 32, 64)] * 3, (20, 64, 128)]
    assert shapes == expected
    dilations = [m.second[0].dilation[0] for m in net.encoder if isinstance(m, NonBottleneck1D)]
    assert dilations == [1] * 5 + [2, 4, 8, 16] * 2
    shares = [m.second[-1].p for m in net.encoder if isinstance(m, NonBottleneck1D)]
    assert shares == [0.03] * 5 + [0.3] * 8


def normalize(x, layer):
    shape = (1, -1, 1, 1)
    mean, spread = layer.running_mean.view(shape), (layer.running_var + 1e-3).sqrt().view(shape)
    return (x - mean) / spread * layer.weight.view(shape) + layer.bias.view(shape)


@pytest.mark.parametrize("dilation", [1, 2, 8])
def test_block_is_the_paper_s(dilation):
    """Figure 2 (c), written down with plain convolutions."""
    torch.manual_seed(dilation)
    layer = NonBottleneck1D(6, dilation, dropout=0.3).double().eval()
    for part in layer.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values in (part.weight, part.bias, part.running_mean):
                values.data.normal_()
            part.running_var.uniform_(0.5, 2)
    x = torch.randn(2, 6, 21, 19, dtype=torch.float64)
    d = dilation
    a, _, b, first, _ = layer.first
    c, _, e, second, _ = layer.second
    y = F.conv2d(F.pad(x, (0, 0, 1, 1)), a.weight, a.bias).clamp(min=0)
    y = F.conv2d(F.pad(y, (1, 1, 0, 0)), b.weight, b.bias)
    y = normalize(y, first).clamp(min=0)
    y = F.conv2d(F.pad(y, (0, 0, d, d)), c.weight, c.bias, dilation=(d, 1)).clamp(min=0)
    y = F.conv2d(F.pad(y, (d, d, 0, 0)), e.weight, e.bias, dilation=(1, d))
    expected = (normalize(y, second) + x).clamp(min=0)
    assert torch.allclose(layer(x), expected, atol=1e-12)
    assert (expected - x.clamp(min=0)).abs().max() > 0.1


def test_downsampler_is_convolution_beside_pooling():
    torch.manual_seed(0)
    layer = Downsampler(3, 16).eval()
    x = torch.randn(1, 3, 8, 10)
    both = torch.cat(
        [F.conv2d(x, layer.convolve.weight, layer.convolve.bias, 2, 1), F.max_pool2d(x, 2)], 1
    )
    assert torch.allclose(layer(x), normalize(both, layer.norm).clamp(min=0), atol=1e-6)
    assert torch.allclose(layer(x)[:, -3:], (F.max_pool2d(x, 2) / 1.001**0.5).clamp(min=0))


def test_receptive_field_of_the_encoder():
    """By the rule r += (k - 1) d · stride; no pixel beyond it counts, and those at its rim do.

    Downsampler (3, stride 2): 3, 7; five blocks of 4 pixels at stride 4, twice each: 7 + 5·16 = 87;
    Downsampler: 95; eight blocks at stride 8: each 2·8 + 2 d·8, in all 95 + 8·16 + 2·16·30 = 1183.
    """
    side, middle = 1600, 96
    net = ERFNetEncoder(1).double().eval()
    for part in net.modules():  # positive weights: nothing cancels, no ReLU closes
        if isinstance(part, nn.Conv2d):
            part.weight.data.fill_(1.0 / part.weight[0].numel())
    column = torch.zeros(1, 1, side, 16, dtype=torch.float64, requires_grad=True)
    net(column + 1)[0, :, middle].sum().backward()
    rows = column.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert int(rows.max() - rows.min()) + 1 == 1183


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (16, 24), (33, 50)])
@pytest.mark.parametrize("sigma_channels", [0, 1, 2])
def test_any_size(size, sigma_channels):
    image = torch.rand(2, 1, *size)
    with torch.no_grad():
        out = SpatialERFNet(1, 3, sigma_channels=sigma_channels).eval()(image)
        assert ERFNet(1, 5).eval()(image)["semantic"].shape == (2, 5, *size)
    assert out["offset"].shape == (2, 2, *size)
    assert out["sigma"].shape == (2, sigma_channels, *size)
    assert out["seed"].shape == (2, 3, *size)


def test_begins_with_no_offset_and_a_raw_sigma_of_one_and_learns_both():
    net = SpatialERFNet()
    out = net(torch.rand(2, 3, 32, 32))
    assert (out["offset"] == 0).all() and (out["sigma"] == 1).all()
    assert out["seed"].std() > 0
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    image, weights = torch.rand(2, 3, 32, 32), torch.rand(2, 2, 32, 32)
    for _ in range(2):
        out = net(image)
        (
            (out["offset"] - 1).square() * weights + (out["sigma"] - 2).square() * weights
        ).mean().backward()
        optimizer.step()
    assert net.encoder[0].convolve.weight.grad.abs().sum() > 0
    assert out["offset"].std() > 0


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ERFNet(16), r"in_channels is 16; it must be in 1\.\.15"),
        (lambda: ERFNet(classes=0), "classes is 0"),
        (lambda: SpatialERFNet(classes=0), "classes is 0"),
        (lambda: SpatialERFNet(sigma_channels=3), "sigma_channels is 3; it must be 0, 1 or 2"),
    ],
)
def test_bad_options_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()
