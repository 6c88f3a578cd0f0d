"""Anchors, pyramid, RoIAlign of levels, pictures: against torchvision on random input."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator as TheirAnchors
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops.poolers import LevelMapper

from lessons_lib.backbones import ResNet, SmallResNet
from lessons_lib.detection import (
    AnchorGenerator,
    FeaturePyramid,
    PictureScaler,
    PyramidRoIAlign,
    anchor_shapes,
    assign_levels,
    cluster_shapes,
)
from lessons_lib.detection.anchors import shape_iou
from lessons_lib.detection.pictures import resize_boxes
from tests.detection.test_boxes import random_boxes


def test_anchors_are_torchvisions() -> None:
    sizes, ratios = ((32,), (64,), (100,)), (0.5, 1.0, 2.0)
    maps = [torch.zeros(2, 8, *size) for size in [(16, 24), (8, 12), (4, 6)]]
    pictures = ImageList(torch.zeros(2, 3, 128, 192), [(128, 192), (100, 150)])
    expected = TheirAnchors(sizes, (ratios,) * 3)(pictures, maps)
    ours = AnchorGenerator.by_hand(sizes, ratios)
    found = ours(maps, (128, 192))
    assert ours.count == 3 and [len(level) for level in found] == [1152, 288, 72]
    torch.testing.assert_close(torch.cat(found), expected[0])


def test_anchors_by_hand() -> None:
    assert anchor_shapes([32], [0.5, 1, 2]) == [(46, 22), (32, 32), (22, 46)]
    (level,) = AnchorGenerator([[(4, 2), (10, 10)]])([torch.zeros(1, 1, 1, 2)], (8, 16))
    expected = [[-2, -1, 2, 1], [-5, -5, 5, 5], [6, -1, 10, 1], [3, -5, 13, 5]]
    assert level.tolist() == expected


def test_anchors_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="all maps need as many"):
        AnchorGenerator([[(4, 4)], [(8, 8), (9, 9)]])
    with pytest.raises(ValueError, match="widths and heights must be positive"):
        AnchorGenerator([[(4, 0)]])
    with pytest.raises(ValueError, match="there are 2 maps; the shapes are made for 1"):
        AnchorGenerator([[(4, 4)]])([torch.zeros(1, 1, 2, 2)] * 2, (8, 8))


def boxes_of_shapes(shapes: np.ndarray) -> Tensor:
    sizes = torch.from_numpy(shapes).float()
    return torch.cat([torch.zeros_like(sizes), sizes], 1)


def test_clustering_finds_the_shapes() -> None:
    rng = np.random.default_rng(0)
    true = np.array([(10.0, 10), (60, 8), (8, 60), (40, 50)])
    drawn = np.repeat(true, 100, axis=0) * rng.uniform(0.9, 1.1, (400, 2))
    found = np.array(cluster_shapes(boxes_of_shapes(drawn), 4))
    order = np.argsort(true.prod(1), kind="stable")
    assert shape_iou(found, true[order]).max(1).min() > 0.9
    assert cluster_shapes(boxes_of_shapes(drawn), 4) == cluster_shapes(boxes_of_shapes(drawn), 4)


def test_clustering_beats_shapes_by_hand_and_survives_doubles() -> None:
    rng = np.random.default_rng(1)
    drawn = np.exp(rng.normal(3, 0.7, (300, 2)))
    mean = [
        shape_iou(drawn, np.array(shapes)).max(1).mean()
        for shapes in (
            cluster_shapes(boxes_of_shapes(drawn), 9),
            anchor_shapes([12, 24, 48], [0.5, 1, 2]),
        )
    ]
    assert mean[0] > mean[1] + 0.02
    same = cluster_shapes(boxes_of_shapes(np.full((5, 2), 7.0)), 3)
    assert same == [(7.0, 7.0)] * 3
    with pytest.raises(ValueError, match=r"count is 3; it must be in 1..2, the boxes with an area"):
        cluster_shapes(boxes_of_shapes(np.array([(1.0, 1), (2, 2), (0, 5)])), 3)


def test_pyramid_is_torchvisions() -> None:
    channels = {"a": 8, "b": 16, "c": 24}
    theirs = torchvision.ops.FeaturePyramidNetwork(
        list(channels.values()), 12, torchvision.ops.feature_pyramid_network.LastLevelMaxPool()
    )
    ours = FeaturePyramid(channels, 12)
    # theirs has each convolution in a sequence of one: inner_blocks.0.0.weight
    ours.load_state_dict(
        {re.sub(r"\.(\d+)\.0\.", r".\1.", name): v for name, v in theirs.state_dict().items()}
    )
    maps = {
        n: torch.randn(2, c, *s)
        for (n, c), s in zip(channels.items(), [(17, 22), (9, 11), (5, 6)], strict=True)
    }
    expected, found = theirs(dict(maps)), ours(maps)
    assert list(found) == list(expected)
    for name in found:
        torch.testing.assert_close(found[name], expected[name])


def test_levels_are_torchvisions() -> None:
    boxes = random_boxes(500, 3, 900)
    mapper = LevelMapper(2, 5)
    torch.testing.assert_close(assign_levels(boxes, 2, 5), mapper([boxes]) + 2)
    # sides exactly at the borders of levels
    sides = torch.tensor([56.0, 112, 224, 448, 447.9])
    squares = torch.stack([sides * 0, sides * 0, sides, sides], 1)
    assert assign_levels(squares, 2, 5).tolist() == [2, 3, 4, 5, 4]


@pytest.mark.parametrize("levels", [1, 3])
def test_roi_align_of_levels_is_torchvisions(levels: int) -> None:
    names = [f"l{k}" for k in range(levels)]
    maps = {n: torch.randn(2, 5, 64 // 2**k, 48 // 2**k) for k, n in enumerate(names)}
    boxes = [random_boxes(30, 1, 180), random_boxes(0, 2)]
    theirs = torchvision.ops.MultiScaleRoIAlign(names, 7, 2, canonical_scale=60, canonical_level=3)
    ours = PyramidRoIAlign(names, 7, 2, canonical_size=60, canonical_level=3)
    expected = theirs(maps, boxes, [(256, 192), (250, 190)])
    torch.testing.assert_close(ours(maps, boxes, (256, 192)), expected)


@pytest.mark.parametrize("shorter", [(), (100,)])
def test_pictures_are_prepared_as_torchvision_does(shorter: tuple[int, ...]) -> None:
    images = [torch.rand(3, 60, 100), torch.rand(3, 130, 40), torch.rand(3, 33, 33)]
    ours = PictureScaler(shorter, 150)(images)
    theirs = GeneralizedRCNNTransform(
        100, 150, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], _skip_resize=not shorter
    )
    expected, _ = theirs.train(not shorter)(images)
    assert ours.sizes == expected.image_sizes
    torch.testing.assert_close(ours.tensor, expected.tensors)
    boxes = random_boxes(5)
    back = resize_boxes(resize_boxes(boxes, (60, 100), ours.sizes[0]), ours.sizes[0], (60, 100))
    torch.testing.assert_close(back, boxes)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "images is empty"),
        ([torch.rand(1, 5, 5)], r"shape \(1, 5, 5\); it must be \(3, H, W\)"),
        ([torch.rand(3, 0, 5)], "not empty"),
        ([torch.zeros(3, 5, 5, dtype=torch.uint8)], r"torch.uint8; it must be floating point"),
    ],
)
def test_pictures_that_are_none(images: list[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PictureScaler()(images)


def test_backbones_for_detectors() -> None:
    small = SmallResNet(output_stride=16)
    sizes = {name: tuple(m.shape[1:]) for name, m in small(torch.zeros(1, 3, 64, 96)).items()}
    assert sizes == {"c2": (16, 32, 48), "c3": (32, 16, 24), "c4": (48, 8, 12), "c5": (64, 4, 6)}
    with pytest.raises(ValueError, match="output_stride is 4; it must be 8 or 16"):
        SmallResNet(output_stride=4)
    frozen = ResNet("resnet18", frozen_norm=True)
    assert not any("bn" in name for name, _ in frozen.named_parameters())
