import pytest
import torch

from lessons_lib.embedding import EmbeddingUNet
from lessons_lib.embedding.network import coordinates


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (5, 70), (1, 1)])
@pytest.mark.parametrize("extent", [0, 32])
def test_any_size(size, extent):
    net = EmbeddingUNet(3, 5, 2, base_channels=4, depth=3, coordinate_extent=extent).eval()
    out = net(torch.zeros(2, 3, *size))
    assert out["semantic"].shape == (2, 2, *size)
    assert out["embedding"].shape == (2, 5, *size)


def test_coordinates_rise_and_fold_back():
    x, y = coordinates(torch.zeros(1, 1, 3, 9), extent=5)[0]
    assert x[0].tolist() == [-1, -0.5, 0, 0.5, 1, 0.5, 0, -0.5, -1]
    assert y[:, 0].tolist() == [-1, -0.5, 0]
    assert (x == x[:1]).all() and (y == y[:, :1]).all()


def test_without_coordinates_equal_things_get_equal_vectors():
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 32, 96)
    image[..., 12:20, 12:20] = image[..., 12:20, 76:84] = 1

    def difference(extent):
        net = EmbeddingUNet(1, 4, base_channels=4, depth=2, coordinate_extent=extent).eval()
        e = net(image)["embedding"]
        return (e[..., 16, 16] - e[..., 16, 80]).abs().max().item()

    assert difference(0) < 1e-6 < difference(96)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"embedding_dim": 0}, "embedding_dim is 0"),
        ({"classes": 0}, "classes is 0"),
        ({"coordinate_extent": 1}, "coordinate_extent is 1"),
        ({"base_channels": 0}, "base_channels is 0"),
    ],
)
def test_bad_options_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        EmbeddingUNet(**options)
