"""Our stages against torchvision's networks, with its parameters in ours."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from lessons_lib.backbones import VGG16, VGG_POOLS, ResNet, SmallResNet, SmallVGG


def shake(net: nn.Module) -> nn.Module:
    """Random weights and statistics, so that a wrong order or a lost layer shows."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.uniform_(-0.2, 0.2, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.uniform_(-0.2, 0.2, generator=generator)
    return net.eval()


def test_vgg16_takes_torchvisions_weights() -> None:
    theirs = torchvision.models.vgg16(weights=None).eval()
    ours = VGG16(padding=1, ceil_mode=False).eval()
    features = {k: v for k, v in theirs.state_dict().items() if k.startswith("features.")}
    ours.load_state_dict(features)
    image = torch.rand(1, 3, 70, 95, generator=torch.Generator().manual_seed(1))
    maps = ours(image)
    torch.testing.assert_close(maps["pool5"], theirs.features(image))
    for name, index in VGG_POOLS.items():
        torch.testing.assert_close(maps[name], theirs.features[: index + 1](image))
        assert maps[name].shape[1] == ours.out_channels[name]


def test_vgg16_has_thirteen_convolutions() -> None:
    convolutions = [m for m in VGG16().modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 13 and all(m.kernel_size == (3, 3) for m in convolutions)


@pytest.mark.parametrize("name", ["resnet50", "resnet101"])
def test_dilated_resnet_equals_torchvisions(name: str) -> None:
    """Oracle: torchvision's segmentation networks stand on the same dilated backbone."""
    theirs = shake(
        torchvision.models.get_model(
            name, weights=None, replace_stride_with_dilation=[False, True, True]
        )
    )
    ours = ResNet(name, output_stride=8).eval()
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    ours.load_state_dict(state)
    expected: list[Tensor] = []
    for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
        layer.register_forward_hook(lambda _, __, output: expected.append(output))
    image = torch.rand(1, 3, 65, 73, generator=torch.Generator().manual_seed(1))
    theirs(image)
    maps = ours(image)
    for (key, value), other in zip(maps.items(), expected, strict=True):
        torch.testing.assert_close(value, other)
        assert value.shape[1] == ours.out_channels[key]
        assert value.shape[-2] == -(-65 // ours.strides[key])


def test_an_undilated_resnets_weights_fit_the_dilated_one() -> None:
    plain = torchvision.models.resnet50(weights=None).state_dict()
    ResNet("resnet50", output_stride=8).load_state_dict(
        {k: v for k, v in plain.items() if not k.startswith("fc.")}
    )


@pytest.mark.parametrize(
    ("net", "size"),
    [(SmallVGG(), 97), (SmallResNet(), 97), (VGG16(), 97), (ResNet("resnet18"), 97)],
    ids=["small-vgg", "small-resnet", "vgg16", "resnet18"],
)
def test_stages_are_as_announced(net: nn.Module, size: int) -> None:
    maps = net.eval()(torch.rand(1, 3, size, size + 30))
    assert maps.keys() == net.out_channels.keys() == net.strides.keys()
    for name, value in maps.items():
        stride = net.strides[name]
        rounded = [-(-length // stride) for length in (size, size + 30)]
        assert list(value.shape) == [1, net.out_channels[name], *rounded]


def test_small_resnet_sees_95_pixels() -> None:
    net = SmallResNet().eval()
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.01)
    image = torch.full((1, 3, 256, 256), 0.1, requires_grad=True)
    net(image)["c5"][0, 0, 16, 16].backward()
    seen = image.grad.abs().sum((0, 1)).nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [95, 95]


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: VGG16(padding=-1), "padding is -1"),
        (lambda: SmallVGG(channels=(1, 2)), r"channels is \(1, 2\)"),
        (lambda: ResNet("resnet5"), "name is 'resnet5'"),
        (lambda: ResNet("resnet50", output_stride=4), "output_stride is 4"),
        (lambda: ResNet("resnet18", output_stride=8), "resnet18 only has 32"),
    ],
    ids=["vgg padding", "small channels", "resnet name", "resnet stride", "resnet18 stride"],
)
def test_bad_options_are_named(build, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        build()
