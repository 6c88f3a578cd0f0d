"""FCN: the paper's sizes and crops, VGG16's weights, and scores that begin as the coarser network's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from lessons_lib.convolution import receptive_field
from lessons_lib.semantic import FCN, semantic_loss
from lessons_lib.semantic.fcn import CROP_IMAGE, CROP_POOL3, CROP_POOL4


def watch(net: nn.Module, names: list[str]) -> dict[str, tuple[int, ...]]:
    """Heights and widths of what these submodules put out, filled when the network runs."""
    sizes: dict[str, tuple[int, ...]] = {}
    modules = dict(net.named_modules())

    def keep(name: str):
        def hook(_: nn.Module, __: tuple, output: Tensor) -> None:
            sizes[name] = tuple(output.shape[-2:])

        return hook

    for name in names:
        modules[name].register_forward_hook(keep(name))
    return sizes


@pytest.mark.parametrize(
    ("stride", "upsampled"), [(32, (416, 544)), (16, (432, 560)), (8, (440, 568))]
)
def test_the_papers_sizes(stride: int, upsampled: tuple[int, int]) -> None:
    """375 x 500 → 12 x 16 scores → 416 x 544 (FCN-32s) → 375 x 500."""
    with torch.device("meta"):  # sizes only, nothing is computed
        net = FCN(21, stride)
        sizes = watch(net, ["score", "up_image"])
        scores = net(torch.zeros(1, 3, 375, 500))["semantic"]
    assert scores.shape == (1, 21, 375, 500)
    assert sizes == {"score": (12, 16), "up_image": upsampled}


def test_rounding_down_gives_other_sizes() -> None:
    """Torchvision's pooling rounds down, and its 11 x 15 scores do not cover the picture."""
    with torch.device("meta"):
        net = FCN(21, 32)
        for module in net.modules():
            if isinstance(module, nn.MaxPool2d):
                module.ceil_mode = False
        sizes = watch(net, ["score", "up_image"])
        net(torch.zeros(1, 3, 375, 500))
    assert sizes == {"score": (11, 15), "up_image": (384, 512)}


def centre(layers: list[nn.Module], cell: float = 0.0) -> float:
    """Where in the picture the centre of a cell lies, px, after convolutions and poolings."""
    for layer in reversed(layers):
        if isinstance(layer, nn.ReLU | nn.Dropout2d):
            continue
        kernel, stride, padding = (
            value[0] if isinstance(value, tuple) else value
            for value in (layer.kernel_size, layer.stride, layer.padding)
        )
        cell = cell * stride - padding + (kernel - 1) / 2
    return cell


def test_crops_align_the_maps() -> None:
    """The crops follow from where cells lie: the same place must be summed, pixel by pixel.

    A transposed convolution of kernel 2s and stride s puts the centre of its input's cell i at
    s i + s - 1/2 of its output.
    """
    with torch.device("meta"):
        net = FCN(2, 8)
    features = list(net.backbone.features)
    pool3, pool4, pool5 = features[:17], features[:24], features[:31]
    score = [*pool5, *net.classifier]
    first3, first4, first = (centre(layers) for layers in (pool3, pool4, score))
    assert (first - 31.5) % 1 == 0
    # 32s: pixel (y) of the upsampled map that lies on the picture's pixel 0
    assert 31.5 - first == pytest.approx(CROP_IMAGE[32], abs=0.5)
    # cell of pool4 that lies where the first upsampled score lies; a cell of it is 16 px
    up4 = first - 1.5 * 16
    assert (up4 - first4) / 16 == pytest.approx(CROP_POOL4, abs=0.5)
    at4 = first4 + 16 * CROP_POOL4
    assert 15.5 - at4 == pytest.approx(CROP_IMAGE[16], abs=0.5)
    up3 = at4 - 1.5 * 8
    assert (up3 - first3) / 8 == pytest.approx(CROP_POOL3, abs=0.5)
    assert 7.5 - (first3 + 8 * CROP_POOL3) == pytest.approx(CROP_IMAGE[8], abs=0.5)


