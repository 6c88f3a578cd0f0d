"""The layer table against torch's own counters, against gradients, and on networks with branches."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lessons_lib.convolution import layer_table, receptive_field
from lessons_lib.embedding import EmbeddingUNet
from lessons_lib.semantic import UNet


def cats_and_dogs() -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in [(3, 32), (32, 64), (64, 128), (128, 128)]:
        layers += [nn.Conv2d(a, b, 3), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(6272, 512), nn.ReLU(), nn.Linear(512, 1))


class Branches(nn.Module):
    """Pooling, a residual sum, a transposed convolution and a concatenation."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.a = nn.Conv2d(1, 2, 3, padding=1)
        self.b = nn.Conv2d(2, 2, 5, padding=2)
        self.up = up
        self.c = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, image):
        top = self.a(image)
        x = F.avg_pool2d(top, 2)
        x = x + self.b(x)
        x = self.up(x)[..., : image.shape[-2], : image.shape[-1]]
        return {"scores": [self.c(torch.cat([top, x], dim=1))]}


class Upsample(nn.Module):
    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, x):
        corners = None if self.mode.startswith("nearest") else False
        return F.interpolate(x, scale_factor=2, mode=self.mode, align_corners=corners)


def first(output):
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values())) if isinstance(output, dict) else output[0]
    return output


def widest(model: nn.Module, size: int) -> int:
    """The most columns on which any pixel of the output's middle depends; weights positive."""
    model = copy.deepcopy(model).double().eval()
    for parameter in model.parameters():
        nn.init.constant_(parameter, 0.1)
    widths = []
    for offset in range(-6, 7):
        x = torch.ones(1, 1, size, size, dtype=torch.float64, requires_grad=True)
        out = first(model(x))
        out[0, 0, out.shape[-2] // 2, out.shape[-1] // 2 + offset].backward()
        columns = x.grad[0, 0].abs().sum(0).nonzero().ravel()
        widths.append(int(columns[-1] - columns[0]) + 1)
    return max(widths)


def test_cats_and_dogs() -> None:
    """The small network of many a first tutorial, row by row."""
    table = layer_table(cats_and_dogs(), (3, 150, 150))
    shapes = [row.output_shape for row in table.rows if row.type != "ReLU"]
    assert shapes == [
        (32, 148, 148), (32, 74, 74), (64, 72, 72), (64, 36, 36), (128, 34, 34), (128, 17, 17),
        (128, 15, 15), (128, 7, 7), (6272,), (512,), (1,),
    ]  # fmt: skip
    assert table.parameters == 3_453_121
    chain = receptive_field(cats_and_dogs()[:12])
    assert (table.rows[11].receptive_field, table.rows[11].stride) == (chain.size, chain.stride)
    assert table.rows[12].receptive_field == chain.size
    assert [row.receptive_field for row in table.rows[13:]] == ["all"] * 3


MODELS = {
    "cats": (cats_and_dogs, (3, 150, 150)),
    "vgg11": (lambda: torchvision.models.vgg11(num_classes=1).features, (3, 64, 64)),
    "resnet50": (lambda: torchvision.models.resnet50(num_classes=10), (3, 64, 96)),
    "densenet": (lambda: torchvision.models.densenet121(num_classes=10), (3, 64, 64)),
    "mobilenet": (lambda: torchvision.models.mobilenet_v3_small(num_classes=10), (3, 64, 64)),
    "unet": (lambda: UNet(3, 5, base_channels=8, depth=3), (3, 33, 40)),
    "embedding": (lambda: EmbeddingUNet(1, 4, base_channels=4, depth=2), (1, 24, 30)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 9, (3, 2), 3, groups=3), (6, 5, 7)),
    "grouped": (lambda: nn.Conv2d(6, 9, (3, 2), 2, groups=3), (6, 15, 17)),
    "attention": (lambda: torchvision.models.VisionTransformer(16, 4, 1, 2, 16, 32), (3, 16, 16)),
}


@pytest.mark.parametrize("name", MODELS)
def test_totals_agree_with_torch(name: str) -> None:
    make, size = MODELS[name]
    model = make().eval()
    table = layer_table(model, size)
    assert table.parameters == sum(p.numel() for p in model.parameters())
    if name == "attention":  # its product runs in a fused kernel, which we do not count
        return
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, *size))
    assert counter.get_total_flops() == 2 * table.multiply_adds > 0
    assert table.rows[-1].name != "(elsewhere)"
    kinds = {type(m).__name__ for m in model.modules() if not list(m.children())}
    assert {row.type for row in table.rows} <= kinds


@pytest.mark.parametrize(
    "up",
    [
        nn.ConvTranspose2d(2, 2, 2, 2),
        nn.ConvTranspose2d(2, 2, 3, 2, 1, 1),
        nn.ConvTranspose2d(2, 2, 4, 2, 1),
        nn.ConvTranspose2d(2, 2, 5, 2, 2, 1),
        nn.ConvTranspose2d(2, 2, 3, 2, 2, 1, dilation=2),
        Upsample("nearest"),
        Upsample("bilinear"),
        Upsample("bicubic"),
        nn.Upsample(scale_factor=2),
    ],
    ids=["t2", "t3", "t4", "t5", "t3-dilated", "nearest", "bilinear", "bicubic", "upsample"],
)
def test_branches_against_gradients(up: nn.Module) -> None:
    model = Branches(up)
    rows = {row.name: row for row in layer_table(model, (1, 64, 64)).rows}
    assert rows["b"].receptive_field == 12 and rows["b"].stride == 2
    assert rows["up"].stride == rows["c"].stride == 1
    assert rows["c"].receptive_field == widest(model, 64)


