"""PSPNet: pooling as torch pools, outputs of both heads, prediction at several scales and in windows."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lessons_lib.semantic import PSPNet, PyramidPooling, predict_multiscale, predict_windows


@pytest.mark.parametrize("size", [(6, 6), (16, 16), (7, 11), (60, 60), (3, 5)])
def test_pyramid_pools_as_torch_does(size: tuple[int, int]) -> None:
    """With the convolution an identity, each level is adaptive_avg_pool2d, brought back."""
    pyramid = PyramidPooling(4, out_channels=4).eval()
    for level in pyramid.levels:
        nn.init.dirac_(level[1].weight)
        level[2].eps = 0.0
    x = torch.rand(2, 4, *size)
    found = pyramid(x)
    assert found.shape == (2, 20, *size) and pyramid.out_channels == 20
    expected = [x] + [
        F.interpolate(F.adaptive_avg_pool2d(x, b), size, mode="bilinear", align_corners=False)
        for b in (1, 2, 3, 6)
    ]
    torch.testing.assert_close(found, torch.cat(expected, 1))


def test_the_papers_channels() -> None:
    """2048 channels, four levels of 512: 4096 after concatenation."""
    assert PyramidPooling(2048).out_channels == 4096


@pytest.mark.parametrize("backbone", ["small", "resnet50"])
def test_outputs(backbone: str) -> None:
    net = PSPNet(5, backbone)
    image = torch.rand(2, 3, 65, 81)
    outputs = net(image)
    assert {k: tuple(v.shape) for k, v in outputs.items()} == {
        "semantic": (2, 5, 65, 81),
        "auxiliary": (2, 5, 65, 81),
    }
    assert net.eval()(image).keys() == {"semantic"}, "the auxiliary head is dropped at test time"
    assert PSPNet(5, "small", auxiliary=False)(image).keys() == {"semantic"}


def test_without_a_pyramid_nothing_is_pooled() -> None:
    net = PSPNet(3, "small", bins=())
    assert net.pyramid.out_channels == 64 and len(net.pyramid.levels) == 0
    assert net.eval()(torch.rand(1, 3, 64, 64))["semantic"].shape == (1, 3, 64, 64)


@pytest.mark.parametrize(("bins", "far"), [((), False), ((1,), True)])
def test_only_the_pyramid_sees_the_whole_picture(bins: tuple[int, ...], far: bool) -> None:
    torch.manual_seed(0)
    net = PSPNet(2, "small", bins=bins, auxiliary=False).eval()
    image = torch.rand(1, 3, 192, 192, requires_grad=True)
    net(image)["semantic"][0, 0, 0, 0].backward()
    corner = image.grad[..., 120:, 120:].abs().sum()
    assert (float(corner) > 0) == far


def test_the_resnet_is_at_stride_8() -> None:
    assert PSPNet(2, "resnet50").backbone.strides["c5"] == 8


class Ramp(nn.Module):
    """Scores that are the picture's own channels."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        self.seen.append(tuple(image.shape[-2:]))
        return {"semantic": image}


def test_multiscale_averages_probabilities() -> None:
    image = torch.rand(2, 3, 20, 30)
    one = predict_multiscale(Ramp(), image, scales=(1.0,), flip=False)
    torch.testing.assert_close(one, image.softmax(1))
    net = Ramp()
    many = predict_multiscale(net, image, scales=(0.5, 1.0, 2.0))
    assert net.seen == [(10, 15)] * 2 + [(20, 30)] * 2 + [(40, 60)] * 2
    torch.testing.assert_close(many.sum(1), torch.ones(2, 20, 30))
    # the picture mirrored gives the answer mirrored
    torch.testing.assert_close(
        predict_multiscale(Ramp(), image.flip(-1), scales=(0.5, 1.0)).flip(-1),
        predict_multiscale(Ramp(), image, scales=(0.5, 1.0)),
    )


@pytest.mark.parametrize("size", [(20, 30), (8, 8), (9, 8), (5, 40)])
def test_windows_cover_everything(size: tuple[int, int]) -> None:
    image = torch.rand(2, 3, *size)
    net = Ramp()
    found = predict_windows(net, image, window=8)
    torch.testing.assert_close(found, image.softmax(1))
    assert set(net.seen) == {(8, 8)}


def test_windows_are_used_at_each_scale() -> None:
    net = Ramp()
    predict_multiscale(net, torch.rand(1, 2, 16, 16), scales=(1.0, 2.0), flip=False, window=8)
    assert set(net.seen) == {(8, 8)} and len(net.seen) > 4


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: PSPNet(0, "small"), "classes is 0"),
        (lambda: PSPNet(2, "resnet18"), "backbone is 'resnet18'"),
        (lambda: PyramidPooling(4, (0, 1)), r"bins is \(0, 1\)"),
        (lambda: PyramidPooling(2, (1, 2, 3)), "in_channels is 2"),
        (lambda: predict_multiscale(Ramp(), torch.rand(1, 2, 4, 4), scales=()), "scales is"),
        (lambda: predict_windows(Ramp(), torch.rand(1, 2, 4, 4), window=0), "window is 0"),
        (lambda: predict_windows(Ramp(), torch.rand(1, 2, 4, 4), window=2, overlap=1), "overlap"),
    ],
    ids=["classes", "backbone", "bins", "channels", "scales", "window", "overlap"],
)
def test_bad_options_are_named(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