def test_vgg16_becomes_convolutional_with_the_same_answers() -> None:
    """Where pool5 is 7 x 7, the convolutional classifier gives fc7 of torchvision's VGG16."""
    with torch.device("meta"):
        theirs = torchvision.models.vgg16(weights=None).eval()
        ours = FCN(21, 32).eval()
    theirs, ours = theirs.to_empty(device="cpu"), ours.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for parameter in theirs.parameters():
        parameter.data.uniform_(-0.02, 0.02, generator=generator)
    ours.load_vgg16(theirs.state_dict())
    pool5 = torch.rand(2, 512, 7, 7, generator=generator)
    with torch.inference_mode():
        expected = theirs.classifier[:5](pool5.flatten(1))
        found = ours.classifier(pool5)
    assert found.shape == (2, 4096, 1, 1) and float(expected.abs().max()) > 0.1
    torch.testing.assert_close(found.flatten(1), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(ours.backbone.features[28].weight, theirs.features[28].weight)


def test_weights_of_vgg16_do_not_fit_the_small_network() -> None:
    with pytest.raises(ValueError, match="backbone='vgg16'"):
        FCN(3, 8, backbone="small").load_vgg16({})


@pytest.mark.parametrize("stride", [32, 16, 8])
@pytest.mark.parametrize("size", [(96, 96), (97, 120), (33, 70), (5, 200)])
def test_small_network_takes_any_size(stride: int, size: tuple[int, int]) -> None:
    net = FCN(4, stride, backbone="small").eval()
    assert net(torch.zeros(2, 3, *size))["semantic"].shape == (2, 4, *size)


@pytest.mark.parametrize("backbone", ["vgg16", "small"])
def test_finer_networks_begin_as_the_coarser_one(backbone: str) -> None:
    """Zero skip scores and bilinear upsampling: before training all three see the same."""
    torch.manual_seed(0)
    options = {"backbone": backbone, "hidden": 8}
    coarse, fine = FCN(3, 32, **options).eval(), FCN(3, 8, **options).eval()
    nn.init.normal_(coarse.score.weight)
    state = coarse.state_dict()
    fine.load_state_dict({k: v for k, v in state.items() if k != "up_image.weight"}, strict=False)
    image = torch.rand(1, 3, 160, 192)
    with torch.inference_mode():
        a, b = coarse(image)["semantic"], fine(image)["semantic"]
    # two bilinear steps of 2 and one of 8 are nearly one of 32, away from the border
    inside = (..., slice(48, -48), slice(48, -48))
    assert float((a - b)[inside].abs().max()) < 0.05 * float(a[inside].abs().max())


def test_upsampling_begins_bilinear_and_may_be_frozen() -> None:
    net = FCN(2, 32, backbone="small")
    scores = torch.rand(1, 2, 6, 7)
    up = net.up_image(scores)
    expected = F.interpolate(scores, scale_factor=32, mode="bilinear", align_corners=False)
    inside = (..., slice(32, -32), slice(32, -32))
    torch.testing.assert_close(up[inside], expected[inside])
    assert all(p.requires_grad for p in net.parameters())
    frozen = FCN(2, 8, backbone="small", learn_upsampling=False)
    names = {name for name, p in frozen.named_parameters() if not p.requires_grad}
    assert names == {"up_pool4.weight", "up_pool3.weight", "up_image.weight"}
    paper = FCN(2, 8, hidden=8)
    assert {n for n, p in paper.named_parameters() if not p.requires_grad} == {"up_image.weight"}


def test_every_trained_parameter_gets_a_gradient() -> None:
    net = FCN(3, 8, backbone="small")
    for score in (net.score, net.score_pool4, net.score_pool3):
        nn.init.normal_(score.weight)  # zero scores stop the gradient, but for one step only
    net(torch.rand(2, 3, 64, 64))["semantic"].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_a_score_sees_404_pixels() -> None:
    """The receptive field of FCN-32s, as the paper's table 1 has it."""
    with torch.device("meta"):
        net = FCN(2, 32)
    layers = [*net.backbone.features, *net.classifier, net.score]
    seen = receptive_field([m for m in layers if isinstance(m, nn.Conv2d | nn.MaxPool2d)])
    assert seen.size == 404 and seen.stride == 32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 0}, "classes is 0"),
        ({"stride": 4}, "stride is 4"),
        ({"backbone": "vgg"}, "backbone is 'vgg'"),
    ],
)
def test_bad_options_are_named(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        FCN(**{"classes": 2, "stride": 8, "hidden": 8, **options})


def test_loss_is_torchs_and_ignores_255() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 4, 8, 9, generator=generator)
    truth = torch.randint(0, 4, (3, 8, 9), generator=generator)
    torch.testing.assert_close(semantic_loss(scores, truth), F.cross_entropy(scores, truth))
    truth[0, :4] = 255
    truth[2] = 255
    expected = (
        F.cross_entropy(scores[:1], truth[:1], ignore_index=255)
        + F.cross_entropy(scores[1:2], truth[1:2])
    ) / 3
    torch.testing.assert_close(semantic_loss(scores, truth), expected)
    weight = torch.full((3, 8, 9), 2.0)
    torch.testing.assert_close(semantic_loss(scores, truth, weight), 2 * expected)