def test_fractional_stride() -> None:
    model = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(1, 1, 4), nn.AvgPool2d(4))
    rows = layer_table(model, (1, 40, 40)).rows
    assert str(rows[0].stride) == "1/2" and rows[2].stride == 2
    assert rows[1].receptive_field == 3  # 4 pixels of the doubled map touch at most 3
    assert rows[1].receptive_field == widest(model[:2], 40)
    assert rows[2].receptive_field == widest(model, 40)


def test_residual_network() -> None:
    rows = layer_table(torchvision.models.resnet50(), (3, 224, 224)).rows
    by_name = {row.name: row for row in rows}
    assert by_name["layer4.2.conv3"].receptive_field == 427
    assert by_name["layer4.2.conv3"].stride == 32
    assert by_name["fc"].receptive_field == by_name["avgpool"].receptive_field == "all"
    assert sum(row.name == "layer1.0.relu" for row in rows) == 3


def test_adaptive_pooling() -> None:
    for bins in (2, 3, 4, 7, 10):
        (row,) = layer_table(nn.AdaptiveAvgPool2d(bins), (1, 10, 10)).rows
        x = torch.ones(1, 1, 10, 10, requires_grad=True)
        most = 0
        for i in range(bins):
            (grad,) = torch.autograd.grad(F.adaptive_avg_pool2d(x, bins)[0, 0, 0, i], x)
            most = max(most, int((grad[0, 0].sum(0) != 0).sum()))
        assert row.receptive_field == most
    (row,) = layer_table(nn.AdaptiveMaxPool2d(1), (1, 10, 10)).rows
    assert (row.receptive_field, row.stride) == ("all", None)


def test_shapes_that_differ_by_axis() -> None:
    (row,) = layer_table(nn.Conv2d(1, 1, (1, 7), (1, 2)), (1, 20, 30)).rows
    assert row.receptive_field == (1, 7) and row.stride == (1, 2)
    assert row.cells[-2:] == ("1 × 7", "1 × 2")


class Twice(nn.Module):
    """A layer called twice, a parameter of its own, a product outside of layers, an unused layer."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.shared = nn.Conv2d(3, 3, 3, padding=1)
        self.unused = nn.Linear(2, 2)
        self.matrix = nn.Parameter(torch.ones(3, 3))

    def forward(self, x):
        x = self.shared(self.shared(x * self.scale[:, None, None]))
        return torch.einsum("bchw,cd->bdhw", x, self.matrix)


def test_shared_and_functional() -> None:
    model = Twice()
    table = layer_table(model, (3, 8, 8))
    assert [row.name for row in table.rows] == ["shared", "shared", "(elsewhere)"]
    assert [row.parameters for row in table.rows] == [84, 0, 3 + 6 + 9]
    assert [row.receptive_field for row in table.rows] == [3, 5, None]
    assert table.parameters == sum(p.numel() for p in model.parameters())
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, 8, 8))
    assert counter.get_total_flops() == 2 * table.multiply_adds


def test_tied_weights_are_counted_once() -> None:
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3))
    model[1].weight = model[0].weight
    assert [row.parameters for row in layer_table(model, (2, 9, 9)).rows] == [38, 2]


def test_unknown_is_said() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.PixelShuffle(2), nn.Flatten(2), nn.ReLU())
    rows = layer_table(model, (1, 8, 8)).rows
    assert [row.receptive_field for row in rows] == [3, 3, None, None]
    assert rows[1].stride * 2 == 1 and rows[2].cells[-2:] == ("?", "")


def test_the_model_is_left_as_it_was() -> None:
    model = torchvision.models.resnet18()
    model.train()
    model.layer1.eval()
    before = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    drawn = torch.random.get_rng_state()
    layer_table(model, (3, 32, 32))
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.device.type == "cpu" for p in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    with pytest.raises(RuntimeError, match="channels"):
        layer_table(model, (4, 32, 32))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert [m.training for m in model.modules()] == modes


class NeedsValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 3)

    def forward(self, x):
        x = self.layer(x)
        return x * 2 if float(x.sum()) > 0 else x


def test_a_model_that_needs_values() -> None:
    (row,) = layer_table(NeedsValues().half(), (1, 8, 8)).rows
    assert row.output_shape == (2, 6, 6) and row.receptive_field == 3


def test_text_and_html() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.add_module("a<b>&", nn.Conv2d(1, 1, 3))

        def forward(self, x):
            return next(self.children())(x)

    table = layer_table(Odd(), (1, 8, 8))
    assert str(table).splitlines() == [
        "layer  type    output     parameters  multiply-adds  sees  stride",
        "a<b>&  Conv2d  1 × 6 × 6          10            324     3       1",
        "total                             10            324",
    ]
    assert repr(table) == str(table)
    shown = table._repr_html_()
    assert "a&lt;b&gt;&amp;" in shown and "<b>" not in shown
    assert shown.count("<tr>") == 3
    assert layer_table(nn.Conv2d(1, 1, 1), (1, 2, 2)).rows[0].name == "(model)"


@pytest.mark.parametrize("size", [(3, 8), (3, 8, 8, 8), 8, (3, 0, 8), (3, 8.0, 8), (True, 8, 8)])
def test_bad_size(size) -> None:
    with pytest.raises(ValueError, match=r"input_size is .*; it must be \(C, H, W\)"):
        layer_table(nn.Conv2d(3, 1, 1), size)


def test_bad_model() -> None:
    with pytest.raises(ValueError, match=r"model is a type; it must be a torch\.nn\.Module"):
        layer_table(nn.Conv2d, (3, 8, 8))
