import math

import pytest
import torch

from lessons_lib.embedding import SpatialUNet, embed, margin_of
from lessons_lib.embedding.spatial_geometry import inverse_spread


@pytest.mark.parametrize("sigmas", [0, 1, 2])
@pytest.mark.parametrize("size", [(32, 32), (37, 21)])
def test_outputs_and_their_tame_start(sigmas, size):
    network = SpatialUNet(3, 2, sigma_channels=sigmas, base_channels=4, depth=2, sigma_start=0.4)
    outputs = network(torch.rand(2, 3, *size))
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "offset": (2, 2, *size),
        "sigma": (2, sigmas, *size),
        "seed": (2, 2, *size),
    }
    assert outputs["offset"].abs().max() == 0
    assert torch.equal(outputs["sigma"], torch.full_like(outputs["sigma"], 0.4))
    sum(value.square().sum() for value in outputs.values()).backward()
    assert network.seed_head.weight.grad.abs().max() > 0


def test_pixels_point_to_themselves_and_at_most_a_unit_away():
    offset = torch.zeros(2, 3, 4)
    assert embed(offset, 10.0).tolist() == [[[0, 1, 2, 3]] * 3, [[y] * 4 for y in range(3)]]
    offset[0], offset[1] = math.atanh(0.5), -1e9
    away = embed(offset, 10.0)
    torch.testing.assert_close(away[0, 0], torch.tensor([5.0, 6.0, 7.0, 8.0]))
    torch.testing.assert_close(away[1, :, 0], torch.tensor([-10.0, -9.0, -8.0]))


def test_margin():
    """The released code begins with a raw σ of 1 and a unit of 1024 px: 5.74 px."""
    assert float(margin_of(torch.tensor(1.0), 1024.0)) == pytest.approx(5.744, abs=1e-3)
    sigma = torch.tensor([0.3, 0.3 + math.log(2) / 5])
    margins = margin_of(sigma, 64.0)
    assert float(margins[0]) == pytest.approx(2 * float(margins[1]))
    for threshold in (0.1, 0.5, 0.9):
        distance = margin_of(sigma, 64.0, threshold)
        phi = torch.exp(-(distance**2) * inverse_spread(sigma, 64.0))
        torch.testing.assert_close(phi, torch.full((2,), threshold))


def test_refuses_what_is_no_network():
    with pytest.raises(ValueError, match="classes is 0"):
        SpatialUNet(1, 0)
    with pytest.raises(ValueError, match="sigma_channels is 3"):
        SpatialUNet(1, sigma_channels=3)
