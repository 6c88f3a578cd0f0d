import pytest
import torch

from lessons_lib.semantic import UNet


def test_the_papers_network():
    """572 x 572 → 388 x 388, 64 to 1024 channels, 31,030,658 parameters with two classes."""
    net = UNet(1, 2, padding="valid", normalize=False)
    assert sum(p.numel() for p in net.parameters()) == 31_030_658
    with torch.inference_mode():
        assert net(torch.zeros(1, 1, 572, 572))["semantic"].shape == (1, 2, 388, 388)


@pytest.mark.parametrize("skips", ["concatenate", "sum", "none"])
@pytest.mark.parametrize("size", [(16, 16), (17, 30), (3, 3), (1, 50)])
def test_same_padding_keeps_any_size(skips, size):
    net = UNet(3, 4, base_channels=4, depth=3, skips=skips).eval()
    assert net(torch.zeros(2, 3, *size))["semantic"].shape == (2, 4, *size)


def test_valid_padding_equals_the_inside_of_a_larger_picture():
    """What "valid" computes does not depend on what lies further out."""
    torch.manual_seed(0)
    net = UNet(1, 2, base_channels=4, depth=2, padding="valid", normalize=False).eval()
    large = torch.randn(1, 1, 108, 108)
    small = large[..., 8:100, 8:100]  # offset a multiple of 2^depth
    inside, found = net(large)["semantic"], net(small)["semantic"]
    offset = (inside.shape[-1] - found.shape[-1]) // 2
    cut = inside[..., offset:-offset, offset:-offset]
    torch.testing.assert_close(found, cut, rtol=1e-4, atol=1e-5)


def test_every_parameter_gets_a_gradient():
    net = UNet(2, 3, base_channels=4, depth=2)
    net(torch.randn(2, 2, 16, 16))["semantic"].square().sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"padding": "full"}, "padding is 'full'"),
        ({"skips": "add"}, "skips is 'add'"),
        ({"depth": 0}, "depth is 0"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        UNet(1, 2, **options)


def test_valid_refuses_sizes_that_do_not_halve():
    net = UNet(1, 2, base_channels=4, padding="valid")
    with pytest.raises(ValueError, match="height is 570"):
        net(torch.zeros(1, 1, 570, 572))
